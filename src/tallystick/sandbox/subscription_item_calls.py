"""The calls of subscription items; each is an update of the subscription."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tallystick.sandbox import subscription_changes as changes
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_shape as shape
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Check, Params, boolean, integer, listing, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_URL: Final = "/v1/subscription_items"
_HOW: Final[dict[str, Check]] = {
    "off_session": boolean,
    "payment_behavior": shape.BEHAVIOR,
    "proration_behavior": shape.PRORATION,
    "proration_date": integer,
}


def _update(call: Call, subscription: Obj, item: dict[str, Any]) -> None:
    how = {name: call.params[name] for name in _HOW if name in call.params}
    inner = replace(call.living_in(subscription["test_clock"]), params={**how, "items": [item]})
    changes.update(inner, subscription)


def _item(call: Call) -> dict[str, Any]:
    return {name: value for name, value in call.params.items() if name not in _HOW}


def create(call: Call) -> Obj:
    """POST /v1/subscription_items."""
    sent = _item(call)
    subscription = call.find("subscription", sent.pop("subscription"), param="subscription")
    before = {item["id"] for item in items.of(call, subscription)}
    _update(call, subscription, sent)
    held = items.of(call, subscription)
    pending = (subscription["pending_update"] or {}).get("subscription_items") or ()
    return next(item for item in [*held, *pending] if item["id"] not in before)


def retrieve(call: Call) -> Obj:
    """GET /v1/subscription_items/{id}."""
    return call.find(items.KIND)


def update(call: Call) -> Obj:
    """POST /v1/subscription_items/{id}."""
    item = call.find(items.KIND)
    _update(call, call.find("subscription", item["subscription"]), {**_item(call), "id": item["id"]})
    return item


def delete(call: Call) -> Obj:
    """DELETE /v1/subscription_items/{id}; the last one cannot go."""
    item = call.find(items.KIND)
    sent = {**_item(call), "id": item["id"], "deleted": True}
    _update(call, call.find("subscription", item["subscription"]), sent)
    return {"id": item["id"], "object": items.KIND, "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/subscription_items: those of one subscription."""
    call.find("subscription", call.params["subscription"], param="subscription")
    return page(call, items.KIND, _URL)


_FIELDS: Final = shape.NEW_ITEM

ROUTES: Final = [
    Route(
        "POST", _URL, create, Params({**_FIELDS, **_HOW, "subscription": text()}, required=("subscription",))
    ),
    Route(
        "GET",
        _URL,
        list_all,
        Params(listing(subscription=text()).fields, required=("subscription",)),
    ),
    Route("GET", f"{_URL}/{{}}", retrieve),
    Route("POST", f"{_URL}/{{}}", update, Params({**_FIELDS, **_HOW})),
    Route("DELETE", f"{_URL}/{{}}", delete, Params({**_HOW, "clear_usage": boolean})),
]
