"""The lines of an invoice: listed, and on a draft added, changed and removed, one or many at a time."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import (
    discounts,
    invoice_drafts,
    invoice_items,
    invoice_params,
    invoice_totals,
    item_params,
    tax_rates,
    taxes,
)
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.params import listing, merged_metadata
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def list_all(call: Call) -> Obj:
    """GET /v1/invoices/{id}/lines, in the invoice's order."""
    call.find("invoice")
    url = f"/v1/invoices/{call.ids[0]}/lines"
    limit = call.params.get("limit", 10)
    lines = invoice_drafts.lines_of(call, call.ids[0])
    ids = [line["id"] for line in lines]
    start, stop = 0, len(lines)
    for name in ("starting_after", "ending_before"):
        if name in call.params and call.params[name] not in ids:
            raise missing("invoice line item", call.params[name], name)
    if "starting_after" in call.params:
        start = ids.index(call.params["starting_after"]) + 1
    elif "ending_before" in call.params:
        stop = ids.index(call.params["ending_before"])
        start = max(0, stop - limit)
    data = lines[start:stop][:limit]
    more = start > 0 if "ending_before" in call.params else stop - start > limit
    return {"object": "list", "data": data, "has_more": more, "total_count": len(lines), "url": url}


def _line(call: Call, invoice: Obj, ident: str, param: str) -> Obj:
    line = call.store.get("line_item", ident)
    if line is None or line["invoice"] != invoice["id"]:
        raise missing("invoice line item", ident, param, named=ident in call.ids)
    return line


def update(call: Call) -> Obj:
    """POST /v1/invoices/{id}/lines/{id}."""
    invoice = call.find("invoice")
    invoice_drafts.editable(invoice)
    line = _line(call, invoice, call.ids[1], "line_item_id")
    _change(call, invoice, line, call.params)
    _refreshed(call, invoice, {})
    return line


def _change(call: Call, invoice: Obj, line: Obj, params: dict[str, Any]) -> None:
    """Change a line, and the invoice item behind it."""
    values = item_params.values_of(call, line, params)
    ident = invoice_drafts.item_of(line)
    if "discounts" in params:
        holder = {"invoice_item": ident} if ident else {"invoice": invoice["id"]}
        values["discounts"] = discounts.give(
            call,
            params["discounts"],
            customer=invoice["customer"],
            currency=invoice["currency"],
            **holder,
        )
    if "amount" in values:
        values["subtotal"] = values["amount"]
    call.store.change(line, **values)
    item = call.store.get(invoice_items.KIND, ident) if ident else None
    if item is not None:
        call.store.change(item, **{name: value for name, value in values.items() if name in item})
    _change_taxes(call, line, item, params)


def _change_taxes(call: Call, line: Obj, item: Obj | None, params: dict[str, Any]) -> None:
    if "tax_rates" in params and params.get("tax_amounts"):
        raise invalid("You cannot use tax_rates with tax_amounts.", param="tax_amounts")
    if "tax_rates" in params:
        rates = params["tax_rates"]
        call.store.hide(line, tax_rates=rates, tax_amounts=None)
        if item is not None:
            call.store.hide(item, tax_rates=rates)
            shown = [dict(call.find("tax_rate", rate)) for rate in rates or []]
            call.store.change(item, tax_rates=shown)
    if "tax_amounts" in params:
        sent = params["tax_amounts"]
        by_hand = None if sent is None else [_tax(call, tax) for tax in sent]
        call.store.hide(line, tax_amounts=by_hand)


def _tax(call: Call, sent: dict[str, Any]) -> Obj:
    """A tax that was set by hand, on a rate made for it or found again."""
    data = sent["tax_rate_data"]
    same = {name: data.get(name) for name in ("country", "description", "jurisdiction", "state", "tax_type")}
    same |= {"display_name": data["display_name"], "inclusive": data["inclusive"]}
    found = next(
        (
            rate
            for rate in call.store.tables["tax_rate"].rows.values()
            if not rate["active"]
            and float(data["percentage"]) == rate["percentage"]
            and all(rate[name] == value for name, value in same.items())
        ),
        None,
    )
    rate = found or tax_rates.make(call, {**data, "active": False}, event=False)
    return {
        "amount": sent["amount"],
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": sent.get("taxability_reason", taxes.MANUAL),
        "taxable_amount": sent["taxable_amount"],
        "type": "tax_rate_details",
    }


