"""What is done to invoices: finalize, pay, send, void, mark uncollectible, attach a payment."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import (
    invoice_collection,
    invoice_finalisation,
    invoice_params,
    invoice_payments,
    payment_methods,
)
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_MANUAL_GRACE: Final = 3600
"""How long an invoice that someone finalised waits before it is charged by itself."""


def finalize(call: Call) -> Obj:
    """POST /v1/invoices/{id}/finalize."""
    invoice = call.find("invoice")
    invoice_finalisation.finalise(
        call, invoice, auto_advance=call.params.get("auto_advance"), collects_after=_MANUAL_GRACE
    )
    return invoice


def pay(call: Call) -> Obj:
    """POST /v1/invoices/{id}/pay: a draft is finalised first."""
    invoice, params = call.find("invoice"), call.params
    if invoice["status"] == "paid":
        raise refused("Invoice is already paid")
    if invoice["status"] == "void":
        raise refused("You cannot pay an invoice with a status of void.")
    if invoice["status"] == "draft":
        invoice_finalisation.finalise(call, invoice, collects_after=_MANUAL_GRACE)
    if invoice["status"] == "paid":
        return invoice
    if params.get("paid_out_of_band"):
        here = call.living_in(invoice["test_clock"])
        amount = invoice["amount_remaining"]
        here.store.change(invoice, amount_paid_off_stripe=invoice["amount_paid_off_stripe"] + amount)
        invoice_collection.apply_payment(here, invoice, amount, charged=False)
        return invoice
    method = params.get("payment_method")
    if method is not None:
        method = payment_methods.materialise(call, method)["id"]
    outcome = invoice_collection.attempt(call, invoice, method or params.get("source"), automatic=False)
    if outcome.error is not None:
        raise outcome.error
    return invoice


def send(call: Call) -> Obj:
    """POST /v1/invoices/{id}/send: finalised first if need be; the email is only said to be sent."""
    invoice = call.find("invoice")
    if invoice["collection_method"] != "send_invoice":
        raise refused("You can only manually send an invoice if its collection method is 'send_invoice'.")
    if invoice["status"] not in ("draft", "open", "paid"):
        raise refused(f"You cannot send an invoice with a status of {invoice['status']}.")
    if not call.find("customer", invoice["customer"])["email"]:
        raise refused("The customer must have an email address to send the invoice to.", param="customer")
    if invoice["status"] == "draft":
        invoice_finalisation.finalise(call, invoice)
    call.sandbox.timers.take(invoice_finalisation.COLLECT, invoice["id"])
    call.emit("invoice.sent", invoice)
    return invoice


def void(call: Call) -> Obj:
    """POST /v1/invoices/{id}/void."""
    invoice = call.find("invoice")
    invoice_finalisation.void(call, invoice)
    return invoice


def mark_uncollectible(call: Call) -> Obj:
    """POST /v1/invoices/{id}/mark_uncollectible."""
    invoice = call.find("invoice")
    invoice_finalisation.mark_uncollectible(call, invoice, "user_forgiven")
    return invoice


def attach_payment(call: Call) -> Obj:
    """POST /v1/invoices/{id}/attach_payment: another PaymentIntent pays for it, in whole or in part."""
    invoice = call.find("invoice")
    if invoice["status"] not in ("open", "uncollectible"):
        raise refused(f"You cannot attach a payment to an invoice with a status of {invoice['status']}.")
    if "payment_intent" not in call.params:
        raise invalid(
            "Missing required param: payment_intent.", param="payment_intent", code="parameter_missing"
        )
    intent = call.find("payment_intent", call.params["payment_intent"])
    if intent["status"] == "canceled" or intent["currency"] != invoice["currency"]:
        raise refused("This PaymentIntent cannot pay the invoice.", param="payment_intent")
    amount = min(intent["amount"], invoice["amount_remaining"])
    invoice_payments.make(call, invoice, intent, amount, default=False)
    if intent["status"] == "succeeded":
        invoice_collection.succeeded(call, intent)
    return invoice


ROUTES: Final = [
    Route("POST", "/v1/invoices/{}/finalize", finalize, invoice_params.FINALIZE),
    Route("POST", "/v1/invoices/{}/pay", pay, invoice_params.PAY),
    Route("POST", "/v1/invoices/{}/send", send),
    Route("POST", "/v1/invoices/{}/void", void),
    Route("POST", "/v1/invoices/{}/mark_uncollectible", mark_uncollectible),
    Route("POST", "/v1/invoices/{}/attach_payment", attach_payment, invoice_params.ATTACH),
]
