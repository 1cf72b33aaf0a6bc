"""Reports about payments and refunds, and how two of them become one. Pure.

``merge`` is commutative, associative and idempotent: whatever the order and repetition of reports, the
result is the same. The database's upsert in ``store.py`` does the same merge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from tallystick.errors import PayloadError
from tallystick.payments.customer_reports import CustomerReport, PaymentMethodReport
from tallystick.payments.dispute_reports import DisputeReport
from tallystick.payments.status import (
    UNDECIDED_ORDER,
    PaymentStatus,
    RefundStatus,
    charge_order,
    payment_order,
    refund_order,
)
from tallystick.stripe_gateway.payloads import PAYMENT_METADATA, REFUND_METADATA, PaymentIntent, Refund

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
    receipt_email: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    setup_future_usage: str | None = None

    @property
    def stripe_id(self) -> str | None:
        """The object at Stripe that the report is about; None for a charge without a PaymentIntent."""
        return self.stripe_payment_intent


def merge_payments(a: PaymentReport, b: PaymentReport) -> PaymentReport:
    """Two reports about one payment as one."""
    state = a if a.state_order >= b.state_order else b
    charge = a if a.charge_order >= b.charge_order else b
    return replace(
        state,
        stripe_payment_intent=_either(a.stripe_payment_intent, b.stripe_payment_intent),
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

    @property
    def stripe_id(self) -> str:
        """The object at Stripe that the report is about."""
        return self.stripe_refund


def merge_refunds(a: RefundReport, b: RefundReport) -> RefundReport:
    """Two reports about one refund as one."""
    state = a if a.state_order >= b.state_order else b
    return replace(
        state,
        payment_id=_either(a.payment_id, b.payment_id),
        stripe_payment_intent=_either(a.stripe_payment_intent, b.stripe_payment_intent),
        stripe_charge=_either(a.stripe_charge, b.stripe_charge),
        created=min(a.created, b.created),
    )


def _either(a: str | None, b: str | None) -> str | None:
    """The one that is known. Of two the lesser: a payment made here sorts before an adopted one."""
    return min((text for text in (a, b) if text is not None), default=None)


Report = TypeVar("Report", PaymentReport, RefundReport)
TiedReport = PaymentReport | RefundReport | DisputeReport | CustomerReport | PaymentMethodReport
"""What two events of one second can be about."""


def under_one_id(reports: Iterable[Report], rows: Iterable[tuple[str, str | None]]) -> list[Report]:
    """Give each report the id of the row that its Stripe object has or will have.

    ``rows`` are the rows in question as they stand: our id, and the Stripe object where it is known.
    Metadata can be edited at Stripe: removed, so that an object of ours looks adopted, or copied to another
    object. Neither may make two rows of one object, nor one row of two. An object keeps the row it has. A
    row that several ask for goes to the one created first; the others are adopted.
    """
    kept = list(reports)
    row_of = {stripe_id: row for row, stripe_id in rows if stripe_id}
    taken = set(row_of.values())
    newcomers: dict[str, list[Report]] = {}
    for report in kept:
        if report.stripe_id and report.stripe_id not in row_of:
            newcomers.setdefault(report.stripe_id, []).append(report)
    for stripe_id, about in sorted(newcomers.items(), key=_first_created):
        adopted = _adopted_id(about[0], stripe_id)
        wanted = min((report.id for report in about), key=lambda row: (row == adopted, row))
        row_of[stripe_id] = adopted if wanted in taken else wanted
        taken.add(row_of[stripe_id])
    return [_under(report, row_of.get(report.stripe_id or "", report.id)) for report in kept]


def _first_created(newcomer: tuple[str, list[Report]]) -> tuple[int, str]:
    stripe_id, about = newcomer
    return min(report.created for report in about), stripe_id


def _under(report: Report, row: str) -> Report:
    return report if report.id == row else replace(report, id=row)


def _adopted_id(report: PaymentReport | RefundReport, stripe_id: str) -> str:
    """Our id of the report's object, had it begun elsewhere."""
    return adopted_payment(stripe_id) if isinstance(report, PaymentReport) else adopted_refund(stripe_id)


