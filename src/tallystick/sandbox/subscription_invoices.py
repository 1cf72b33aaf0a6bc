"""The invoices that a subscription has: which are open, which are given up, how they end with it."""

from __future__ import annotations

from tallystick.sandbox import invoice_drafts, invoice_finalisation, invoice_payments
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def open_invoices(call: Call, subscription: Obj) -> list[Obj]:
    """The invoices of a subscription that are not at an end."""
    return [
        invoice
        for invoice in call.store.tables["invoice"].having("customer", subscription["customer"])
        if invoice["status"] in ("draft", "open") and subscription_of(invoice) == subscription["id"]
    ]


def subscription_of(invoice: Obj) -> str | None:
    """The id of the subscription that an invoice bills."""
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    found: str | None = details.get("subscription")
    return found


def stop_collecting(call: Call, subscription: Obj) -> None:
    """A canceled subscription's invoices stay as they are, but nothing happens to them by itself."""
    for invoice in open_invoices(call, subscription):
        give_up_invoice(call, invoice)


def give_up_invoice(call: Call, invoice: Obj) -> None:
    """Stop advancing an invoice."""
    if not invoice["auto_advance"]:
        return
    for timer in (invoice_drafts.ADVANCE, invoice_finalisation.COLLECT):
        call.sandbox.timers.take(timer, invoice["id"])
    previous = call.store.change(
        invoice, auto_advance=False, automatically_finalizes_at=None, next_payment_attempt=None
    )
    call.emit("invoice.updated", invoice, previous)


def void_open(call: Call, subscription: Obj) -> None:
    """The first invoice of a subscription that has expired is void."""
    for invoice in open_invoices(call, subscription):
        if invoice["status"] == "open":
            invoice_finalisation.void(call, invoice)


def given_up(call: Call, invoice: Obj) -> bool:
    """Whether a failed invoice will not be tried again by itself."""
    return bool(
        invoice["auto_advance"]
        and invoice["next_payment_attempt"] is None
        and invoice["attempt_count"] > len(call.sandbox.settings.dunning_retry_days)
    )


def charged(call: Call, invoice: Obj) -> bool:
    """Whether an invoice was paid through Stripe, or needed no payment: invoice.payment_succeeded follows."""
    intent = invoice_payments.intent_of(call, invoice)
    return intent is None or intent["status"] == "succeeded"
