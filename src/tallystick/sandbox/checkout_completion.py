"""How a Checkout Session is paid: by its page, by the control API, or as Stripe's CLI does it.

A session is completed by what happens to its PaymentIntent, SetupIntent or subscription, heard as events:
so authentication and bank debits, which take time, need no path of their own. checkout.session.completed
comes with ``payment_status`` paid, or unpaid for a bank debit; async_payment_succeeded or _failed follows.
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import (
    checkout_sessions,
    coupons,
    invoice_payments,
    promotion_codes,
)
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

KIND: Final = "checkout.session"


# What follows


def complete(call: Call, session: Obj, payment_status: str) -> None:
    """The session is done; a debit may still be on its way (``unpaid``)."""
    call.sandbox.timers.take(checkout_sessions.EXPIRE, session["id"])
    if session["mode"] == "payment" and session["invoice"] is None:
        _redeem(call, session)
    call.store.change(session, status="complete", payment_status=payment_status, url=None)
    call.emit("checkout.session.completed", session)


def _redeem(call: Call, session: Obj) -> None:
    """Count the coupon's use; where an invoice or a subscription is made, its discount has done so."""
    for sent in call.store.hidden(session)["discounts"]:
        promotion = call.store.get("promotion_code", sent.get("promotion_code") or "")
        if promotion is not None:
            promotion_codes.redeem(call, promotion)
        ident = sent.get("coupon") or (promotion or {}).get("promotion", {}).get("coupon")
        coupon = call.store.get("coupon", ident or "")
        if coupon is not None:
            coupons.redeem(call, coupon)


def _of(call: Call, field: str, ident: str) -> Obj | None:
    found = call.store.tables[KIND].having(field, ident)
    return found[0] if found else None


def _session_of(call: Call, intent: Obj) -> Obj | None:
    """The session of a PaymentIntent: its own, or that of the subscription whose invoice it pays."""
    found = _of(call, "payment_intent", intent["id"])
    if found is None and call.store.tables[KIND].by["subscription"]:
        for payment in invoice_payments.of_intent(call, intent):
            invoice = call.find("invoice", payment["invoice"])
            details = (invoice["parent"] or {}).get("subscription_details") or {}
            found = found or _of(call, "subscription", details.get("subscription") or "")
    return found


def succeeded(call: Call, intent: Obj) -> None:
    """Listener: a PaymentIntent was paid, perhaps a session's."""
    session = _session_of(call, intent)
    if session is None:
        return
    if session["status"] == "open" and session["mode"] == "payment":
        complete(call, session, "paid")
    elif session["status"] == "complete" and session["payment_status"] == "unpaid":
        call.store.change(session, payment_status="paid")
        call.emit("checkout.session.async_payment_succeeded", session)


def processing(call: Call, intent: Obj) -> None:
    """Listener: a bank debit is on its way."""
    session = _of(call, "payment_intent", intent["id"])
    if session is not None and session["status"] == "open":
        complete(call, session, "unpaid")


def authorized(call: Call, intent: Obj) -> None:
    """Listener: a payment waits for its capture; the customer's part is done."""
    session = _of(call, "payment_intent", intent["id"])
    if session is not None and session["status"] == "open":
        complete(call, session, "unpaid")


def failed(call: Call, intent: Obj) -> None:
    """Listener: a bank debit has failed after all."""
    session = _session_of(call, intent)
    if session is not None and session["status"] == "complete" and session["payment_status"] == "unpaid":
        call.emit("checkout.session.async_payment_failed", session)


def set_up(call: Call, intent: Obj) -> None:
    """Listener: a payment method is ready, perhaps for a session."""
    session = _of(call, "setup_intent", intent["id"])
    if session is not None and session["status"] == "open":
        complete(call, session, "no_payment_required")


def subscribed(call: Call, subscription: Obj) -> None:
    """Listener: a subscription has become active after its customer authenticated."""
    session = _of(call, "subscription", subscription["id"])
    if session is not None and session["status"] == "open" and subscription["status"] == "active":
        complete(call, session, "paid")


LISTENERS: Final = {
    "payment_intent.succeeded": succeeded,
    "payment_intent.processing": processing,
    "payment_intent.amount_capturable_updated": authorized,
    "payment_intent.payment_failed": failed,
    "setup_intent.succeeded": set_up,
    "customer.subscription.updated": subscribed,
}
