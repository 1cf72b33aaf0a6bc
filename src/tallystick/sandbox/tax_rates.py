"""Tax rates: made once, applied to invoices and their lines, archived but never deleted."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import json_number, percentage
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    created,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("tax_rate", "tax rate")]

TAX_TYPE: Final = one_of(
    "amusement_tax",
    "communications_tax",
    "gst",
    "hst",
    "igst",
    "jct",
    "lease_tax",
    "mass_transit_parking_tax",
    "parking_tax",
    "pst",
    "qst",
    "retail_delivery_fee",
    "rst",
    "sales_tax",
    "service_tax",
    "vat",
)
_FIELDS: Final[dict[str, Check]] = {
    "active": boolean,
    "country": clearable(text(2)),
    "description": clearable(text()),
    "display_name": text(50),
    "jurisdiction": clearable(text(50)),
    "metadata": metadata,
    "state": clearable(text()),
    "tax_type": clearable(TAX_TYPE),
}


def make(call: Call, params: dict[str, Any], *, event: bool = True) -> Obj:
    """A new tax rate from checked parameters; the ones that Stripe makes itself have no event."""
    rate: Obj = {
        "id": call.sandbox.ids.new("txr"),
        "object": "tax_rate",
        "active": params.get("active", True),
        "country": params.get("country"),
        "created": call.now,
        "description": params.get("description"),
        "display_name": params["display_name"],
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": params["inclusive"],
        "jurisdiction": params.get("jurisdiction"),
        "jurisdiction_level": params.get("jurisdiction_level"),
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "percentage": json_number(params["percentage"]),
        "rate_type": "percentage",
        "state": params.get("state"),
        "tax_type": params.get("tax_type"),
    }
    call.store.put(rate)
    if event:
        call.emit("tax_rate.created", rate)
    return rate


def create(call: Call) -> Obj:
    """POST /v1/tax_rates."""
    return make(call, call.params)


def retrieve(call: Call) -> Obj:
    """GET /v1/tax_rates/{id}."""
    return call.find("tax_rate")


def update(call: Call) -> Obj:
    """POST /v1/tax_rates/{id}; the percentage never changes."""
    rate, values = call.find("tax_rate"), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(rate["metadata"], values["metadata"])
    previous = call.store.change(rate, **values)
    if previous:
        call.emit("tax_rate.updated", rate, previous)
    return rate


def list_all(call: Call) -> Obj:
    """GET /v1/tax_rates."""
    return page(call, "tax_rate", "/v1/tax_rates")


ROUTES: Final = [
    Route(
        "POST",
        "/v1/tax_rates",
        create,
        Params(
            {**_FIELDS, "inclusive": boolean, "percentage": percentage},
            required=("display_name", "inclusive", "percentage"),
        ),
    ),
    Route("GET", "/v1/tax_rates", list_all, listing(active=boolean, created=created, inclusive=boolean)),
    Route("GET", "/v1/tax_rates/{}", retrieve),
    Route("POST", "/v1/tax_rates/{}", update, Params(_FIELDS)),
]