def _add(call: Call, invoice: Obj, customer: Obj, params: dict[str, Any]) -> None:
    """One more line: a waiting item that is named, or a new one."""
    if "invoice_item" in params:
        item = call.find(invoice_items.KIND, params["invoice_item"], param="lines[invoice_item]")
        if item["invoice"] is not None or item["customer"] != customer["id"]:
            raise refused("This invoice item is not pending.", param="lines[invoice_item]")
        invoice_items.put_on(call, invoice, [item])
        return
    worth = item_params.worth(call, params, invoice["currency"])
    period = params.get("period", {"start": call.now, "end": call.now})
    item = invoice_items.make(
        call,
        customer,
        invoice_items.NewItem(
            amount=worth.amount,
            currency=invoice["currency"],
            period=(period["start"], period["end"]),
            description=params.get("description") or item_params.described(call, params, worth.price),
            price=worth.price,
            unit_amount_decimal=worth.unit_amount_decimal,
            quantity=worth.quantity,
            discountable=params.get("discountable", worth.amount >= 0),
            tax_rates=params.get("tax_rates"),
            metadata=merged_metadata(None, params.get("metadata", {})),
        ),
    )
    given = discounts.give(call, params.get("discounts"), customer=customer["id"], invoice_item=item["id"])
    call.store.change(item, discounts=given)
    invoice_items.put_on(call, invoice, [item], waited=False)
    if params.get("tax_amounts"):
        line = invoice_items.line_of(call, item)
        assert line is not None, "It has just been put on the invoice."
        _change_taxes(call, line, item, params)


def _refreshed(call: Call, invoice: Obj, params: dict[str, Any]) -> Obj:
    previous: Obj = {}
    if "invoice_metadata" in params:
        tags = merged_metadata(invoice["metadata"], params["invoice_metadata"])
        previous = call.store.change(invoice, metadata=tags)
    previous |= invoice_totals.refresh(call, invoice)
    if previous:
        call.emit("invoice.updated", invoice, previous)
    return invoice


def add_lines(call: Call) -> Obj:
    """POST /v1/invoices/{id}/add_lines."""
    invoice = call.find("invoice")
    invoice_drafts.editable(invoice)
    customer = call.find("customer", invoice["customer"])
    here = call.living_in(invoice["test_clock"])
    for params in call.params["lines"]:
        _add(here, invoice, customer, params)
    return _refreshed(here, invoice, call.params)


def update_lines(call: Call) -> Obj:
    """POST /v1/invoices/{id}/update_lines."""
    invoice = call.find("invoice")
    invoice_drafts.editable(invoice)
    for params in call.params["lines"]:
        _change(call, invoice, _line(call, invoice, params["id"], "lines[id]"), params)
    return _refreshed(call, invoice, call.params)


def remove_lines(call: Call) -> Obj:
    """POST /v1/invoices/{id}/remove_lines: the item behind is deleted, or waits for another invoice."""
    invoice = call.find("invoice")
    invoice_drafts.editable(invoice)
    for params in call.params["lines"]:
        line = _line(call, invoice, params["id"], "lines[id]")
        ident = invoice_drafts.item_of(line)
        item = call.store.get(invoice_items.KIND, ident) if ident else None
        invoice_drafts.remove_line(call, invoice, line)
        if item is None:
            continue
        if params["behavior"] == "unassign":
            call.store.change(item, invoice=None)
        else:
            call.emit("invoiceitem.deleted", item)
            call.store.remove(item)
    return _refreshed(call, invoice, call.params)


ROUTES: Final = [
    Route("GET", "/v1/invoices/{}/lines", list_all, listing()),
    Route("POST", "/v1/invoices/{}/lines/{}", update, invoice_params.LINE),
    Route("POST", "/v1/invoices/{}/add_lines", add_lines, invoice_params.ADD_LINES),
    Route("POST", "/v1/invoices/{}/update_lines", update_lines, invoice_params.UPDATE_LINES),
    Route("POST", "/v1/invoices/{}/remove_lines", remove_lines, invoice_params.REMOVE_LINES),
]
