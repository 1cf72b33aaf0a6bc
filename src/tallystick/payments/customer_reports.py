"""Reports about customers and their saved payment methods, and how two of them become one. Pure.

Both live at Stripe, under Stripe's ids; our rows are copies, kept by events and by the answers to our calls.
The end (a customer deleted, a payment method detached) stands above all; then the later second. Within one
an answer stands above events, and the first event below the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from tallystick.payments.status import ANSWER
from tallystick.stripe_gateway.customer_payloads import Customer, PaymentMethod

_SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "card": ("brand", "last4", "exp_month", "exp_year", "funding", "country"),
    "us_bank_account": ("bank_name", "last4", "account_type", "account_holder_type"),
    "sepa_debit": ("bank_code", "last4", "country"),
}
"""What of a payment method a customer recognises it by."""


@dataclass(frozen=True, slots=True)
class CustomerReport:
    """What an event or an answer says of a customer; ``created`` in Unix seconds.

    ``methods_known``: all payment methods that the customer has are known here too.
    """

    id: str
    state_order: str
    deleted: bool
    created: int
    livemode: bool
    name: str | None
    email: str | None
    phone: str | None
    description: str | None
    address: dict[str, Any] | None
    metadata: dict[str, str]
    default_payment_method: str | None
    methods_known: bool = False


@dataclass(frozen=True, slots=True)
class PaymentMethodReport:
    """What an event or an answer says of a payment method; ``customer`` is None once it is detached."""

    id: str
    state_order: str
    customer: str | None
    type: str
    details: dict[str, Any]
    created: int
    livemode: bool
    metadata: dict[str, str]


def merge_customers(a: CustomerReport, b: CustomerReport) -> CustomerReport:
    """Two reports about one customer as one; commutative, associative, idempotent, as the upsert is."""
    state = a if a.state_order >= b.state_order else b
    return replace(state, methods_known=a.methods_known or b.methods_known)


def merge_payment_methods(a: PaymentMethodReport, b: PaymentMethodReport) -> PaymentMethodReport:
    """Two reports about one payment method as one."""
    return a if a.state_order >= b.state_order else b


def customer_report(
    customer: Customer,
    *,
    at: int,
    source: str,
    first: bool = False,
    deleted: bool = False,
    methods_known: bool = False,
) -> CustomerReport:
    """What a customer says of itself at ``at`` (Unix seconds of Stripe's clock); ``first``: as it began."""
    return CustomerReport(
        id=customer.id,
        state_order=_order(at, source, first=first, ended=deleted),
        deleted=deleted,
        created=customer.created,
        livemode=customer.livemode,
        name=customer.name,
        email=customer.email,
        phone=customer.phone,
        description=customer.description,
        address=customer.address,
        metadata=customer.metadata,
        default_payment_method=customer.default_payment_method,
        methods_known=methods_known,
    )


def payment_method_report(
    method: PaymentMethod, *, at: int, source: str, first: bool = False
) -> PaymentMethodReport:
    """What a payment method says of itself at ``at`` (Unix seconds of Stripe's clock); see above."""
    return PaymentMethodReport(
        id=method.id,
        state_order=_order(at, source, first=first, ended=method.customer is None),
        customer=method.customer,
        type=method.type,
        details={
            name: method.details[name] for name in _SHOWN.get(method.type, ()) if name in method.details
        },
        created=method.created,
        livemode=method.livemode,
        metadata=method.metadata,
    )


def _order(at: int, source: str, *, first: bool, ended: bool) -> str:
    answered = source if source.startswith(ANSWER) else ""
    return f"{int(ended)}:{at:012d}:{answered}:{int(bool(source) and not first)}:{source}"
