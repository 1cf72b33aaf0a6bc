"""Reports about payments and refunds, and how two of them become one. Pure.

``merge`` is commutative, associative and idempotent: whatever the order and repetition of reports, the
result is the same. The database's upsert in ``store.py`` does the same merge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from tallystick.payments.status import UNDECIDED_ORDER, PaymentStatus, RefundStatus

_OURS: Final = re.compile(r"pay_[0-9A-Za-z]{8,40}")
_OUR_REFUND: Final = re.compile(r"ref_[0-9A-Za-z]{8,40}")


@dataclass(frozen=True, slots=True)
class PaymentReport:
    """What an event says of a payment. Amounts in minor units of ``currency``, ``created`` in Unix seconds.

    ``state_order`` decides which report gives the state, ``charge_order`` which one names the charge.
    """

    id: str
    state_order: str
    status: PaymentStatus
    amount: int
    currency: str
    created: int
    livemode: bool
    amount_capturable: int = 0
    amount_captured: int = 0
    charge_order: str = UNDECIDED_ORDER
    stripe_charge: str | None = None
    stripe_payment_intent: str | None = None
    customer: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    capture_method: str | None = None
    payment_method: str | None = None
    client_secret: str | None = None
    cancellation_reason: str | None = None
    last_error: dict[str, str] | None = None
    next_action: dict[str, Any] | None = None


def merge_payments(a: PaymentReport, b: PaymentReport) -> PaymentReport:
    """Two reports about one payment as one."""
    state = a if a.state_order >= b.state_order else b
    charge = a if a.charge_order >= b.charge_order else b
    return replace(
        state,
        stripe_payment_intent=a.stripe_payment_intent or b.stripe_payment_intent,
        stripe_charge=charge.stripe_charge,
        charge_order=charge.charge_order,
        amount_captured=max(a.amount_captured, b.amount_captured),
        created=min(a.created, b.created),
    )


@dataclass(frozen=True, slots=True)
class RefundReport:
    """What an event says of a refund. ``payment_id`` names our payment, which may not be known here yet.

    It is None for a refund that belongs to no payment, such as one of a customer's cash balance.
    """

    id: str
    state_order: str
    status: RefundStatus
    payment_id: str | None
    stripe_refund: str
    amount: int
    currency: str
    created: int
    stripe_payment_intent: str | None = None
    stripe_charge: str | None = None
    reason: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] | None = None


def merge_refunds(a: RefundReport, b: RefundReport) -> RefundReport:
    """Two reports about one refund as one."""
    return a if a.state_order >= b.state_order else b


def our_payment(metadata: dict[str, str], key: str) -> str | None:
    """The payment that metadata names, when it was made through our API."""
    value = metadata.get(key, "")
    return value if _OURS.fullmatch(value) else None


def our_refund(metadata: dict[str, str], key: str) -> str | None:
    """The refund that metadata names, when it was made through our API."""
    value = metadata.get(key, "")
    return value if _OUR_REFUND.fullmatch(value) else None


def adopted_payment(stripe_id: str) -> str:
    """Our id of a payment that began elsewhere: derived, so that every event names the same."""
    return f"pay_{stripe_id}"


def adopted_refund(stripe_id: str) -> str:
    """Our id of a refund that began elsewhere."""
    return f"ref_{stripe_id}"
