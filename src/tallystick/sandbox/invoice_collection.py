"""Collecting an invoice: attempts to pay, their failures and retries, and what a PaymentIntent's end means.

``attempt`` charges a customer's saved payment method and says how it went:

* ``paid``; ``processing`` (a bank debit on its way; the invoice hears later)
* ``failed`` (declined), ``requires_action`` (the customer must authenticate), ``no_method``: after these the
  invoice stays open, with invoice.payment_failed > invoice.updated, and is tried again by itself on the days
  of ``dunning_retry_days`` if it has ``auto_advance``; ``next_payment_attempt`` is null after the last.

Order of events, as at Stripe: the charge's, invoice.paid, invoice.payment_succeeded, invoice_payment.paid.
Sources: the contract's sequences; https://docs.stripe.com/invoicing/automatic-collection
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from tallystick.sandbox import confirmation, default_methods, invoice_finalisation, invoice_payments
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.invoice_drafts import ADVANCE
from tallystick.sandbox.invoice_finalisation import COLLECT, OVERDUE
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

How = Literal["paid", "processing", "failed", "requires_action", "no_method"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went; ``error`` is what the API answers to a caller who asked for it."""

    how: How
    error: StripeError | None = None


def attempt(
    call: Call,
    invoice: Obj,
    method: str | None = None,
    *,
    automatic: bool = True,
    timed: bool = False,
    **confirming: Any,
) -> Outcome:
    """Try to pay an open (or uncollectible) invoice with ``method``, or the customer's default one.

    One that is paid already (nothing was due at its finalisation) needs no attempt: ``paid``.
    ``automatic`` attempts count; of those that someone asks for only a first one does. A ``timed``
    one, that nobody waits for, has failed where a call would be refused. ``confirming`` goes to
    ``confirmation.Attempt``.
    """
    call = call.living_in(invoice["test_clock"])
    if invoice["status"] == "paid":
        return Outcome("paid")
    intent = invoice_payments.intent_of(call, invoice)
    assert intent is not None, "An open invoice has a PaymentIntent."
    call.sandbox.timers.take(COLLECT, invoice["id"])
    chosen = method or default_methods.of_invoice(call, invoice)
    previous = _count(call, invoice, automatic=automatic)
    if chosen is None:
        _failed(call, invoice, previous)
        return Outcome("no_method", _no_method())
    real = call.in_real_time()
    call.store.change(intent, payment_method=chosen, status="requires_confirmation", next_action=None)
    call.store.hide(invoice, attempting=True)
    error = None
    try:
        confirmation.confirm(real, intent, confirmation.Attempt(use_stripe_sdk=True, **confirming))
    except StripeError as raised:
        if not raised.keeps_work:
            if not timed:
                raise
            call.store.change(intent, payment_method=None, status="requires_payment_method")
        error = raised
    finally:
        call.store.hide(invoice, attempting=False)
    if error is not None:
        _failed(call, invoice, previous)
        return Outcome("failed", error)
    if intent["status"] == "requires_action":
        _failed(call, invoice, previous)
        return Outcome("requires_action", _action_required(intent))
    return Outcome("paid" if invoice["status"] == "paid" else "processing")


def _count(call: Call, invoice: Obj, *, automatic: bool) -> Obj:
    """Count an attempt and plan the next, as if it failed; returns what changed."""
    first = invoice["attempt_count"] == 0
    values: Obj = {"attempted": True}
    if first or automatic:
        values["attempt_count"] = invoice["attempt_count"] + 1
        values["next_payment_attempt"] = None
        charged = invoice["collection_method"] == "charge_automatically"
        retries = call.sandbox.settings.dunning_retry_days
        if invoice["auto_advance"] and charged and invoice["attempt_count"] < len(retries):
            days = retries[invoice["attempt_count"]]
            values["next_payment_attempt"] = call.now + int(days * 86_400)
    return call.store.change(invoice, **values)


def _failed(call: Call, invoice: Obj, previous: Obj) -> None:
    """An attempt failed: the events, and the timer of the next one."""
    again = invoice["next_payment_attempt"]
    if again is not None and not call.sandbox.timers.has(COLLECT, invoice["id"]):
        call.at(again, COLLECT, invoice["id"])
    call.emit("invoice.payment_failed", invoice)
    call.emit("invoice.updated", invoice, previous)


def _no_method() -> StripeError:
    return StripeError(
        400,
        "This customer has no attached payment source or default payment method. Please consider adding a"
        " default payment method. For more information, visit"
        " https://stripe.com/docs/billing/payments/defaults.",
        code="resource_missing",
        stored=True,
    )


