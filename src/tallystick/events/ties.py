"""Ties of events in one second: what to ask Stripe, and what its answer decides. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tallystick.events.spec import Question
from tallystick.payments.customer_reports import (
    CustomerReport,
    PaymentMethodReport,
    customer_report,
    payment_method_report,
)
from tallystick.payments.dispute_reports import DisputeReport, dispute_report
from tallystick.payments.reports import PaymentReport, RefundReport, TiedReport, intent_report, refund_report
from tallystick.payments.status import TIE_BREAKER
from tallystick.stripe_gateway.customer_payloads import Customer, PaymentMethod
from tallystick.stripe_gateway.fields import JsonObject
from tallystick.stripe_gateway.payloads import Dispute, PaymentIntent, Refund

PAYMENT_INTENT: Final = "payment_intent_at"
REFUND: Final = "refund_at"
DISPUTE: Final = "dispute_at"
CUSTOMER: Final = "customer_at"
PAYMENT_METHOD: Final = "payment_method_at"

_KINDS: Final[dict[type, str]] = {
    PaymentReport: PAYMENT_INTENT,
    RefundReport: REFUND,
    DisputeReport: DISPUTE,
    CustomerReport: CUSTOMER,
    PaymentMethodReport: PAYMENT_METHOD,
}


def tie_question(report: TiedReport, stripe_id: str, at: int) -> Question:
    """How the object stands, asked because of a tie in second ``at``: one question a tie."""
    return Question(_KINDS[type(report)], f"{stripe_id}:{at}")


def decided(report: TiedReport, answer: JsonObject, at: int) -> TiedReport:
    """What Stripe answered, as a report that stands above all events of the second and below all later ones.

    It may tell of a later state: then the event of that state says the same.
    """
    match report:
        case PaymentReport():
            told: TiedReport = intent_report(PaymentIntent.read(answer), at=at, source=TIE_BREAKER)
        case RefundReport():
            told = refund_report(Refund.read(answer), report.payment_id, at=at, source=TIE_BREAKER)
        case DisputeReport():
            told = dispute_report(Dispute.read(answer), report.payment_id, at=at, source=TIE_BREAKER)
        case CustomerReport() if answer.get("deleted") is True:
            return report  # nothing is left of it to tell, and the event of its end stands above all
        case CustomerReport():
            told = customer_report(Customer.read(answer), at=at, source=TIE_BREAKER)
        case PaymentMethodReport():
            told = payment_method_report(PaymentMethod.read(answer), at=at, source=TIE_BREAKER)
    return replace(told, id=report.id)
