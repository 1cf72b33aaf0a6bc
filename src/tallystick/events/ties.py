"""Ties of events in one second: what to ask Stripe, and what its answer decides. Pure."""

from __future__ import annotations

from dataclasses import replace

from tallystick.events.spec import Question
from tallystick.payments.reports import PaymentReport, RefundReport, intent_report, refund_report
from tallystick.payments.status import TIE_BREAKER
from tallystick.stripe_gateway.fields import JsonObject
from tallystick.stripe_gateway.payloads import PaymentIntent, Refund

PAYMENT_INTENT: str = "payment_intent_at"
REFUND: str = "refund_at"


def tie_question(report: PaymentReport | RefundReport, stripe_id: str, at: int) -> Question:
    """How the object stands, asked because of a tie in second ``at``: one question a tie."""
    kind = PAYMENT_INTENT if isinstance(report, PaymentReport) else REFUND
    return Question(kind, f"{stripe_id}:{at}")


def decided(
    report: PaymentReport | RefundReport, answer: JsonObject, at: int
) -> PaymentReport | RefundReport:
    """What Stripe answered, as a report that stands above all events of the second and below all later ones.

    It may tell of a later state: then the event of that state says the same.
    """
    if isinstance(report, PaymentReport):
        told: PaymentReport | RefundReport = intent_report(
            PaymentIntent.read(answer), at=at, source=TIE_BREAKER
        )
    else:
        told = refund_report(Refund.read(answer), report.payment_id, at=at, source=TIE_BREAKER)
    return replace(told, id=report.id)
