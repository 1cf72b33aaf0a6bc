"""Products: what is sold. A product that prices hang on cannot be deleted, only archived."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import price_shape, prices, product_shape, search
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Params,
    boolean,
    clearable,
    created,
    list_of,
    listing,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("product", "product")]


def create(call: Call) -> Obj:
    """POST /v1/products; ``default_price_data`` makes a price with it."""
    params = dict(call.params)
    price_data = params.pop("default_price_data", None)
    product = product_shape.make(call, params)
    if price_data is not None:
        price = prices.make(call, price_data, product["id"])
        call.store.change(product, default_price=price["id"])
    return product


def retrieve(call: Call) -> Obj:
    """GET /v1/products/{id}."""
    return call.find("product")


def update(call: Call) -> Obj:
    """POST /v1/products/{id}."""
    product = call.find("product")
    values = product_shape.values_of(call.params, product)
    if values.get("default_price") is not None:
        price = call.find("price", values["default_price"], param="default_price")
        if price["product"] != product["id"]:
            raise invalid(
                f"The price {price['id']} does not belong to the product {product['id']}.",
                param="default_price",
            )
    previous = call.store.change(product, **values)
    if previous:
        previous |= call.store.change(product, updated=call.now)
        call.emit("product.updated", product, previous)
    return product


def delete(call: Call) -> Obj:
    """DELETE /v1/products/{id}."""
    product = call.find("product")
    if call.store.tables["price"].having("product", product["id"]):
        raise refused("This product cannot be deleted because it has one or more user-created prices.")
    call.emit("product.deleted", product)
    call.store.remove(product)
    return {"id": product["id"], "object": "product", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/products."""
    wanted = call.params.get("ids")
    return page(
        call,
        "product",
        "/v1/products",
        matches=None if wanted is None else lambda product: product["id"] in wanted,
        ignore=("ids",),
    )


_SEARCHED: Final = {
    name: search.field(name) for name in ("active", "description", "name", "shippable", "url", "created")
}


def search_all(call: Call) -> Obj:
    """GET /v1/products/search."""
    return search.page(call, "product", "/v1/products/search", _SEARCHED)


ROUTES: Final = [
    Route(
        "POST",
        "/v1/products",
        create,
        Params(
            {**product_shape.FIELDS, "default_price_data": price_shape.DEFAULT_DATA, "id": text()},
            required=("name",),
        ),
    ),
    Route(
        "GET",
        "/v1/products",
        list_all,
        listing(active=boolean, created=created, ids=list_of(text()), shippable=boolean, url=text()),
    ),
    Route("GET", "/v1/products/search", search_all, search.PARAMS),
    Route("GET", "/v1/products/{}", retrieve),
    Route(
        "POST",
        "/v1/products/{}",
        update,
        Params({**product_shape.FIELDS, "default_price": clearable(text())}),
    ),
    Route("DELETE", "/v1/products/{}", delete),
]
