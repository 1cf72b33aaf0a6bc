"""The calls of invoices: create, update, delete, and every verb from finalize to void."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import (
    discounts,
    invoice_collection,
    invoice_drafts,
    invoice_finalisation,
    invoice_items,
    invoice_params,
    invoice_payments,
    invoice_totals,
    payment_methods,
    search,
)
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.invoice_shape import RENDERING, subscription_parent
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import created, listing, merged_metadata, one_of, text, whole_shipping
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_INCLUDES_BY_DEFAULT_BEFORE: Final = "2022-08-01"
_MANUAL_GRACE: Final = 3600
"""How long an invoice that someone finalised waits before it is charged by itself."""


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
    fields = _fields(call, params, None, customer)
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


_PLAIN: Final = (
    "auto_advance",
    "collection_method",
    "custom_fields",
    "default_source",
    "description",
    "due_date",
    "effective_at",
    "footer",
    "number",
    "statement_descriptor",
)


def _fields(call: Call, params: dict[str, Any], invoice: Obj | None, customer: Obj) -> Obj:
    """The invoice's fields as parameters make them; discounts and tax rates are the caller's."""
    old: Obj = invoice or {}
    values: Obj = {name: params[name] for name in _PLAIN if name in params}
    _check_due(call, params, {**old, **values})
    if "metadata" in params:
        values["metadata"] = merged_metadata(old.get("metadata"), params["metadata"])
    if params.get("default_payment_method"):
        method = call.find("payment_method", params["default_payment_method"])
        if method["customer"] != customer["id"]:
            raise refused(
                f"The customer does not have a payment method with the ID {method['id']}. The payment method"
                " must be attached to the customer.",
                code="resource_missing",
                param="default_payment_method",
            )
    if "default_payment_method" in params:
        values["default_payment_method"] = params["default_payment_method"]
    if "automatic_tax" in params:
        values["automatic_tax"] = _automatic_tax(params["automatic_tax"], customer)
    if "issuer" in params:
        values["issuer"] = params["issuer"]
    if "payment_settings" in params:
        sent = params["payment_settings"]
        held = old.get("payment_settings") or dict.fromkeys(invoice_params.PAYMENT_SETTINGS.fields)
        values["payment_settings"] = {**held, **sent}
    if "rendering" in params:
        values["rendering"] = {**(old.get("rendering") or RENDERING), **params["rendering"]}
    if "shipping_details" in params:
        values["shipping_details"] = whole_shipping(params["shipping_details"], full=False)
    if "shipping_cost" in params:
        values["shipping_cost"] = _shipping(params["shipping_cost"])
    if "account_tax_ids" in params:
        values["account_tax_ids"] = [
            call.find("tax_id", ident, param="account_tax_ids")["id"]
            for ident in params["account_tax_ids"] or []
        ] or None
    return values


def _check_due(call: Call, params: dict[str, Any], after: Obj) -> None:
    """Days until due and due dates are for invoices that are sent; those need one of them."""
    sent = after.get("collection_method", "charge_automatically") == "send_invoice"
    for name in ("days_until_due", "due_date"):
        if params.get(name) is not None and not sent:
            raise invalid(f"`{name}` can only be set if `collection_method` is `send_invoice`.", param=name)
    if "days_until_due" in params and "due_date" in params:
        raise invalid(
            "You may only specify one of these parameters: days_until_due, due_date.", param="due_date"
        )
    if params.get("due_date") is not None and params["due_date"] < call.now:
        raise invalid("The due date must be in the future.", param="due_date")
    if params.get("automatically_finalizes_at") is not None and not after.get("auto_advance"):
        raise invalid(
            "`automatically_finalizes_at` can only be set if `auto_advance` is true.",
            param="automatically_finalizes_at",
        )
    new = params.get("collection_method") == "send_invoice"
    if new and "days_until_due" not in params and after.get("due_date") is None and "id" not in after:
        raise invalid(
            "If invoice `collection_method` is set to `send_invoice`, either `days_until_due` or `due_date`"
            " needs to be set.",
            param="days_until_due",
        )


def _automatic_tax(sent: Obj, customer: Obj) -> Obj:
    located = bool((customer["address"] or {}).get("country"))
    enabled = sent["enabled"]
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": sent.get("liability", {"type": "self"}) if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": ("complete" if located else "requires_location_inputs") if enabled else None,
    }


def _shipping(sent: Obj | None) -> Obj | None:
    if not sent:
        return None
    fixed = sent.get("shipping_rate_data", {}).get("fixed_amount")
    if fixed is None:
        raise invalid("Missing required param: shipping_cost[shipping_rate_data][fixed_amount].",
                      param="shipping_cost", code="parameter_missing")  # fmt: skip
    amount = fixed["amount"]
    return {"amount_subtotal": amount, "amount_tax": 0, "amount_total": amount, "shipping_rate": None}


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
    values = _fields(call, params, invoice, call.find("customer", invoice["customer"]))
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


# Verbs


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
    invoice_finalisation.mark_uncollectible(call, invoice)
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
    Route("POST", "/v1/invoices/{}/finalize", finalize, invoice_params.FINALIZE),
    Route("POST", "/v1/invoices/{}/pay", pay, invoice_params.PAY),
    Route("POST", "/v1/invoices/{}/send", send),
    Route("POST", "/v1/invoices/{}/void", void),
    Route("POST", "/v1/invoices/{}/mark_uncollectible", mark_uncollectible),
    Route("POST", "/v1/invoices/{}/attach_payment", attach_payment, invoice_params.ATTACH),
]
