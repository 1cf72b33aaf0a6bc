"""Plans: the older face of recurring prices. What is made here is a price, and the other way round."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import periods, plan_shape, price_shape, prices, product_shape
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least, decimal_at_least_zero
from tallystick.sandbox.params import (
    Params,
    boolean,
    clearable,
    created,
    currency,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def _find(call: Call) -> Obj:
    """The recurring price that the plan id in the path names."""
    price = call.store.get("price", call.ids[0])
    if price is None or price["recurring"] is None:
        raise missing("plan", call.ids[0], "plan", named=True)
    return price


def create(call: Call) -> Obj:
    """POST /v1/plans."""
    params = dict(call.params)
    product = params.pop("product", None)
    if product is None:
        raise invalid("Missing required param: product.", param="product", code="parameter_missing")
    ident = params.pop("id", None)
    if ident in call.store.tables["price"].position:
        raise refused("Plan already exists.", code="resource_already_exists", param="id")
    if isinstance(product, dict):
        product = product_shape.make(call, product)["id"]
    recurring = {
        name: params.pop(name)
        for name in ("interval", "interval_count", "meter", "trial_period_days", "usage_type")
        if name in params
    }
    for old, new in (("amount", "unit_amount"), ("transform_usage", "transform_quantity")):
        if old in params:
            params[new] = params.pop(old)
    if "amount_decimal" in params:
        params["unit_amount_decimal"] = params.pop("amount_decimal")
    ident = ident or call.sandbox.ids.new("plan")
    return plan_shape.view(call, prices.make(call, {**params, "recurring": recurring}, product, ident=ident))


def retrieve(call: Call) -> Obj:
    """GET /v1/plans/{id}."""
    price = call.store.get("price", call.ids[0])
    if price is None and call.store.gone("price", call.ids[0]):
        return {"id": call.ids[0], "object": "plan", "deleted": True}
    return plan_shape.view(call, _find(call))


def update(call: Call) -> Obj:
    """POST /v1/plans/{id}."""
    price, values = _find(call), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(price["metadata"], values["metadata"])
    if "product" in values:
        call.find("product", values["product"], param="product")
    if "trial_period_days" in values:
        call.store.hide(price, trial_period_days=values.pop("trial_period_days"))
    previous = call.store.change(price, **values)
    if previous:
        call.emit("price.updated", price, previous)
        call.emit("plan.updated", plan_shape.view(call, price), plan_shape.renamed(previous))
    return plan_shape.view(call, price)


def delete(call: Call) -> Obj:
    """DELETE /v1/plans/{id}: the price goes with it; what is subscribed to it goes on."""
    price = _find(call)
    call.emit("price.deleted", price)
    call.emit("plan.deleted", plan_shape.view(call, price))
    call.store.remove(price)
    return {"id": price["id"], "object": "plan", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/plans."""
    found = page(call, "price", "/v1/plans", matches=lambda price: price["recurring"] is not None)
    return {**found, "data": [plan_shape.view(call, price) for price in found["data"]]}


def _product(value: Any, name: str) -> Any:
    return product_shape.DATA(value, name) if isinstance(value, dict) else text()(value, name)


ROUTES: Final = [
    Route(
        "POST",
        "/v1/plans",
        create,
        Params(
            {
                "active": boolean,
                "amount": at_least(0),
                "amount_decimal": decimal_at_least_zero,
                "billing_scheme": one_of("per_unit", "tiered"),
                "currency": currency,
                "id": text(),
                "interval": one_of(*periods.INTERVALS),
                "interval_count": at_least(1),
                "metadata": metadata,
                "meter": text(),
                "nickname": text(),
                "product": _product,
                "tiers": price_shape.TIERS,
                "tiers_mode": one_of("graduated", "volume"),
                "transform_usage": price_shape.TRANSFORM,
                "trial_period_days": at_least(0),
                "usage_type": one_of("licensed", "metered"),
            },
            required=("currency", "interval"),
        ),
    ),
    Route("GET", "/v1/plans", list_all, listing(active=boolean, created=created, product=text())),
    Route("GET", "/v1/plans/{}", retrieve),
    Route(
        "POST",
        "/v1/plans/{}",
        update,
        Params(
            {
                "active": boolean,
                "metadata": metadata,
                "nickname": clearable(text()),
                "product": text(),
                "trial_period_days": clearable(at_least(0)),
            }
        ),
    ),
    Route("DELETE", "/v1/plans/{}", delete),
]
