"""Drafts: making an invoice, putting lines on it and taking them off.

The plain way for other families (subscriptions), each step on its own:

    invoice = invoice_drafts.make(call, customer, "usd", [NewLine(…)], billing_reason="subscription_cycle",
                                  parent=subscription_parent(subscription), period=(start, end))
    invoice_finalisation.finalise(call, invoice)      # number, balance, PaymentIntent; invoice.finalized
    outcome = invoice_collection.attempt(call, invoice, method)   # "paid", "failed", "requires_action", …

A draft with ``auto_advance`` (the default of ``make``) finalises and collects by itself after an hour. What
becomes of an invoice is heard through its events: give your module ``LISTENERS = {"invoice.paid": …}`` (also
invoice.payment_failed, invoice.payment_action_required, invoice.voided, invoice.marked_uncollectible,
invoice.finalized) and look at ``invoice["parent"]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tallystick.sandbox import invoice_totals
from tallystick.sandbox.errors import refused
from tallystick.sandbox.invoice_shape import BLANK, DRAFT_SECONDS, RENDERING, NewLine, line_of, lines_of
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("invoice", "invoice", indexes=("customer", "status")),
    TableSpec("line_item", "invoice line item", indexes=("invoice",)),
]

ADVANCE: Final = "advance_invoice"
"""The timer that finalises a draft."""


def make(
    call: Call,
    customer: Obj,
    currency: str,
    lines: Iterable[NewLine] = (),
    *,
    period: tuple[int, int] | None = None,
    tax_rates: Iterable[str] = (),
    setup_future_usage: str | None = None,
    auto_advance: bool = True,
    finalizes_at: int | None = None,
    days_until_due: int | None = None,
    event: bool = True,
    **fields: Any,
) -> Obj:
    """A new draft, with invoice.created. ``fields`` are the invoice's own (discounts, parent, metadata, …).

    ``tax_rates`` are the ids of its default ones. ``finalizes_at``: when it advances, instead of in an hour.
    ``discounts`` are ids of discounts (``discounts.copied``). ``event`` False leaves invoice.created to the
    caller, who has more to put on it.
    """
    call = call.living_in(customer["test_clock"])
    ids = list(tax_rates)
    start, end = period or (call.now, call.now)
    invoice: Obj = {
        **BLANK,
        "id": call.sandbox.ids.new("in"),
        "auto_advance": auto_advance,
        "created": call.now,
        "currency": currency,
        "customer": customer["id"],
        "default_tax_rates": [dict(call.find("tax_rate", rate, param="default_tax_rates")) for rate in ids],
        "period_end": end,
        "period_start": start,
        "rendering": RENDERING if fields.get("billing_reason", "manual") == "manual" else None,
        "test_clock": customer["test_clock"],
        "webhooks_delivered_at": call.now,
        **customer_details(call, customer),
        **fields,
    }
    invoice["lines"] = invoice_totals.shown(invoice["id"], ())
    if days_until_due is not None:
        invoice["due_date"] = call.now + days_until_due * 86_400
    hidden = {
        "tax_rates": ids,
        "base_url": call.base_url,
        "setup_future_usage": setup_future_usage,
        "days_until_due": days_until_due,
    }
    call.store.put(invoice, hidden)
    if customer["currency"] is None:
        call.store.change(customer, currency=currency)
    for new in lines:
        add_line(call, invoice, new)
    schedule(call, invoice, finalizes_at)
    invoice_totals.refresh(call, invoice)
    if event:
        call.emit("invoice.created", invoice)
    return invoice


def customer_details(call: Call, customer: Obj) -> Obj:
    """What an invoice copies of its customer, until it is finalised."""
    settings = customer["invoice_settings"]
    table = call.store.tables.get("tax_id")
    tax_ids = table.having("customer", customer["id"]) if table is not None else []
    return {
        "custom_fields": settings["custom_fields"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer.get("business_name") or customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [{"type": item["type"], "value": item["value"]} for item in tax_ids],
        "footer": settings["footer"],
    }


def schedule(call: Call, invoice: Obj, at: int | None = None) -> Obj:
    """Set or call off the timer that finalises a draft; returns what changed."""
    call.sandbox.timers.take(ADVANCE, invoice["id"])
    if not invoice["auto_advance"]:
        return call.store.change(invoice, automatically_finalizes_at=None, next_payment_attempt=None)
    due = at if at is not None else invoice["created"] + DRAFT_SECONDS
    call.at(due, ADVANCE, invoice["id"])
    charged = invoice["collection_method"] == "charge_automatically"
    return call.store.change(
        invoice, automatically_finalizes_at=due, next_payment_attempt=due if charged else None
    )


def add_line(call: Call, invoice: Obj, new: NewLine) -> Obj:
    """Put a line on a draft; the sums are refreshed by whoever is done with its changes."""
    editable(invoice)
    line, hidden = line_of(call, new, invoice["currency"], invoice["id"])
    return call.store.put(line, hidden)


def remove_line(call: Call, invoice: Obj, line: Obj) -> None:
    """Take a line off a draft."""
    editable(invoice)
    call.store.remove(line)


def editable(invoice: Obj) -> None:
    """400 unless the invoice is a draft."""
    if invoice["status"] != "draft":
        raise refused(
            "Finalized invoices can't be updated in this way. The invoice has a status of"
            f" {invoice['status']}.",
            code="invoice_not_editable",
        )


def item_of(line: Obj) -> str | None:
    """The id of the invoice item behind a line, if there is one."""
    parent = line["parent"] or {}
    details = parent.get("invoice_item_details") or parent.get("subscription_item_details") or {}
    item: str | None = details.get("invoice_item")
    return item


def rebalance(call: Call, customer: Obj) -> None:
    """Listener: a customer's drafts start from the balance that the customer has now."""
    for invoice in call.store.tables["invoice"].having("customer", customer["id"]):
        if invoice["status"] == "draft":
            call.store.change(invoice, **invoice_totals.due(call, invoice, invoice["total"]))


LISTENERS: Final = {"customer.updated": rebalance}

__all__ = [
    "ADVANCE",
    "LISTENERS",
    "TABLES",
    "add_line",
    "customer_details",
    "editable",
    "item_of",
    "lines_of",
    "make",
    "rebalance",
    "remove_line",
    "schedule",
]
