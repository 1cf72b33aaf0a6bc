"""Shipping rates: what a Checkout Session adds to its total for bringing the goods."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Params,
    boolean,
    created,
    currency,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "shipping_rate"
TABLES: Final = [TableSpec(KIND, "shipping rate")]

_TAXED: Final = one_of("exclusive", "inclusive", "unspecified")
_BOUND: Final = Params(
    {"unit": one_of("business_day", "day", "hour", "month", "week"), "value": at_least(1)},
    required=("unit", "value"),
)
_ONE_CURRENCY: Final = unsupported("a rate has one currency")
DATA: Final = Params(
    {
        "delivery_estimate": Params({"maximum": _BOUND, "minimum": _BOUND}),
        "display_name": text(100),
        "fixed_amount": Params(
            {"amount": at_least(0), "currency": currency, "currency_options": _ONE_CURRENCY},
            required=("amount", "currency"),
        ),
        "metadata": metadata,
        "tax_behavior": _TAXED,
        "tax_code": text(),
        "type": one_of("fixed_amount"),
    },
    required=("display_name",),
)
"""What a new rate takes, also inside a session's ``shipping_options``."""


def make(call: Call, params: dict[str, Any], param: str = "fixed_amount") -> Obj:
    """A new rate from checked ``DATA``; raises StripeError (400) where it has no amount."""
    if "fixed_amount" not in params:
        raise invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")
    estimate = params.get("delivery_estimate")
    return call.store.put(
        {
            "id": call.sandbox.ids.new("shr"),
            "object": KIND,
            "active": True,
            "created": call.now,
            "delivery_estimate": estimate and {name: estimate.get(name) for name in ("maximum", "minimum")},
            "display_name": params["display_name"],
            "fixed_amount": params["fixed_amount"],
            "livemode": False,
            "metadata": merged_metadata(None, params.get("metadata", {})),
            "tax_behavior": params.get("tax_behavior", "unspecified"),
            "tax_code": params.get("tax_code"),
            "type": "fixed_amount",
        }
    )


def create(call: Call) -> Obj:
    """POST /v1/shipping_rates."""
    return make(call, call.params)


def retrieve(call: Call) -> Obj:
    """GET /v1/shipping_rates/{id}."""
    return call.find(KIND)


def update(call: Call) -> Obj:
    """POST /v1/shipping_rates/{id}: what a rate costs does not change."""
    rate, values = call.find(KIND), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(rate["metadata"], values["metadata"])
    call.store.change(rate, **values)
    return rate


def list_all(call: Call) -> Obj:
    """GET /v1/shipping_rates."""
    code = call.params.get("currency")
    return page(
        call,
        KIND,
        "/v1/shipping_rates",
        matches=lambda rate: code is None or rate["fixed_amount"]["currency"] == code,
        ignore=("currency",),
    )


ROUTES: Final = [
    Route("POST", "/v1/shipping_rates", create, DATA),
    Route(
        "GET",
        "/v1/shipping_rates",
        list_all,
        listing(active=boolean, created=created, currency=currency),
    ),
    Route("GET", "/v1/shipping_rates/{}", retrieve),
    Route(
        "POST",
        "/v1/shipping_rates/{}",
        update,
        Params(
            {
                "active": boolean,
                "fixed_amount": _ONE_CURRENCY,
                "metadata": metadata,
                "tax_behavior": _TAXED,
            }
        ),
    ),
]
