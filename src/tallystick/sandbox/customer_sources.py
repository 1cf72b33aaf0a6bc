"""A customer's cards in their older face: sources, made of tokens. Behind each is a payment method.

A card that is made so can also be used as a payment method by its id, as at Stripe (API reference, "Cards").
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import payment_methods, tokens
from tallystick.sandbox.errors import missing
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import Params, clearable, listing, merged_metadata, metadata, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def add(call: Call, customer: Obj, source: str) -> Obj:
    """Save the card of a token to a customer, with customer.source.created; 402 when it is refused."""
    method = tokens.card_of_token(call, source, "source")
    card = payment_methods.card_of(call, method)
    if card.decline is not None and not card.attaches:
        raise payment_methods.declined(card.decline, param="")
    call.store.change(method, customer=customer["id"])
    shown = view(method)
    call.emit("customer.source.created", shown)
    return shown


def view(method: Obj) -> Obj:
    """A payment method as the card that it is."""
    shown = tokens.card_source(method)
    shown.pop("wallet", None)  # charges show it, sources do not
    return {**shown, "customer": method["customer"], "metadata": method["metadata"]}


def of(call: Call, customer: str) -> list[Obj]:
    """The payment methods that are a customer's sources, newest first."""
    methods = call.store.tables["payment_method"].having("customer", customer)
    return [method for method in reversed(methods) if method["id"].startswith("card_")]


def default(call: Call, customer: Obj, source: str | None) -> Obj:
    """Make a source the default one; what changed of the customer."""
    return call.store.change(customer, default_source=source)


def _find(call: Call) -> Obj:
    method = call.store.get("payment_method", call.ids[1])
    if method is None or method["customer"] != call.ids[0]:
        raise missing("source", call.ids[1], "id")
    return method


def create(call: Call) -> Obj:
    """POST /v1/customers/{id}/sources; the first one becomes the default."""
    customer = call.find("customer")
    shown = add(call, customer, call.params["source"])
    if customer["default_source"] is None:
        call.emit("customer.updated", customer, default(call, customer, shown["id"]))
    return shown


def retrieve(call: Call) -> Obj:
    """GET /v1/customers/{id}/sources/{id}."""
    return view(_find(call))


def update(call: Call) -> Obj:
    """POST /v1/customers/{id}/sources/{id}: expiry, name, address and metadata of a card."""
    method, params = _find(call), call.params
    before = view(method)
    values: Obj = {}
    expiry = {name: params[name] for name in ("exp_month", "exp_year") if name in params}
    if expiry:
        values["card"] = {**method["card"], **expiry}
    if "metadata" in params:
        values["metadata"] = merged_metadata(method["metadata"], params["metadata"])
    if "name" in params:
        values["billing_details"] = {**method["billing_details"], "name": params["name"]}
    call.store.change(method, **values)
    shown = view(method)
    previous = {name: before[name] for name in shown if shown[name] != before[name]}
    if previous:
        call.emit("customer.source.updated", shown, previous)
    return shown


def delete(call: Call) -> Obj:
    """DELETE /v1/customers/{id}/sources/{id}; the next newest becomes the default."""
    customer, method = call.find("customer"), _find(call)
    call.emit("customer.source.deleted", view(method))
    call.store.change(method, customer=None)
    call.store.hide(method, spent=True)
    if customer["default_source"] == method["id"]:
        left = of(call, customer["id"])
        call.emit("customer.updated", customer, default(call, customer, left[0]["id"] if left else None))
    return {"id": method["id"], "object": "card", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/customers/{id}/sources."""
    call.find("customer")
    found: list[Any] = [view(method) for method in of(call, call.ids[0])]
    limit = call.params.get("limit", 10)
    url = f"/v1/customers/{call.ids[0]}/sources"
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": url}


_UPDATE: Final = Params(
    {
        "exp_month": at_least(1),
        "exp_year": at_least(1),
        "metadata": metadata,
        "name": clearable(text()),
    }
)
_CREATE: Final = Params({"metadata": metadata, "source": text()}, required=("source",))

ROUTES: Final = [
    Route("POST", "/v1/customers/{}/sources", create, _CREATE),
    Route("GET", "/v1/customers/{}/sources", list_all, listing(object=one_of("card"))),
    Route("GET", "/v1/customers/{}/sources/{}", retrieve),
    Route("POST", "/v1/customers/{}/sources/{}", update, _UPDATE),
    Route("DELETE", "/v1/customers/{}/sources/{}", delete),
]
