"""Prices: what a product costs, once or again and again. Recurring ones also appear as plans.

For subscriptions: ``inline`` makes a price from ``price_data``; ``pricing.amount`` says what a quantity
costs.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import plan_shape, price_shape, product_shape, search
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Params,
    boolean,
    created,
    currency,
    exactly_one,
    list_of,
    listing,
    merged_metadata,
    one_of,
    text,
)
from tallystick.sandbox.pricing import both_forms
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.versions import BASIL

TABLES: Final = [TableSpec("price", "price", indexes=("product", "lookup_key"))]


def make(
    call: Call, params: dict[str, Any], product: str, *, ident: str | None = None, event: bool = True
) -> Obj:
    """A new price of a product from checked parameters, with the events of price and plan."""
    price_shape.check(params)
    call.find("product", product, param="product")
    _claim_lookup_key(call, params)
    tiers = price_shape.shown_tiers(params.get("tiers"))
    recurring = params.get("recurring")
    price: Obj = {
        "id": ident or call.sandbox.ids.new("price"),
        "object": "price",
        "active": params.get("active", True),
        "billing_scheme": params.get("billing_scheme", "per_unit"),
        "created": call.now,
        "currency": params["currency"],
        "custom_unit_amount": price_shape.shown_custom(params.get("custom_unit_amount")),
        "livemode": False,
        "lookup_key": params.get("lookup_key"),
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "nickname": params.get("nickname"),
        "product": product,
        "recurring": None
        if recurring is None
        else {
            "interval": recurring["interval"],
            "interval_count": recurring.get("interval_count", 1),
            "meter": recurring.get("meter"),
            "usage_type": recurring.get("usage_type", "licensed"),
        },
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "tiers_mode": params.get("tiers_mode"),
        "transform_quantity": params.get("transform_quantity"),
        "type": "one_time" if recurring is None else "recurring",
        **both_forms(params),
    }
    _check_meter(call, price)
    hidden = {"tiers": tiers, "currency_options": _options(params.get("currency_options"), price)}
    if recurring is not None:
        hidden["trial_period_days"] = recurring.get("trial_period_days")
    call.store.put(price, hidden)
    if not event:
        return price
    call.emit("price.created", price)
    if recurring is not None:
        call.emit("plan.created", plan_shape.view(call, price))
    return price


def inline(call: Call, data: dict[str, Any]) -> Obj:
    """The price that ``price_data`` stands for: made on the spot, archived at once, as Stripe does."""
    data = dict(data)
    product = data.pop("product", None)
    fresh = data.pop("product_data", None)
    if (product is None) == (fresh is None):
        raise invalid(
            "You must specify either `product` or `product_data` when creating a price inline.",
            param="price_data",
        )
    if fresh is not None:
        product = product_shape.make(call, {**fresh, "active": False})["id"]
    return make(call, {**data, "active": False}, product)


def _check_meter(call: Call, price: Obj) -> None:
    recurring = price["recurring"] or {"usage_type": "licensed", "meter": None}
    if recurring["meter"] is not None:
        call.find("billing.meter", recurring["meter"], param="recurring[meter]")
    elif recurring["usage_type"] == "metered" and call.versioned and call.since(BASIL):
        raise invalid(
            "Missing required param: recurring[meter]. Since 2025-03-31.basil a metered price has a meter.",
            param="recurring[meter]",
            code="parameter_missing",
        )


def _options(sent: dict[str, Any] | None, price: Obj) -> Obj:
    options = {code: price_shape.shown_option(option) for code, option in (sent or {}).items()}
    for code, option in (sent or {}).items():
        if code == price["currency"]:
            raise invalid(
                f"The default currency {code} cannot be among the currency options.",
                param=f"currency_options[{code}]",
            )
        if price["billing_scheme"] == "tiered":
            price_shape.check_tiers(option.get("tiers", []), f"currency_options[{code}][tiers]")
    return options


def _claim_lookup_key(call: Call, params: dict[str, Any], price: Obj | None = None) -> None:
    """A lookup key belongs to one price; ``transfer_lookup_key`` takes it from the other."""
    key = params.get("lookup_key")
    if key is None:
        return
    for other in call.store.tables["price"].having("lookup_key", key):
        if other is price:
            continue
        if not params.get("transfer_lookup_key"):
            raise refused(
                f"A price ({other['id']}) already uses that lookup key. If you want to transfer it to a new"
                " price, use the `transfer_lookup_key` parameter.",
                param="lookup_key",
            )
        previous = call.store.change(other, lookup_key=None)
        call.emit("price.updated", other, previous)


def create(call: Call) -> Obj:
    """POST /v1/prices, of a product or of ``product_data``."""
    params = dict(call.params)
    data = params.pop("product_data", None)
    product = params.pop("product", None)
    exactly_one(call.params, "product", "product_data")
    if data is not None:
        product = product_shape.make(call, data)["id"]
    return make(call, params, product)


def retrieve(call: Call) -> Obj:
    """GET /v1/prices/{id}."""
    return call.find("price")


def update(call: Call) -> Obj:
    """POST /v1/prices/{id}; amounts and intervals never change."""
    price, values = call.find("price"), dict(call.params)
    _claim_lookup_key(call, values, price)
    values.pop("transfer_lookup_key", None)
    if "metadata" in values:
        values["metadata"] = merged_metadata(price["metadata"], values["metadata"])
    if "tax_behavior" in values and price["tax_behavior"] not in ("unspecified", values["tax_behavior"]):
        raise refused("You cannot change the tax_behavior once it is set.", param="tax_behavior")
    if "currency_options" in values:
        sent = values.pop("currency_options")
        old = call.store.hidden(price).get("currency_options", {})
        merged = {} if sent is None else {**old, **_options(sent, price)}
        call.store.hide(price, currency_options=merged)
    previous = call.store.change(price, **values)
    if previous:
        call.emit("price.updated", price, previous)
        if price["recurring"] is not None:
            call.emit("plan.updated", plan_shape.view(call, price), plan_shape.renamed(previous))
    return price


def _fits(params: dict[str, Any], price: Obj) -> bool:
    keys, recurring = params.get("lookup_keys"), params.get("recurring")
    if keys is not None and price["lookup_key"] not in keys:
        return False
    if recurring is None:
        return True
    held = price["recurring"] or {}
    return all(held.get(name) == value for name, value in recurring.items())


def list_all(call: Call) -> Obj:
    """GET /v1/prices."""
    params = call.params
    return page(
        call,
        "price",
        "/v1/prices",
        matches=lambda price: _fits(params, price),
        ignore=("lookup_keys", "recurring"),
    )


_SEARCHED: Final = {
    name: search.field(name) for name in ("active", "currency", "lookup_key", "product", "type")
}


def search_all(call: Call) -> Obj:
    """GET /v1/prices/search."""
    return search.page(call, "price", "/v1/prices/search", _SEARCHED)


_RECURRING_FILTER: Final = Params(
    {
        "interval": one_of("day", "month", "week", "year"),
        "meter": text(),
        "usage_type": one_of("licensed", "metered"),
    }
)

ROUTES: Final = [
    Route(
        "POST",
        "/v1/prices",
        create,
        Params({**price_shape.CREATE_FIELDS, "product_data": product_shape.DATA}, required=("currency",)),
    ),
    Route(
        "GET",
        "/v1/prices",
        list_all,
        listing(
            active=boolean,
            created=created,
            currency=currency,
            lookup_keys=list_of(text()),
            product=text(),
            recurring=_RECURRING_FILTER,
            type=one_of("one_time", "recurring"),
        ),
    ),
    Route("GET", "/v1/prices/search", search_all, search.PARAMS),
    Route("GET", "/v1/prices/{}", retrieve),
    Route("POST", "/v1/prices/{}", update, price_shape.UPDATE),
]
