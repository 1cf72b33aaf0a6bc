"""PaymentIntents: the payment's state, and the capture that a succeeded one implies. Pure."""

from __future__ import annotations

from typing import Final

from tallystick.errors import PayloadError
from tallystick.events.charges import Capture, balance_transaction_seen
from tallystick.events.spec import Effects, Event, Facts, Notice, moment
from tallystick.payments.reports import PaymentReport, adopted_payment, our_payment
from tallystick.payments.status import PaymentStatus, charge_order, payment_order
from tallystick.stripe_gateway.payloads import PAYMENT_METADATA, PaymentIntent, reference

_OLD_STATUS: Final = {
    # names before API version 2019-02-11
    "requires_source": PaymentStatus.REQUIRES_PAYMENT_METHOD,
    "requires_source_action": PaymentStatus.REQUIRES_ACTION,
}


def on_payment_intent(event: Event, _facts: Facts) -> Effects:
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
            ours=our_payment(intent.metadata, PAYMENT_METADATA),
            multicapture=intent.multicapture,
        )
        effects += capture.effects(moment(event.created), event.id)
    return effects


def intent_report(intent: PaymentIntent, *, at: int, source: str) -> PaymentReport:
    """What a PaymentIntent says of its payment at ``at`` (Unix seconds of Stripe's clock).

    ``source`` is the event's id, empty for the answer to a call of ours. Raises PayloadError for a status
    that does not exist.
    """
    status = _status(intent.status)
    succeeded = status is PaymentStatus.SUCCEEDED
    return PaymentReport(
        id=our_payment(intent.metadata, PAYMENT_METADATA) or adopted_payment(intent.id),
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
    )


def _status(text: str) -> PaymentStatus:
    try:
        return _OLD_STATUS.get(text) or PaymentStatus(text)
    except ValueError:
        raise PayloadError(f"{text!r} is no PaymentIntent status.", param="status") from None


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
    data = {"payment": report.id, "amount": intent.amount, "currency": intent.currency}
    return (Notice(key, notice_type, report.id, data),)