def _action_required(intent: Obj) -> StripeError:
    return StripeError(
        402,
        "Payment for this invoice requires additional user action before it can be completed successfully."
        " Payment can be completed using the PaymentIntent associated with the invoice. For more details see:"
        " https://stripe.com/docs/billing/subscriptions/overview#requires-action",
        kind="card_error",
        code="invoice_payment_intent_requires_action",
        stored=True,
        keeps_work=True,
        payment_intent=dict(intent),
    )


def resume(call: Call, invoice: Obj) -> Obj:
    """An open invoice's ``auto_advance`` was switched: plan the next attempt, or none; says what changed."""
    call.sandbox.timers.take(COLLECT, invoice["id"])
    charged = invoice["collection_method"] == "charge_automatically"
    due = None
    if invoice["auto_advance"]:
        due = call.now + (3600 if charged else 0)
        call.at(due, COLLECT, invoice["id"])
    return call.store.change(invoice, next_payment_attempt=due if charged else None)


# What the PaymentIntent's events mean


def succeeded(call: Call, intent: Obj) -> None:
    """Listener: what a PaymentIntent received pays the invoices that it is for, the oldest first."""
    left = intent["amount_received"]
    for payment in invoice_payments.of_intent(call, intent):
        if payment["status"] != "open":
            continue
        invoice = call.find("invoice", payment["invoice"])
        here = call.living_in(invoice["test_clock"])
        amount = min(payment["amount_requested"], left)
        left -= amount
        invoice_payments.settle(here, payment, amount)
        apply_payment(here, invoice, amount)
        here.emit("invoice_payment.paid", payment)


def apply_payment(call: Call, invoice: Obj, amount: int, *, charged: bool = True) -> None:
    """Count ``amount`` (minor units) as paid; the invoice is paid when nothing remains.

    What is more than remains is ``amount_overpaid`` (invoice.overpaid).
    """
    due = min(amount, invoice["amount_remaining"])
    over = amount - due
    previous = call.store.change(
        invoice,
        amount_overpaid=invoice["amount_overpaid"] + over,
        amount_paid=invoice["amount_paid"] + amount,
        amount_remaining=invoice["amount_remaining"] - due,
    )
    if invoice["amount_remaining"] == 0 and invoice["status"] in ("open", "uncollectible"):
        invoice_finalisation.paid(call, invoice, charged=charged)
        invoice_finalisation.close_payments(call, invoice, None)
    elif previous:
        invoice_payments.follow(call, invoice)
        call.emit("invoice.updated", invoice, previous)
    if over:
        call.emit("invoice.overpaid", invoice)


def failed(call: Call, intent: Obj) -> None:
    """Listener: a payment that the customer tried, or a bank debit on its way, did not succeed."""
    for invoice in _waiting(call, intent):
        if not call.store.hidden(invoice).get("attempting"):
            here = call.living_in(invoice["test_clock"])
            _failed(here, invoice, here.store.change(invoice, attempted=True))


def action_required(call: Call, intent: Obj) -> None:
    """Listener: the customer must authenticate."""
    for invoice in _waiting(call, intent):
        call.living_in(invoice["test_clock"]).emit("invoice.payment_action_required", invoice)


def _waiting(call: Call, intent: Obj) -> list[Obj]:
    payments = invoice_payments.of_intent(call, intent)
    return [call.find("invoice", item["invoice"]) for item in payments if item["status"] == "open"]


# Timers


def advance(call: Call, invoice_id: str) -> None:
    """Timer: a draft's hour is over."""
    invoice = call.store.get("invoice", invoice_id)
    if invoice is None or invoice["status"] != "draft":
        return
    try:
        invoice_finalisation.finalise(call, invoice)
    except StripeError as error:
        if not error.keeps_work:
            raise


def collect(call: Call, invoice_id: str) -> None:
    """Timer: time to attempt payment, or to send the invoice."""
    invoice = call.find("invoice", invoice_id)
    if invoice["status"] != "open" or not invoice["auto_advance"]:
        return
    if invoice["collection_method"] == "charge_automatically":
        attempt(call, invoice, timed=True)
    else:
        call.emit("invoice.sent", invoice)


def overdue(call: Call, invoice_id: str) -> None:
    """Timer: the due date has passed."""
    invoice = call.find("invoice", invoice_id)
    if invoice["status"] == "open":
        call.emit("invoice.overdue", invoice)


ACTIONS: Final = {ADVANCE: advance, COLLECT: collect, OVERDUE: overdue}
LISTENERS: Final = {
    "payment_intent.succeeded": succeeded,
    "payment_intent.payment_failed": failed,
    "payment_intent.requires_action": action_required,
}
