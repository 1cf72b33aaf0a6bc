"""The calls of invoices: create, update, delete, and every verb from finalize to void."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import (
    discounts,
    invoice_collection,
    invoice_drafts,
    invoice_fields,
    invoice_items,
    invoice_params,
    invoice_totals,
    search,
)
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.invoice_shape import subscription_parent
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import created, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_INCLUDES_BY_DEFAULT_BEFORE: Final = "2022-08-01"


def create(call: Call) -> Obj:
    """POST /v1/invoices."""
    params = dict(call.params)
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    customer = call.find("customer", params.pop("customer"), param="customer")
    call = call.living_in(customer["test_clock"])
    subscription = _subscription(call, params.pop("subscription", None))
    default = "exclude" if call.since(_INCLUDES_BY_DEFAULT_BEFORE) else "include_and_require"
    behavior = params.pop("pending_invoice_items_behavior", default)
    code = params.pop("currency", None) or _currency(call, customer, subscription)
    bound = subscription["id"] if subscription else None
    items = [] if behavior == "exclude" else invoice_items.pending(call, customer["id"], code, bound)
    if behavior == "include_and_require" and not items:
        raise refused("Nothing to invoice for customer", param="customer")
    if params.get("auto_advance") is None:
        params["auto_advance"] = False
    fields = invoice_fields.values_of(call, params, None, customer)
    if subscription is not None:
        fields["parent"] = subscription_parent(subscription)
    invoice = _make(call, customer, code, params, fields)
    invoice_items.put_on(call, invoice, items)
    given = params.get("discounts")
    if "discounts" not in params and customer["discount"] is not None:
        given = [{"discount": customer["discount"]["id"]}]
    total = sum(item["amount"] for item in items)
    call.store.change(
        invoice,
        discounts=discounts.give(
            call, given, customer=customer["id"], amount=total, currency=code, invoice=invoice["id"]
        ),
    )
    invoice_totals.refresh(call, invoice)
    call.emit("invoice.created", invoice)
    return invoice


def _make(call: Call, customer: Obj, code: str, params: dict[str, Any], fields: Obj) -> Obj:
    """The draft itself, without its event: discounts and items are still to come."""
    fields = {name: value for name, value in fields.items() if name not in ("discounts", "default_tax_rates")}
    return invoice_drafts.make(
        call,
        customer,
        code,
        tax_rates=params.get("default_tax_rates") or (),
        auto_advance=fields.pop("auto_advance"),
        finalizes_at=params.get("automatically_finalizes_at"),
        days_until_due=params.get("days_until_due"),
        event=False,
        **fields,
    )


def _subscription(call: Call, ident: str | None) -> Obj | None:
    if ident is None:
        return None
    if "subscription" not in call.store.tables:
        raise invalid(f"No such subscription: '{ident}'", param="subscription", code="resource_missing")
    return call.find("subscription", ident)


def _currency(call: Call, customer: Obj, subscription: Obj | None) -> str:
    if subscription is not None:
        return str(subscription["currency"])
    if customer["currency"] is not None:
        return str(customer["currency"])
    return call.sandbox.settings.default_currency


def retrieve(call: Call) -> Obj:
    """GET /v1/invoices/{id}."""
    return call.find("invoice")


_ANYTIME: Final = frozenset(("metadata", "auto_advance", "default_payment_method", "default_source", "number",
                             "payment_settings", "days_until_due", "due_date"))  # fmt: skip


def update(call: Call) -> Obj:
    """POST /v1/invoices/{id}; of a finalised one only what its collection needs."""
    invoice, params = call.find("invoice"), call.params
    call = call.living_in(invoice["test_clock"])
    if invoice["status"] != "draft" and not params.keys() <= _ANYTIME:
        invoice_drafts.editable(invoice)
    values = invoice_fields.values_of(call, params, invoice, call.find("customer", invoice["customer"]))
    if "discounts" in params:
        values["discounts"] = discounts.give(
            call,
            params["discounts"],
            customer=invoice["customer"],
            amount=invoice["subtotal"],
            currency=invoice["currency"],
            invoice=invoice["id"],
        )
    previous = call.store.change(invoice, **values)
    if "default_tax_rates" in params:
        ids = params["default_tax_rates"] or []
        call.store.hide(invoice, tax_rates=ids)
        rates = [dict(call.find("tax_rate", rate)) for rate in ids]
        previous |= call.store.change(invoice, default_tax_rates=rates)
    if "days_until_due" in params:
        call.store.hide(invoice, days_until_due=params["days_until_due"])
        due = invoice["created"] + params["days_until_due"] * 86_400
        previous |= call.store.change(invoice, due_date=due)
    if invoice["status"] == "draft":
        if {"auto_advance", "automatically_finalizes_at", "collection_method"} & params.keys():
            at = params.get("automatically_finalizes_at")
            previous |= invoice_drafts.schedule(call, invoice, at)
        previous |= {
            name: value
            for name, value in invoice_totals.refresh(call, invoice).items()
            if name not in previous
        }
    elif invoice["status"] == "open" and "auto_advance" in params:
        previous |= invoice_collection.resume(call, invoice)
    if previous:
        call.emit("invoice.updated", invoice, previous)
    return invoice


def delete(call: Call) -> Obj:
    """DELETE /v1/invoices/{id}: drafts only; items that waited before wait again."""
    invoice = call.find("invoice")
    if invoice["status"] != "draft":
        raise refused("You can only delete draft invoices.", code="invoice_not_editable")
    if invoice["billing_reason"] not in ("manual", None):
        raise refused("You can't delete invoices created by subscriptions.")
    call.sandbox.timers.take(invoice_drafts.ADVANCE, invoice["id"])
    waited = call.store.hidden(invoice).get("items", [])
    for line in invoice_drafts.lines_of(call, invoice["id"]):
        call.store.remove(line)
    for item in call.store.tables[invoice_items.KIND].having("invoice", invoice["id"]):
        if item["id"] in waited:
            call.store.change(item, invoice=None)
        else:
            call.store.remove(item)
    call.emit("invoice.deleted", invoice)
    call.store.remove(invoice)
    return {"id": invoice["id"], "object": "invoice", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/invoices."""
    due, subscription = call.params.get("due_date"), call.params.get("subscription")

    def matches(invoice: Obj) -> bool:
        if due is not None and (invoice["due_date"] is None or not _within(invoice["due_date"], due)):
            return False
        details = (invoice["parent"] or {}).get("subscription_details") or {}
        return subscription is None or details.get("subscription") == subscription

    return page(call, "invoice", "/v1/invoices", matches=matches, ignore=("due_date", "subscription"))


