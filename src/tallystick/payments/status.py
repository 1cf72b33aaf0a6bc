"""What state a payment or refund is in, and which of two reports about it is the later one. Pure.

Stripe delivers in no order, and two events of one object can carry the same second. So every report gets a
*state order*, a text that sorts: the greatest wins, whatever the order of arrival. Final states stand above
all others; among the rest the later second wins. Within a second the answer to a call of ours stands above
events, which the call caused; then the further state wins, then the event's id.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class PaymentStatus(StrEnum):
    """Stripe's PaymentIntent statuses, and UNKNOWN for a call whose outcome is not known yet."""

    UNKNOWN = "unknown"
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"


class RefundStatus(StrEnum):
    """Stripe's refund statuses, and UNKNOWN for a call whose outcome is not known yet."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    FAILED = "failed"


FINAL: Final = frozenset({PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED})
REFUND_RELEASED: Final = frozenset({RefundStatus.FAILED, RefundStatus.CANCELED})
"""Refunds in these states no longer take from what can be refunded."""

_PAYMENT_RANK: Final = {
    PaymentStatus.UNKNOWN: 0,
    PaymentStatus.REQUIRES_PAYMENT_METHOD: 1,
    PaymentStatus.REQUIRES_CONFIRMATION: 2,
    PaymentStatus.REQUIRES_ACTION: 3,
    PaymentStatus.PROCESSING: 4,
    # 5 is requires_payment_method again, after an attempt that failed
    PaymentStatus.REQUIRES_CAPTURE: 6,
    PaymentStatus.CANCELED: 7,
    PaymentStatus.SUCCEEDED: 8,
}
_REFUND_RANK: Final = {status: rank for rank, status in enumerate(RefundStatus)}
_RANK_AFTER_FAILED_ATTEMPT: Final = 5

ANSWER: Final = "~"
"""Begins the name of a report that is the answer to a call of ours; sorts above every event's id."""

TIE_BREAKER: Final = f"{ANSWER}tie"
"""Names the report that decides a tie; sorts above every event's id and every answer within its second."""
_EVENT: Final = "evt_"

UNDECIDED_ORDER: Final = ""
"""The state order of a row that Stripe has not answered for yet: every report is later."""


def payment_order(
    status: PaymentStatus, *, at: int, failed_attempt: bool, from_intent: bool, report: str
) -> str:
    """The state order of a report about a payment.

    ``at`` is in Unix seconds of Stripe's clock. A report read off a charge (``from_intent`` false) is only a
    stand-in: anything the PaymentIntent itself says stands above it. ``report`` is the event's id, or
    ``~NANOSECONDS`` for the answer to a call of ours: of two in one second the later one wins.
    """
    rank = _PAYMENT_RANK[status]
    if status is PaymentStatus.REQUIRES_PAYMENT_METHOD and failed_attempt:
        rank = _RANK_AFTER_FAILED_ATTEMPT
    answered = report if report.startswith(ANSWER) else ""
    return f"{int(from_intent)}{int(status in FINAL)}:{at:012d}:{answered}:{rank:02d}:{report}"


def refund_order(status: RefundStatus, *, at: int, report: str) -> str:
    """The state order of a report about a refund: a refund only ever moves up in rank."""
    return f"{_REFUND_RANK[status]:02d}:{at:012d}:{report}"


def charge_order(*, captured: bool, created: int, charge: str) -> str:
    """Which charge of a payment is the one to show: a captured one, else the latest."""
    return f"{int(captured)}:{created:012d}:{charge}"


def is_tie(a: str, b: str) -> bool:
    """Whether two events in one second report equal ranks, so that only their ids decide between them."""
    rank_a, _, report_a = a.rpartition(":")
    rank_b, _, report_b = b.rpartition(":")
    return rank_a == rank_b and report_a.startswith(_EVENT) and report_b.startswith(_EVENT)


def is_stand_in(payment_state_order: str) -> bool:
    """Whether a payment's state was read off a charge: what its PaymentIntent says will stand above it."""
    return payment_state_order.startswith("0")
