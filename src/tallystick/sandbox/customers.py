"""Customers."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import customer_additions, customer_sources, payment_methods, search, tax_ids
from tallystick.sandbox.errors import refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    ADDRESS,
    SHIPPING,
    Check,
    Params,
    clearable,
    created,
    email,
    integer,
    list_of,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
    whole_address,
    whole_shipping,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("customer", "customer", indexes=("email",))]

_INVOICE_SETTINGS: Final = Params(
    {
        "custom_fields": clearable(list_of(Params({"name": text(40), "value": text(140)}))),
        "default_payment_method": clearable(text()),
        "footer": clearable(text()),
        "rendering_options": clearable(
            Params({"amount_tax_display": clearable(text()), "template": clearable(text())})
        ),
    }
)
_TAX: Final = Params(
    {
        "ip_address": clearable(text()),
        "validate_location": one_of("auto", "deferred", "immediately"),
    }
)
_FIELDS: Final[dict[str, Check]] = {
    "address": clearable(ADDRESS),
    "balance": integer,
    "business_name": clearable(text(150)),
    "cash_balance": unsupported("it has no bank transfers"),
    "coupon": clearable(text()),
    "description": clearable(text()),
    "email": clearable(email(512)),
    "individual_name": clearable(text(150)),
    "invoice_prefix": text(),
    "invoice_settings": _INVOICE_SETTINGS,
    "metadata": metadata,
    "name": clearable(text(256)),
    "next_invoice_sequence": integer,
    "phone": clearable(text(20)),
    "preferred_locales": clearable(list_of(text())),
    "promotion_code": clearable(text()),
    "shipping": clearable(SHIPPING),
    "source": text(),
    "tax": _TAX,
    "tax_exempt": clearable(one_of("exempt", "none", "reverse")),
}


def _settings(call: Call, old: Obj, sent: Obj, customer: str) -> Obj:
    """Invoice settings with what was sent; the default payment method must be the customer's own."""
    method = sent.get("default_payment_method")
    if method is not None:
        found = call.find("payment_method", method, param="invoice_settings[default_payment_method]")
        if found["customer"] != customer:
            raise refused(
                f"The customer does not have a payment method with the ID {method}. The payment method must"
                " be attached to the customer.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
    return {**old, **sent}


def _values(call: Call, params: dict[str, Any], old: Obj) -> Obj:
    """The customer's fields as the parameters make them; ``customer_additions`` does the rest."""
    values = {name: value for name, value in params.items() if name not in customer_additions.PARAMS}
    if "metadata" in values:
        values["metadata"] = merged_metadata(old["metadata"], values["metadata"])
    if "address" in values:
        values["address"] = whole_address(values["address"])
    if "shipping" in values:
        values["shipping"] = whole_shipping(values["shipping"], full=False)
    if "invoice_settings" in values:
        values["invoice_settings"] = _settings(
            call, old["invoice_settings"], values["invoice_settings"], old["id"]
        )
    if "tax_exempt" in values:
        values["tax_exempt"] = values["tax_exempt"] or "none"
    if "preferred_locales" in values:
        values["preferred_locales"] = values["preferred_locales"] or []
    return values


def create(call: Call) -> Obj:
    """POST /v1/customers; below a ``test_clock`` it lives in the clock's time."""
    params = dict(call.params)
    clock = params.pop("test_clock", None)
    call = call.living_in(clock)
    method = params.pop("payment_method", None)
    settings = params.pop("invoice_settings", None)
    ident = call.sandbox.ids.short("cus")
    customer: Obj = {
        "id": ident,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": call.now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": call.sandbox.ids.chars(8).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": clock,
    }
    customer.update(_values(call, params, customer))
    call.store.put(customer)
    if method is not None:
        payment_methods.attach(call, payment_methods.materialise(call, method), ident)
    customer_additions.add(call, params, customer, new=True)
    if settings is not None:
        if method is not None and settings.get("default_payment_method") == method:
            # The very method that is attached here; a magic id (pm_card_visa) has just become a real one.
            attached = call.store.tables["payment_method"].having("customer", ident)[-1]
            settings = {**settings, "default_payment_method": attached["id"]}
        merged = _settings(call, customer["invoice_settings"], settings, ident)
        call.store.change(customer, invoice_settings=merged)
    call.emit("customer.created", customer)
    return customer


def retrieve(call: Call) -> Obj:
    """GET /v1/customers/{id}; a deleted one says so."""
    return call.store.gone("customer", call.ids[0]) or call.find("customer")


def _own(params: dict[str, Any]) -> Obj:
    return {name: value for name, value in params.items() if name != "default_source"}


def update(call: Call) -> Obj:
    """POST /v1/customers/{id}."""
    customer = call.find("customer")
    previous = call.store.change(customer, **_values(call, _own(call.params), customer))
    if "default_source" in call.params:
        found = call.find("payment_method", call.params["default_source"], param="default_source")
        if found["customer"] != customer["id"]:
            raise refused("The source does not belong to this customer.", param="default_source")
        previous |= customer_sources.default(call, customer, found["id"])
    previous |= customer_additions.add(call, call.params, customer, new=False)
    if previous:
        call.emit("customer.updated", customer, previous)
    return customer


def delete(call: Call) -> Obj:
    """DELETE /v1/customers/{id}: the payment methods are detached; the id stays, as deleted."""
    customer = call.find("customer")
    for method in call.store.tables["payment_method"].having("customer", customer["id"]):
        previous = call.store.change(method, customer=None)
        call.store.hide(method, spent=True)
        call.emit("payment_method.detached", method, previous)
    call.emit("customer.deleted", customer)
    call.store.remove(customer)
    return {"id": customer["id"], "object": "customer", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/customers; those of test clocks are listed by ``test_clock`` only, as Stripe does."""
    clock = call.params.get("test_clock")
    return page(
        call,
        "customer",
        "/v1/customers",
        matches=lambda customer: customer["test_clock"] == clock,
        ignore=("test_clock",),
    )


_SEARCHED: Final = {name: search.field(name) for name in ("created", "email", "name", "phone")}


def search_all(call: Call) -> Obj:
    """GET /v1/customers/search."""
    return search.page(call, "customer", "/v1/customers/search", _SEARCHED)


ROUTES: Final = [
    Route(
        "POST",
        "/v1/customers",
        create,
        Params(
            {
                **_FIELDS,
                "payment_method": text(),
                "tax_id_data": list_of(tax_ids.DATA),
                "test_clock": text(),
            }
        ),
    ),
    Route("GET", "/v1/customers", list_all, listing(created=created, email=text(512), test_clock=text())),
    Route("GET", "/v1/customers/search", search_all, search.PARAMS),
    Route("GET", "/v1/customers/{}", retrieve),
    Route("POST", "/v1/customers/{}", update, Params({**_FIELDS, "default_source": text()})),
    Route("DELETE", "/v1/customers/{}", delete),
]