def _within(moment: int, bounds: dict[str, int]) -> bool:
    return (
        moment >= bounds.get("gte", moment)
        and moment > bounds.get("gt", moment - 1)
        and moment <= bounds.get("lte", moment)
        and moment < bounds.get("lt", moment + 1)
    )


_SEARCHED: Final = {
    **{
        name: search.field(name)
        for name in ("created", "currency", "customer", "number", "receipt_number", "status", "total")
    },
    "last_finalization_error_code": search.field("last_finalization_error.code"),
    "last_finalization_error_type": search.field("last_finalization_error.type"),
    "subscription": search.field("parent.subscription_details.subscription"),
}


def search_all(call: Call) -> Obj:
    """GET /v1/invoices/search."""
    return search.page(call, "invoice", "/v1/invoices/search", _SEARCHED)


ROUTES: Final = [
    Route("POST", "/v1/invoices", create, invoice_params.CREATE),
    Route(
        "GET",
        "/v1/invoices",
        list_all,
        listing(
            collection_method=one_of("charge_automatically", "send_invoice"),
            created=created,
            customer=text(),
            due_date=created,
            status=one_of("draft", "open", "paid", "uncollectible", "void"),
            subscription=text(),
        ),
    ),
    Route("GET", "/v1/invoices/search", search_all, search.PARAMS),
    Route("GET", "/v1/invoices/{}", retrieve),
    Route("POST", "/v1/invoices/{}", update, invoice_params.UPDATE),
    Route("DELETE", "/v1/invoices/{}", delete),
]
