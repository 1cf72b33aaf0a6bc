"""POST /v1/invoices/create_preview: what an invoice would be like, and nothing of it is kept.

With a ``subscription`` or ``schedule`` it is the next invoice of its cycle, as it stands or as
``subscription_details`` or ``schedule_details`` would change it; those alone preview a new one. With a
customer alone it is that of the subscription that renews first; without one, the customer's next one-off
invoice: the items that wait, and those sent as ``invoice_items``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tallystick.sandbox import (
    customers,
    discounts,
    invoice_drafts,
    invoice_items,
    invoice_params,
    invoice_totals,
    item_params,
    schedule_phases,
    schedule_preview,
    subscription_life,
    subscription_preview,
    tax_ids,
)
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.invoice_shape import lines_of
from tallystick.sandbox.params import (
    ADDRESS,
    Check,
    Params,
    clearable,
    currency,
    list_of,
    merged_metadata,
    one_of,
    text,
    whole_address,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def create(call: Call) -> Obj:
    """The preview that the parameters ask for."""
    params = dict(call.params)
    with call.store.tentative():
        quiet = replace(call, quiet=True)
        for kind, name in (("subscription", "subscription"), (schedule_phases.KIND, "schedule")):
            if name in params:
                params["customer"] = call.find(kind, params[name], param=name)["customer"]
        customer = _customer(quiet, params)
        here = quiet.living_in(customer["test_clock"])
        if "schedule" in params or "schedule_details" in params:
            _with_items(here, customer, params)
            return shown(here, schedule_preview.of(here, customer, params))
        if "subscription" not in params and "subscription_details" not in params:
            params |= _next(here, customer)
        if "subscription" in params or "subscription_details" in params:
            return shown(here, _of_subscription(here, customer, params))
        return shown(here, _drafted(here, customer, params))


def _next(call: Call, customer: Obj) -> dict[str, Any]:
    """The customer's subscription that renews first, as a parameter; nothing if none does."""
    renewing = [
        (min(item["current_period_end"] for item in subscription["items"]["data"]), subscription["id"])
        for subscription in call.store.tables["subscription"].having("customer", customer["id"])
        if subscription["status"] in subscription_life.RENEWING and not subscription["cancel_at_period_end"]
    ]
    return {"subscription": min(renewing)[1]} if renewing else {}


def _of_subscription(call: Call, customer: Obj, params: dict[str, Any]) -> Obj:
    """The next invoice of a subscription, as it stands or as ``subscription_details`` would change it."""
    subscription = call.find("subscription", params["subscription"]) if "subscription" in params else None
    _with_items(call, customer, params, subscription)
    return subscription_preview.of(call, customer, subscription, params)


def _with_items(
    call: Call, customer: Obj, params: dict[str, Any], subscription: Obj | None = None
) -> tuple[str, list[Obj]]:
    """The currency, and the items that wait for the invoice: those that are there and those sent."""
    code = params.get("currency") or customer["currency"] or call.sandbox.settings.default_currency
    if subscription is not None:
        code = subscription["currency"]
    bound = subscription["id"] if subscription else None
    waiting = invoice_items.pending(call, customer["id"], code, bound)
    for index, sent in enumerate(params.get("invoice_items", ())):
        waiting = _with_item(call, customer, (code, waiting), sent, f"invoice_items[{index}]")
    return code, waiting


def _customer(call: Call, params: dict[str, Any]) -> Obj:
    """The customer, changed as ``customer_details`` say; made up when none is named."""
    details = params.get("customer_details", {})
    if "customer" in params:
        customer = call.find("customer", params["customer"], param="customer")
    elif details:
        customer = customers.create(replace(call, params={}))
    else:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    values: Obj = {}
    if "address" in details:
        values["address"] = whole_address(details["address"])
    if "tax_exempt" in details:
        values["tax_exempt"] = details["tax_exempt"] or "none"
    call.store.change(customer, **values)
    for sent in details.get("tax_ids", ()):
        tax_ids.make(call, customer["id"], sent["type"], sent["value"])
    return customer


