"""What becomes of a subscription when its invoices are paid, fail, are overdue or forgiven: listeners."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import invoice_finalisation, invoice_payments
from tallystick.sandbox import subscription_invoices as invoices
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_pauses as pauses
from tallystick.sandbox import subscription_pending as updates
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_shape import ENDED


def _of_invoice(call: Call, invoice: Obj) -> Obj | None:
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return life.living(call, details.get("subscription") or "")


def paid(call: Call, invoice: Obj) -> None:
    """An invoice is paid: incomplete, past_due and unpaid subscriptions become active, paused ones resume."""
    subscription = _of_invoice(call, invoice)
    if subscription is None:
        return
    call = call.living_in(subscription["test_clock"])
    kept = _keep_method(call, subscription, invoice)
    if updates.waits_for(call, subscription, invoice):
        updates.apply(call, subscription)
        life.wind(call, subscription)
    elif subscription["latest_invoice"] == invoice["id"] and _recover(call, subscription, kept):
        return
    if kept:
        call.emit("customer.subscription.updated", subscription, kept)


def settled_elsewhere(call: Call, invoice: Obj) -> None:
    """An invoice is paid out of band: no invoice.payment_succeeded follows."""
    if not invoices.charged(call, invoice):
        paid(call, invoice)


def _keep_method(call: Call, subscription: Obj, invoice: Obj) -> Obj:
    """``save_default_payment_method=on_subscription``: what has paid is the default from now on.

    Returns what that changed.
    """
    wanted = subscription["payment_settings"]["save_default_payment_method"] == "on_subscription"
    intent = invoice_payments.intent_of(call, invoice) if wanted else None
    if intent is None or intent["payment_method"] is None:
        return {}
    return call.store.change(subscription, default_payment_method=intent["payment_method"])


def method_set_up(call: Call, intent: Obj) -> None:
    """A subscription's pending SetupIntent has succeeded: its payment method is the default."""
    for subscription in call.store.tables["subscription"].having("customer", intent["customer"]):
        if subscription["pending_setup_intent"] == intent["id"]:
            previous = call.store.change(
                subscription, pending_setup_intent=None, default_payment_method=intent["payment_method"]
            )
            call.emit("customer.subscription.updated", subscription, previous)


def update_expired(call: Call, ident: str) -> None:
    """Timer: a pending update has not been paid for 23 hours."""
    subscription = life.living(call, ident)
    if subscription is not None and subscription["pending_update"] is not None:
        invoice = call.find("invoice", updates.drop(call, subscription))
        if invoice["status"] == "open":
            invoice_finalisation.void(call, invoice)


def _recover(call: Call, subscription: Obj, kept: Obj) -> bool:
    """Whether it was in debt or paused; it is not any more, by an event that names ``kept`` changes too."""
    if subscription["status"] == "paused":
        return pauses.paid(call, subscription, kept)
    if subscription["status"] not in ("incomplete", "past_due", "unpaid"):
        return False
    trial = subscription["trial_end"] is not None and subscription["trial_end"] > call.now
    previous = call.store.change(subscription, status="trialing" if trial else "active")
    call.emit("customer.subscription.updated", subscription, {**kept, **previous})
    life.wind(call, subscription)
    return True


def failed(call: Call, invoice: Obj) -> None:
    """A payment has failed: past_due, and after the last attempt what the settings say."""
    subscription = _of_invoice(call, invoice)
    if subscription is None or subscription["status"] == "incomplete":
        return
    call = call.living_in(subscription["test_clock"])
    if subscription["status"] == "paused":
        pauses.failed(call, subscription, invoice)
        return
    if updates.waits_for(call, subscription, invoice) or call.store.hidden(subscription).get("trying"):
        return
    if subscription["status"] in ("active", "trialing"):
        previous = call.store.change(subscription, status="past_due")
        call.emit("customer.subscription.updated", subscription, previous)
        life.wind(call, subscription)
    if invoices.given_up(call, invoice):
        _give_up(call, subscription, invoice)


def _give_up(call: Call, subscription: Obj, invoice: Obj) -> None:
    """After the last retry: cancel, leave unpaid, or leave past due."""
    wanted = call.sandbox.settings.dunning_end
    if wanted == "cancel":
        details: dict[str, Any] = {**subscription["cancellation_details"], "reason": "payment_failed"}
        life.end(call, subscription, details)
    elif wanted == "unpaid":
        previous = call.store.change(subscription, status="unpaid")
        call.emit("customer.subscription.updated", subscription, previous)
        invoices.give_up_invoice(call, invoice)
        life.wind(call, subscription)


def overdue(call: Call, invoice: Obj) -> None:
    """An invoice that was sent is past its due date."""
    subscription = _of_invoice(call, invoice)
    if subscription is not None and subscription["status"] in ("active", "trialing"):
        call = call.living_in(subscription["test_clock"])
        previous = call.store.change(subscription, status="past_due")
        call.emit("customer.subscription.updated", subscription, previous)


def forgiven(call: Call, invoice: Obj) -> None:
    """An invoice is void or uncollectible: the first one ends an incomplete subscription."""
    subscription = _of_invoice(call, invoice)
    if subscription is None or subscription["latest_invoice"] != invoice["id"]:
        return
    call = call.living_in(subscription["test_clock"])
    if subscription["status"] == "incomplete" and invoice["status"] == "void":
        life.expired(call, subscription)
    elif subscription["status"] == "paused" and invoice["status"] == "void":
        pauses.given_up(call, subscription)
    elif subscription["status"] in ("incomplete", "past_due", "paused"):
        _recover(call, subscription, {})


def customer_deleted(call: Call, customer: Obj) -> None:
    """A customer is gone: its subscriptions end at once."""
    for subscription in call.store.tables["subscription"].having("customer", customer["id"]):
        if subscription["status"] not in ENDED:
            details = {**subscription["cancellation_details"], "reason": "cancellation_requested"}
            life.end(call.living_in(subscription["test_clock"]), subscription, details)


LISTENERS: Final = {
    "invoice.paid": settled_elsewhere,
    "invoice.payment_succeeded": paid,
    "invoice.payment_failed": failed,
    "invoice.overdue": overdue,
    "invoice.voided": forgiven,
    "invoice.marked_uncollectible": forgiven,
    "customer.deleted": customer_deleted,
    "setup_intent.succeeded": method_set_up,
}


ACTIONS: Final = {updates.EXPIRE: update_expired}
