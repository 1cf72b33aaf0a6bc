"""Credit notes: an invoice is reduced after it was finalised, before or after it was paid, or both.

Before payment the invoice is due for less (and is paid when nothing remains); after it, the money goes back
as refunds, as credit on the customer's balance, or outside Stripe. Hidden beside a note: all its ``lines``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tallystick import money
from tallystick.sandbox import credit_note_amounts as amounts
from tallystick.sandbox import (
    credit_note_shape,
    customer_balance,
    invoice_finalisation,
    invoice_payments,
    refunds,
)
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Params,
    created,
    listing,
    merged_metadata,
    metadata,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("credit_note", "credit note", indexes=("customer", "invoice"))]


def _invoice(call: Call) -> Obj:
    invoice = call.find("invoice", call.params["invoice"])
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise refused(
            f"Credit notes can only be created for open, paid or uncollectible invoices; the invoice has a"
            f" status of {invoice['status']}.",
            param="invoice",
        )
    return invoice


def _check_given_back(call: Call, invoice: Obj, post_payment: int) -> list[Obj]:
    """400 unless what is given back adds up; the refunds that are named, with their amounts."""
    params, code = call.params, invoice["currency"]
    linked = [_linked(call, invoice, sent) for sent in params.get("refunds", ())]
    given = (
        params.get("credit_amount", 0)
        + params.get("refund_amount", 0)
        + params.get("out_of_band_amount", 0)
        + sum(item["amount_refunded"] for item in linked)
    )
    if given != post_payment:
        raise refused(
            "The sum of credit amount, refund amount and out of band amount"
            f" ({money.decimal_text(given, code)} {code}) must equal the credit note amount that was paid"
            f" ({money.decimal_text(post_payment, code)} {code}).",
            param="amount",
        )
    return linked


def _linked(call: Call, invoice: Obj, sent: dict[str, Any]) -> Obj:
    if "refund" not in sent:
        raise invalid(
            "Missing required param: refunds[refund].", param="refunds[refund]", code="parameter_missing"
        )
    refund = call.find("refund", sent["refund"])
    intents = [item["payment"]["payment_intent"] for item in invoice_payments.of_invoice(call, invoice["id"])]
    amount = int(sent.get("amount_refunded") or refund["amount"])
    if refund["payment_intent"] not in intents or amount > refund["amount"]:
        raise refused("This refund does not belong to a payment of the invoice.", param="refunds[refund]")
    return _shown_refund(refund["id"], amount)


def _shown_refund(ident: str, amount: int) -> Obj:
    return {"amount_refunded": amount, "payment_record_refund": None, "refund": ident, "type": "refund"}


def create(call: Call) -> Obj:
    """POST /v1/credit_notes."""
    invoice = _invoice(call)
    here = call.living_in(invoice["test_clock"])
    params = call.params
    draft = amounts.drafted(here, invoice, params)
    linked = _check_given_back(here, invoice, draft.post_payment)
    note = credit_note_shape.note_of(here, invoice, draft)
    call.store.put(note, {"lines": draft.lines})
    if params.get("refund_amount"):
        linked += _refunded(call, invoice, params["refund_amount"])
    call.store.change(note, refunds=linked)
    if params.get("credit_amount"):
        txn = customer_balance.move(
            here,
            call.find("customer", invoice["customer"]),
            -params["credit_amount"],
            invoice["currency"],
            "credit_note",
            credit_note=note["id"],
            invoice=invoice["id"],
        )
        call.store.change(note, customer_balance_transaction=txn["id"])
    call.emit("credit_note.created", note)
    _reduce(here, invoice, draft.pre_payment, draft.post_payment)
    return note


def _refunded(call: Call, invoice: Obj, amount: int) -> list[Obj]:
    """Refund ``amount`` of the invoice's payments, the oldest first."""
    made = []
    for payment in invoice_payments.of_invoice(call, invoice["id"]):
        if payment["status"] != "paid" or amount == 0:
            continue
        intent = call.find("payment_intent", payment["payment"]["payment_intent"])
        charge = call.find("charge", intent["latest_charge"])
        part = min(amount, charge["amount_captured"] - charge["amount_refunded"])
        if part > 0:
            sent = {"payment_intent": intent["id"], "amount": part}
            refund = refunds.create(replace(call.in_real_time(), params=sent, ids=()))
            made.append(_shown_refund(refund["id"], part))
            amount -= part
    if amount:
        raise refused("The refund amount is greater than what the invoice's payments have left.",
                      param="refund_amount")  # fmt: skip
    return made


