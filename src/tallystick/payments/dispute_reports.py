"""Reports about disputes, and how two of them become one. Pure.

A dispute goes back and forth (an inquiry is escalated, a lost one is won in the end), so no state is final:
the later second wins, within a second the further state, then the event's id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tallystick.payments.status import TIE_BREAKER
from tallystick.stripe_gateway.payloads import Dispute

_RANK: Final = {
    status: rank
    for rank, status in enumerate(
        (
            "warning_needs_response", "warning_under_review", "warning_closed", "needs_response",
            "under_review", "charge_refunded", "prevented", "lost", "won",
        )
    )
}  # fmt: skip
"""Stripe's dispute statuses, the further the higher; one of tomorrow ranks below all."""
_DECIDES: Final = 99
"""Where Stripe says which of two events of one second is the later, that stands above both."""


@dataclass(frozen=True, slots=True)
class DisputeReport:
    """What an event says of a dispute. Amounts in minor units of ``currency``, times in Unix seconds.

    ``id`` is Stripe's, and ours: a dispute never begins here. ``payment_id`` names our payment, which may not
    be known here yet.
    """

    id: str
    state_order: str
    status: str
    payment_id: str
    amount: int
    currency: str
    created: int
    livemode: bool
    reason: str | None = None
    network_reason_code: str | None = None
    evidence_due: int | None = None
    has_evidence: bool = False
    submission_count: int = 0
    charge_refundable: bool = False
    stripe_payment_intent: str | None = None
    stripe_charge: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def stripe_id(self) -> str:
        """The object at Stripe that the report is about."""
        return self.id


def merge_disputes(a: DisputeReport, b: DisputeReport) -> DisputeReport:
    """Two reports about one dispute as one; commutative, associative, idempotent, as the upsert is."""
    state = a if a.state_order >= b.state_order else b
    return replace(state, payment_id=min(a.payment_id, b.payment_id), created=min(a.created, b.created))


def dispute_report(dispute: Dispute, payment_id: str, *, at: int, source: str) -> DisputeReport:
    """What a dispute says of itself at ``at`` (Unix seconds of Stripe's clock); ``source`` is the event."""
    rank = _DECIDES if source == TIE_BREAKER else _RANK.get(dispute.status, -1) + 1
    return DisputeReport(
        id=dispute.id,
        state_order=f"{at:012d}:{rank:02d}:{source}",
        status=dispute.status,
        payment_id=payment_id,
        amount=dispute.amount,
        currency=dispute.currency,
        created=dispute.created,
        livemode=dispute.livemode,
        reason=dispute.reason,
        network_reason_code=dispute.network_reason_code,
        evidence_due=dispute.evidence_due,
        has_evidence=dispute.has_evidence,
        submission_count=dispute.submission_count,
        charge_refundable=dispute.charge_refundable,
        stripe_payment_intent=dispute.payment_intent,
        stripe_charge=dispute.charge,
        metadata=dispute.metadata,
    )
