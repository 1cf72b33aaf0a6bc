"""PaymentIntents: the payment's state, and the capture that a succeeded one implies. Pure."""

from __future__ import annotations

from typing import Final

from tallystick.events.charges import Capture, balance_transaction_seen, succeeded
from tallystick.events.notice_data import payment_data
from tallystick.events.spec import Effects, Event, Facts, moment
from tallystick.outbox.notices import Notice
from tallystick.payments.reports import PaymentReport, intent_report, our_payment
from tallystick.payments.status import PaymentStatus
from tallystick.stripe_gateway.fields import reference
from tallystick.stripe_gateway.payloads import PaymentIntent


def on_payment_intent(event: Event, facts: Facts) -> Effects:
    """Every payment_intent.* event."""
    intent = PaymentIntent.read(event.object)
    report = intent_report(intent, at=event.created, source=event.id)
    effects = Effects(payments=(report,), notices=_notices(event, intent, report))
    if intent.charge is not None and (txn := reference(intent.charge.get("balance_transaction"))):
        effects += Effects(balance_transactions=(balance_transaction_seen(txn, intent.charge),))
    if report.status is PaymentStatus.SUCCEEDED and intent.latest_charge:
        capture = Capture(
            charge=intent.latest_charge,
            amount=intent.amount_received,
            currency=intent.currency,
            payment_intent=intent.id,
            ours=our_payment(intent.metadata),
            multicapture=intent.multicapture,
            bank_transfer=intent.bank_transfer,
            invoice=intent.invoice,
            metadata=intent.metadata,
        )
        if intent.multicapture or intent.bank_transfer:
            # its amount may come from several captures or charges, each of which tells of itself
            effects += Effects(notices=(succeeded(report),))
        else:
            # its charge, which tells more, was not made before it was
            told = capture.effects(moment(event.created), event.id, facts, report)
            effects += told.dated(created=intent.created, not_before=intent.created)
    return effects


_NOTICES: Final = {
    "payment_intent.payment_failed": "payment.failed",
    "payment_intent.canceled": "payment.canceled",
    "payment_intent.requires_action": "payment.requires_action",
}


def _notices(event: Event, intent: PaymentIntent, report: PaymentReport) -> tuple[Notice, ...]:
    """Notices of what only this event tells; that it succeeded is told with the capture."""
    notice_type = _NOTICES.get(event.type)
    if notice_type is None:
        return ()
    # A payment can fail many times, once for each charge it tries.
    key = f"{notice_type}:{intent.latest_charge or event.id}"
    return (Notice(key, notice_type, report.id, payment_data(report)),)
