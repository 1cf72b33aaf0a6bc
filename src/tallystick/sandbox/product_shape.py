"""What a product looks like, and the making of one: also for ``product_data`` and inline prices."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.errors import refused
from tallystick.sandbox.numbers import decimal_at_least_zero, json_number
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    list_of,
    merged_metadata,
    metadata,
    text,
)
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

BLANK: Final[Obj] = {
    "id": None,
    "object": "product",
    "active": True,
    "created": None,
    "default_price": None,
    "description": None,
    "images": [],
    "livemode": False,
    "marketing_features": [],
    "metadata": {},
    "name": None,
    "package_dimensions": None,
    "shippable": None,
    "statement_descriptor": None,
    "tax_code": None,
    "unit_label": None,
    "updated": None,
    "url": None,
}
_DIMENSIONS: Final = Params(
    dict.fromkeys(("height", "length", "weight", "width"), decimal_at_least_zero),
    required=("height", "length", "weight", "width"),
)
_FEATURES: Final = list_of(Params({"name": text(80)}, required=("name",)))
FIELDS: Final[dict[str, Check]] = {
    "active": boolean,
    "description": clearable(text(40000)),
    "images": clearable(list_of(text(2048))),
    "marketing_features": clearable(_FEATURES),
    "metadata": metadata,
    "name": text(),
    "package_dimensions": clearable(_DIMENSIONS),
    "shippable": boolean,
    "statement_descriptor": text(22),
    "tax_code": clearable(text()),
    "unit_label": clearable(text(12)),
    "url": clearable(text()),
}
DATA: Final = Params(
    {
        "active": boolean,
        "description": text(40000),
        "id": text(),
        "images": list_of(text(2048)),
        "metadata": metadata,
        "name": text(),
        "statement_descriptor": text(22),
        "tax_code": text(),
        "unit_label": text(12),
    },
    required=("name",),
)
"""``product_data`` of a new price, and ``product`` of a new plan."""


def values_of(params: dict[str, Any], old: Obj) -> Obj:
    """The product's fields as checked parameters make them."""
    values = dict(params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(old["metadata"], values["metadata"])
    for name in ("images", "marketing_features"):
        if name in values:
            values[name] = values[name] or []
    if values.get("package_dimensions"):
        sent = values["package_dimensions"]
        values["package_dimensions"] = {name: json_number(number) for name, number in sent.items()}
    return values


def make(call: Call, params: dict[str, Any]) -> Obj:
    """A new product from checked parameters, with its event."""
    params = dict(params)
    ident = params.pop("id", None) or call.sandbox.ids.short("prod")
    table = call.store.tables["product"]
    if ident in table.position:
        raise refused("Product already exists.", code="resource_already_exists", param="id")
    product: Obj = {**BLANK, "id": ident, "created": call.now, "updated": call.now}
    product.update(values_of(params, product))
    call.store.put(product)
    call.emit("product.created", product)
    return product
