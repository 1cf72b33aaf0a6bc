"""The calls of invoice items, /v1/invoiceitems."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import discounts, invoice_drafts, invoice_items, invoice_totals, item_params
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import boolean, created, listing, merged_metadata, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def create(call: Call) -> Obj:
    """POST /v1/invoiceitems: for the customer's next invoice, or onto the draft ``invoice``."""
    params = call.params
    customer = call.find("customer", params["customer"], param="customer")
    call = call.living_in(customer["test_clock"])
    invoice = call.find("invoice", params["invoice"]) if "invoice" in params else None
    if invoice is not None:
        invoice_drafts.editable(invoice)
        if invoice["customer"] != customer["id"]:
            raise invalid("The invoice belongs to another customer.", param="invoice")
    subscription = params.get("subscription")
    if subscription is not None:
        if "subscription" not in call.store.tables:
            raise invalid(f"No such subscription: '{subscription}'", param="subscription")
        call.find("subscription", subscription)
    code = params.get("currency") or (invoice["currency"] if invoice else None)
    worth = item_params.worth(call, params, code)
    if invoice is not None and worth.currency != invoice["currency"]:
        raise refused(
            f"The currency of the invoice item ({worth.currency}) does not match that of the invoice"
            f" ({invoice['currency']}).",
            param="currency",
        )
    period = params.get("period", {"start": call.now, "end": call.now})
    if period["end"] < period["start"]:
        raise invalid("The period's end must not be before its start.", param="period[end]")
    item = invoice_items.make(
        call,
        customer,
        invoice_items.NewItem(
            amount=worth.amount,
            currency=worth.currency,
            period=(period["start"], period["end"]),
            description=params.get("description") or item_params.described(call, params, worth.price),
            price=worth.price,
            unit_amount_decimal=worth.unit_amount_decimal,
            quantity=worth.quantity,
            discountable=params.get("discountable", worth.amount >= 0),
            tax_rates=params.get("tax_rates"),
            metadata=merged_metadata(None, params.get("metadata", {})),
            subscription=subscription,
        ),
    )
    given = discounts.give(call, params.get("discounts"), customer=customer["id"], invoice_item=item["id"])
    call.store.change(item, discounts=given)
    if invoice is not None:
        invoice_items.put_on(call, invoice, [item], waited=False)
        _updated(call, invoice)
    return item


def _updated(call: Call, invoice: Obj) -> None:
    previous = invoice_totals.refresh(call, invoice)
    if previous:
        call.emit("invoice.updated", invoice, previous)


def retrieve(call: Call) -> Obj:
    """GET /v1/invoiceitems/{id}."""
    return call.find("invoiceitem")


def update(call: Call) -> Obj:
    """POST /v1/invoiceitems/{id}: as long as it is on no finalised invoice."""
    item, params = call.find("invoiceitem"), call.params
    values = item_params.values_of(call, item, params)
    if "discounts" in params:
        values["discounts"] = discounts.give(
            call, params["discounts"], customer=item["customer"], invoice_item=item["id"]
        )
    rates = (params["tax_rates"] or None) if "tax_rates" in params else False
    invoice_items.change(call, item, values, rates)
    return item


def delete(call: Call) -> Obj:
    """DELETE /v1/invoiceitems/{id}: also off a draft, never off a finalised invoice."""
    item = call.find("invoiceitem")
    invoice_items.remove(call, item)
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/invoiceitems; ``pending`` finds those that wait for an invoice."""
    wanted, bounds = call.params.get("pending"), call.params.pop("created", None)

    def matches(item: Obj) -> bool:
        if wanted is not None and (item["invoice"] is None) is not wanted:
            return False
        return bounds is None or _within(item["date"], bounds)

    return page(call, "invoiceitem", "/v1/invoiceitems", matches=matches, ignore=("pending",))


def _within(moment: int, bounds: dict[str, int]) -> bool:
    return (
        moment >= bounds.get("gte", moment)
        and moment > bounds.get("gt", moment - 1)
        and moment <= bounds.get("lte", moment)
        and moment < bounds.get("lt", moment + 1)
    )


ROUTES: Final = [
    Route("POST", "/v1/invoiceitems", create, item_params.CREATE_ITEM),
    Route(
        "GET",
        "/v1/invoiceitems",
        list_all,
        listing(created=created, customer=text(), invoice=text(), pending=boolean),
    ),
    Route("GET", "/v1/invoiceitems/{}", retrieve),
    Route("POST", "/v1/invoiceitems/{}", update, item_params.UPDATE_ITEM),
    Route("DELETE", "/v1/invoiceitems/{}", delete),
]