def _reduce(call: Call, invoice: Obj, before: int, after: int) -> None:
    """The invoice is due for less, or was given back in part; its PaymentIntent follows."""
    previous = call.store.change(
        invoice,
        amount_due=invoice["amount_due"] - before,
        amount_remaining=invoice["amount_remaining"] - before,
        post_payment_credit_notes_amount=invoice["post_payment_credit_notes_amount"] + after,
        pre_payment_credit_notes_amount=invoice["pre_payment_credit_notes_amount"] + before,
    )
    invoice_payments.follow(call, invoice)
    call.emit("invoice.updated", invoice, previous)
    if before and invoice["amount_remaining"] == 0 and invoice["status"] != "paid":
        invoice_finalisation.close_payments(call, invoice, None)
        invoice_finalisation.paid(call, invoice, charged=False)


def preview(call: Call) -> Obj:
    """GET /v1/credit_notes/preview: what would be created; nothing happens."""
    invoice = _invoice(call)
    here = call.living_in(invoice["test_clock"])
    draft = amounts.drafted(here, invoice, call.params)
    linked = _check_given_back(here, invoice, draft.post_payment)
    return {**credit_note_shape.note_of(here, invoice, draft), "refunds": linked}


def preview_lines(call: Call) -> Obj:
    """GET /v1/credit_notes/preview/lines."""
    paging = {name: call.params.pop(name) for name in ("limit",) if name in call.params}
    invoice = _invoice(call)
    lines = amounts.drafted(call, invoice, call.params).lines
    limit = paging.get("limit", 10)
    return _listed(lines, limit, "/v1/credit_notes/preview/lines")


def _listed(lines: list[Obj], limit: int, url: str) -> Obj:
    return {"object": "list", "data": lines[:limit], "has_more": len(lines) > limit, "url": url}


def retrieve(call: Call) -> Obj:
    """GET /v1/credit_notes/{id}."""
    return call.find("credit_note")


def update(call: Call) -> Obj:
    """POST /v1/credit_notes/{id}: memo and metadata."""
    note, values = call.find("credit_note"), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(note["metadata"], values["metadata"])
    previous = call.store.change(note, **values)
    if previous:
        call.emit("credit_note.updated", note, previous)
    return note


def void(call: Call) -> Obj:
    """POST /v1/credit_notes/{id}/void: only while its invoice is still open."""
    note = call.find("credit_note")
    invoice = call.find("invoice", note["invoice"])
    if note["status"] == "void":
        raise refused("This credit note has already been voided.")
    if note["post_payment_amount"] or invoice["status"] not in ("open", "uncollectible"):
        raise refused("You can only void a credit note of an open invoice.")
    here = call.living_in(invoice["test_clock"])
    call.store.change(note, status="void", voided_at=here.now)
    call.emit("credit_note.voided", note)
    _reduce(here, invoice, -note["pre_payment_amount"], 0)
    return note


def list_all(call: Call) -> Obj:
    """GET /v1/credit_notes."""
    return page(call, "credit_note", "/v1/credit_notes")


def list_lines(call: Call) -> Obj:
    """GET /v1/credit_notes/{id}/lines."""
    note = call.find("credit_note")
    lines: list[Obj] = call.store.hidden(note)["lines"]
    after = call.params.get("starting_after")
    if after is not None:
        ids = [line["id"] for line in lines]
        if after not in ids:
            raise missing("credit note line item", after, "starting_after")
        lines = lines[ids.index(after) + 1 :]
    return _listed(lines, call.params.get("limit", 10), f"/v1/credit_notes/{note['id']}/lines")


ROUTES: Final = [
    Route("POST", "/v1/credit_notes", create, credit_note_shape.CREATE),
    Route("GET", "/v1/credit_notes", list_all, listing(created=created, customer=text(), invoice=text())),
    Route("GET", "/v1/credit_notes/preview", preview, credit_note_shape.CREATE),
    Route(
        "GET",
        "/v1/credit_notes/preview/lines",
        preview_lines,
        Params({**credit_note_shape.FIELDS, "limit": at_least(1)}, required=("invoice",)),
    ),
    Route("GET", "/v1/credit_notes/{}", retrieve),
    Route("POST", "/v1/credit_notes/{}", update, Params({"memo": text(), "metadata": metadata})),
    Route("POST", "/v1/credit_notes/{}/void", void),
    Route("GET", "/v1/credit_notes/{}/lines", list_lines, listing()),
]
