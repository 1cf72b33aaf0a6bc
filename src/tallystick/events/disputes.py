"""Disputes: their state, and notices of it. Pure. The money they move posts with its balance transactions."""

from __future__ import annotations

from typing import Final

from tallystick.events.spec import Effects, Event, Facts, Question
from tallystick.outbox.notices import Notice, at_utc
from tallystick.payments.dispute_reports import dispute_report
from tallystick.payments.reports import adopted_payment, our_payment
from tallystick.stripe_gateway.payloads import Charge, Dispute

_NOTICES: Final = {
    "charge.dispute.created": "dispute.created",
    "charge.dispute.updated": "dispute.updated",
    "charge.dispute.funds_withdrawn": "dispute.updated",
    "charge.dispute.funds_reinstated": "dispute.updated",
    "charge.dispute.closed": "dispute.closed",
}


def on_dispute(event: Event, facts: Facts) -> Effects:
    """Every charge.dispute.* event.

    A dispute does not say whose payment it is about: its charge does, and is asked for.
    """
    dispute = Dispute.read(event.object)
    question = Question("charge", dispute.charge)
    if dispute.charge_object is None and question not in facts:
        return Effects(waiting_for=(question,))
    known = dispute.charge_object if dispute.charge_object is not None else facts[question]
    charge = Charge.read(known) if known is not None else None
    ours = our_payment(charge.metadata) if charge is not None else None
    intent = dispute.payment_intent or (charge.payment_intent if charge is not None else None)
    payment_id = ours or adopted_payment(intent or dispute.charge)
    report = dispute_report(dispute, payment_id, at=event.created, source=event.id)
    return Effects(
        disputes=(report,),
        notices=_notices(event, dispute, payment_id),
    )


def _notices(event: Event, dispute: Dispute, payment_id: str) -> tuple[Notice, ...]:
    notice_type = _NOTICES[event.type]
    about = event.id if notice_type == "dispute.updated" else dispute.id
    data = {
        "dispute": dispute.id,
        "payment": payment_id,
        "status": dispute.status,
        "reason": dispute.reason,
        "amount": dispute.amount,
        "currency": dispute.currency,
        "evidence_due_at": at_utc(dispute.evidence_due),
    }
    return (Notice(f"{notice_type}:{about}", notice_type, payment_id, data),)
