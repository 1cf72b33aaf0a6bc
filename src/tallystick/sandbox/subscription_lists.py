"""Lists and searches of subscriptions."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import search
from tallystick.sandbox import subscription_shape as shape
from tallystick.sandbox.lists import page
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_URL: Final = "/v1/subscriptions"


def _wanted(call: Call) -> dict[str, Any]:
    """The filters that are no equalities."""
    names = ("status", "price", "plan", "current_period_start", "current_period_end", "test_clock")
    return {name: call.params[name] for name in (*names, "automatic_tax") if name in call.params}


def _fits(subscription: Obj, wanted: dict[str, Any], *, any_clock: bool) -> bool:
    if not _status_fits(subscription["status"], wanted.get("status")):
        return False
    if "test_clock" in wanted:
        if subscription["test_clock"] != wanted["test_clock"]:
            return False
    elif not any_clock and subscription["test_clock"] is not None:
        return False
    if "automatic_tax" in wanted and wanted["automatic_tax"]["enabled"]:
        return False
    held = subscription["items"]["data"]
    price = wanted.get("price", wanted.get("plan"))
    if price is not None and all(item["price"]["id"] != price for item in held):
        return False
    return all(
        any(between(item[name], wanted[name]) for item in held)
        for name in ("current_period_start", "current_period_end")
        if name in wanted
    )


def between(moment: int, bounds: dict[str, int]) -> bool:
    """Whether a time lies within the bounds that a filter names."""
    return bounds.get("gte", moment) <= moment <= bounds.get("lte", moment) and bounds.get(
        "gt", moment - 1
    ) < moment < bounds.get("lt", moment + 1)


def _status_fits(status: str, wanted: str | None) -> bool:
    if wanted is None:
        return status != "canceled"
    if wanted == "ended":
        return status in shape.ENDED
    return wanted in ("all", status)


def list_all(call: Call) -> Obj:
    """GET /v1/subscriptions: all that are not canceled, unless a status is asked for.

    Those of test clocks are listed by ``customer`` or ``test_clock`` only, as Stripe does.
    """
    url = _URL
    if call.ids:
        call.find("customer")
        call.params["customer"] = call.ids[0]
        url = f"/v1/customers/{call.ids[0]}/subscriptions"
    wanted = _wanted(call)
    any_clock = "customer" in call.params
    return page(
        call,
        "subscription",
        url,
        matches=lambda subscription: _fits(subscription, wanted, any_clock=any_clock),
        ignore=tuple(wanted),
    )


_SEARCHED: Final = {
    "created": search.field("created"),
    "status": search.field("status"),
}


def search_all(call: Call) -> Obj:
    """GET /v1/subscriptions/search: by created, metadata and status."""
    return search.page(call, "subscription", f"{_URL}/search", _SEARCHED)