def _drafted(call: Call, customer: Obj, params: dict[str, Any]) -> Obj:
    """The draft, inside the block that undoes it."""
    code, waiting = _with_items(call, customer, params)
    if not waiting:
        raise subscription_preview.nothing(customer["id"])
    invoice = invoice_drafts.make(call, customer, code, auto_advance=False, billing_reason="manual")
    invoice_items.put_on(call, invoice, waiting)
    given = params.get("discounts")
    if "discounts" not in params and customer["discount"] is not None:
        given = [{"discount": customer["discount"]["id"]}]
    total = sum(item["amount"] for item in waiting)
    ids = discounts.give(
        call, given, customer=customer["id"], amount=total, currency=code, invoice=invoice["id"]
    )
    values: Obj = {"discounts": ids}
    if "automatic_tax" in params:
        values["automatic_tax"] = invoice_params.automatic_tax(params["automatic_tax"], customer)
    call.store.change(invoice, **values)
    invoice_totals.refresh(call, invoice)
    return invoice


def _with_item(
    call: Call, customer: Obj, waiting: tuple[str, list[Obj]], sent: dict[str, Any], name: str
) -> list[Obj]:
    """The waiting items, with one more, or with one of them changed."""
    code, items = waiting
    if "invoiceitem" in sent:
        item = call.find(invoice_items.KIND, sent["invoiceitem"], param=f"{name}[invoiceitem]")
        if item not in items:
            raise refused("This invoice item is not pending.", param=f"{name}[invoiceitem]")
        rates = (sent["tax_rates"] or None) if "tax_rates" in sent else False
        invoice_items.change(call, item, item_params.values_of(call, item, sent), rates)
        return items
    worth = item_params.worth(replace(call, versioned=False), sent, sent.get("currency", code))
    if worth.currency != code:
        raise refused("The currencies of the invoice items differ.", param=f"{name}[currency]")
    period = sent.get("period", {"start": call.now, "end": call.now})
    new = invoice_items.NewItem(
        amount=worth.amount,
        currency=code,
        period=(period["start"], period["end"]),
        description=sent.get("description") or item_params.described(call, sent, worth.price),
        price=worth.price,
        unit_amount_decimal=worth.unit_amount_decimal,
        quantity=worth.quantity,
        discountable=sent.get("discountable", worth.amount >= 0),
        tax_rates=sent.get("tax_rates"),
        metadata=merged_metadata(None, sent.get("metadata", {})),
    )
    item = invoice_items.make(call, customer, new)
    given = discounts.give(call, sent.get("discounts"), customer=customer["id"], invoice_item=item["id"])
    call.store.change(item, discounts=given)
    return [*items, item]


def shown(call: Call, invoice: Obj) -> Obj:
    """An invoice that will not be kept, as previews show it: ``upcoming_in_…``, with all of its lines."""
    ident = f"upcoming_{invoice['id']}"
    lines = [{**line, "invoice": ident} for line in lines_of(call, invoice["id"])]
    listed = {**invoice["lines"], "data": lines, "has_more": False, "url": f"/v1/invoices/{ident}/lines"}
    return {**invoice, "id": ident, "lines": listed, "webhooks_delivered_at": None}


_DETAILS: Final = Params(
    {
        "address": clearable(ADDRESS),
        "shipping": unsupported("it changes no invoice of the sandbox"),
        "tax": unsupported("it has no Stripe Tax"),
        "tax_exempt": clearable(one_of("exempt", "none", "reverse")),
        "tax_ids": list_of(tax_ids.DATA),
    }
)
_FIELDS: Final[dict[str, Check]] = {
    "automatic_tax": invoice_params.AUTOMATIC_TAX,
    "currency": currency,
    "customer": text(),
    "customer_details": _DETAILS,
    "discounts": discounts.SENT,
    "invoice_items": list_of(
        Params({**item_params.ITEM_FIELDS, "currency": currency, "invoiceitem": text()})
    ),
    "preview_mode": one_of("next", "recurring"),
    "schedule": text(),
    "schedule_details": schedule_preview.DETAILS,
    "subscription": text(),
    "subscription_details": subscription_preview.DETAILS,
}

ROUTES: Final = [
    Route(
        "POST",
        "/v1/invoices/create_preview",
        create,
        Params(_FIELDS),
    )
]
