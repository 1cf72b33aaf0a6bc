"""Coupons: an amount or a percentage off, for once, for some months, or for good."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from tallystick.sandbox import promotion_codes
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least, decimal_of, json_number
from tallystick.sandbox.params import (
    Params,
    clearable,
    created,
    currency,
    integer,
    list_of,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.price_shape import by_currency
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("coupon", "coupon")]

EXPIRE: Final = "expire_coupon"

_OPTIONS: Final = by_currency(Params({"amount_off": at_least(1)}, required=("amount_off",)))


def _percent(value: Any, name: str) -> Decimal:
    number = decimal_of(value, name)
    if not 0 < number <= 100:
        raise invalid(f"Invalid percent_off: {value}; must be between 0 and 100.", param=name)
    return number


def create(call: Call) -> Obj:
    """POST /v1/coupons."""
    params = call.params
    _check(call, params)
    percent = params.get("percent_off")
    coupon: Obj = {
        "id": params.get("id") or call.sandbox.ids.chars(8),
        "object": "coupon",
        "amount_off": params.get("amount_off"),
        "created": call.now,
        "currency": params.get("currency") if percent is None else None,
        "duration": params.get("duration", "once"),
        "duration_in_months": params.get("duration_in_months"),
        "livemode": False,
        "max_redemptions": params.get("max_redemptions"),
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "name": params.get("name"),
        "percent_off": None if percent is None else json_number(percent),
        "redeem_by": params.get("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }
    hidden: Obj = {"currency_options": params.get("currency_options", {})}
    if params.get("applies_to", {}).get("products"):
        hidden["applies_to"] = params["applies_to"]
    call.store.put(coupon, hidden)
    if coupon["redeem_by"] is not None:
        call.at(coupon["redeem_by"], EXPIRE, coupon["id"])
    call.emit("coupon.created", coupon)
    return coupon


def _check(call: Call, params: dict[str, Any]) -> None:
    if ("amount_off" in params) == ("percent_off" in params):
        raise invalid(
            "You must pass exactly one of the following parameters: percent_off, amount_off.",
            param="percent_off",
        )
    if "amount_off" in params and "currency" not in params:
        raise invalid("Missing required param: currency.", param="currency", code="parameter_missing")
    repeating = params.get("duration") == "repeating"
    if repeating != ("duration_in_months" in params):
        raise invalid(
            "You must pass duration_in_months when, and only when, the duration is repeating.",
            param="duration_in_months",
        )
    if "redeem_by" in params and params["redeem_by"] <= call.now:
        raise invalid("The redeem_by must be in the future.", param="redeem_by")
    if params.get("id") in call.store.tables["coupon"].position:
        raise refused("Coupon already exists.", code="resource_already_exists", param="id")
    for product in params.get("applies_to", {}).get("products", ()):
        call.find("product", product, param="applies_to[products]")


def redeem(call: Call, coupon: Obj) -> None:
    """Count a redemption; past the last one the coupon is valid no more. No event, as at Stripe."""
    times = coupon["times_redeemed"] + 1
    most = coupon["max_redemptions"]
    valid = coupon["valid"] and (most is None or times < most)
    call.store.change(coupon, times_redeemed=times, valid=valid)
    if not valid:
        promotion_codes.end_with(call, coupon)


def expire(call: Call, coupon_id: str) -> None:
    """Timer: ``redeem_by`` has come."""
    coupon = call.store.get("coupon", coupon_id)
    if coupon is not None:
        call.store.change(coupon, valid=False)
        promotion_codes.end_with(call, coupon)


ACTIONS: Final = {EXPIRE: expire}


def retrieve(call: Call) -> Obj:
    """GET /v1/coupons/{id}."""
    return call.find("coupon")


def update(call: Call) -> Obj:
    """POST /v1/coupons/{id}: name, metadata and currency options only."""
    coupon, values = call.find("coupon"), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(coupon["metadata"], values["metadata"])
    if "currency_options" in values:
        old = call.store.hidden(coupon)["currency_options"]
        call.store.hide(coupon, currency_options={**old, **values.pop("currency_options")})
    previous = call.store.change(coupon, **values)
    if previous:
        call.emit("coupon.updated", coupon, previous)
    return coupon


def delete(call: Call) -> Obj:
    """DELETE /v1/coupons/{id}: discounts that were given stay."""
    coupon = call.find("coupon")
    call.store.change(coupon, valid=False)
    promotion_codes.end_with(call, coupon)
    call.emit("coupon.deleted", coupon)
    call.store.remove(coupon)
    return {"id": coupon["id"], "object": "coupon", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/coupons."""
    return page(call, "coupon", "/v1/coupons")


ROUTES: Final = [
    Route(
        "POST",
        "/v1/coupons",
        create,
        Params(
            {
                "amount_off": at_least(1),
                "applies_to": Params({"products": list_of(text())}),
                "currency": currency,
                "currency_options": _OPTIONS,
                "duration": one_of("forever", "once", "repeating"),
                "duration_in_months": at_least(1),
                "id": text(),
                "max_redemptions": at_least(1),
                "metadata": metadata,
                "name": text(40),
                "percent_off": _percent,
                "redeem_by": integer,
            }
        ),
    ),
    Route("GET", "/v1/coupons", list_all, listing(created=created)),
    Route("GET", "/v1/coupons/{}", retrieve),
    Route(
        "POST",
        "/v1/coupons/{}",
        update,
        Params({"currency_options": _OPTIONS, "metadata": metadata, "name": clearable(text(40))}),
    ),
    Route("DELETE", "/v1/coupons/{}", delete),
]