def our_payment(metadata: dict[str, str]) -> str | None:
    """The payment that metadata names, when it was made through our API."""
    value = metadata.get(PAYMENT_METADATA, "")
    return value if _OURS.fullmatch(value) else None


def our_refund(metadata: dict[str, str]) -> str | None:
    """The refund that metadata names, when it was made through our API."""
    value = metadata.get(REFUND_METADATA, "")
    return value if _OUR_REFUND.fullmatch(value) else None


def adopted_payment(stripe_id: str) -> str:
    """Our id of a payment that began elsewhere: derived, so that every event names the same."""
    return f"pay_{stripe_id}"


def is_adopted(payment_id: str) -> bool:
    """Whether the id belongs to a payment that began elsewhere."""
    return _OURS.fullmatch(payment_id) is None


def adopted_refund(stripe_id: str) -> str:
    """Our id of a refund that began elsewhere."""
    return f"ref_{stripe_id}"


_OLD_STATUS: Final = {
    # names before API version 2019-02-11
    "requires_source": PaymentStatus.REQUIRES_PAYMENT_METHOD,
    "requires_source_action": PaymentStatus.REQUIRES_ACTION,
}


def intent_report(intent: PaymentIntent, *, at: int, source: str) -> PaymentReport:
    """What a PaymentIntent says of its payment at ``at`` (Unix seconds of Stripe's clock).

    ``source`` is the event's id, or the name of an answer (see ``payment_order``). Raises PayloadError for a
    status that does not exist.
    """
    status = _intent_status(intent.status)
    succeeded = status is PaymentStatus.SUCCEEDED
    return PaymentReport(
        id=our_payment(intent.metadata) or adopted_payment(intent.id),
        state_order=payment_order(
            status, at=at, failed_attempt=intent.last_error is not None, from_intent=True, report=source
        ),
        status=status,
        amount=intent.amount,
        currency=intent.currency,
        created=intent.created,
        livemode=intent.livemode,
        amount_capturable=intent.amount_capturable,
        amount_captured=intent.amount_received if succeeded else 0,
        charge_order=charge_order(captured=succeeded, created=intent.created, charge=intent.latest_charge)
        if intent.latest_charge
        else "",
        stripe_charge=intent.latest_charge,
        stripe_payment_intent=intent.id,
        customer=intent.customer,
        description=intent.description,
        metadata=intent.metadata,
        capture_method=intent.capture_method,
        payment_method=intent.payment_method,
        client_secret=intent.client_secret,
        cancellation_reason=intent.cancellation_reason,
        last_error=intent.last_error,
        next_action=intent.next_action,
        receipt_email=intent.receipt_email,
        statement_descriptor=intent.statement_descriptor,
        statement_descriptor_suffix=intent.statement_descriptor_suffix,
        setup_future_usage=intent.setup_future_usage,
    )


def _intent_status(text: str) -> PaymentStatus:
    try:
        return _OLD_STATUS.get(text) or PaymentStatus(text)
    except ValueError:
        raise PayloadError(f"{text!r} is no PaymentIntent status.", param="status") from None


def refund_report(refund: Refund, payment_id: str | None, *, at: int, source: str) -> RefundReport:
    """What a refund says of itself at ``at`` (Unix seconds of Stripe's clock); see ``intent_report``."""
    status = refund_status(refund)
    return RefundReport(
        id=our_refund(refund.metadata) or adopted_refund(refund.id),
        state_order=refund_order(status, at=at, report=source),
        status=status,
        payment_id=payment_id,
        stripe_refund=refund.id,
        amount=refund.amount,
        currency=refund.currency,
        created=refund.created,
        stripe_payment_intent=refund.payment_intent,
        stripe_charge=refund.charge,
        reason=refund.reason,
        failure_reason=refund.failure_reason,
        metadata=refund.metadata,
    )


def refund_status(refund: Refund) -> RefundStatus:
    """Our status of a Stripe refund; raises PayloadError for one that does not exist."""
    try:
        return RefundStatus(refund.status)
    except ValueError:
        raise PayloadError(f"{refund.status!r} is no refund status.", param="status") from None
