"""Subscription items: what is subscribed to, how much of it, and the period it is in.

Items are objects of their own; a subscription shows copies of them (``show``). Hidden beside an item is what
was last billed of it in advance: ``{"billed": {"amount", "start", "end", "invoice", "line"}}`` (net of
discounts, minor units), from which a proration credits, so that nothing is credited that was not billed.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import prices
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.params import exactly_one, merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "subscription_item"
TABLES: Final = [TableSpec(KIND, "subscription item", indexes=("subscription",))]

_MOST: Final = 20


def of(call: Call, subscription: Obj) -> list[Obj]:
    """A subscription's items, oldest first."""
    return call.store.tables[KIND].having("subscription", subscription["id"])


def show(call: Call, subscription: Obj) -> Obj:
    """Bring the copies that the subscription shows up to date; returns what changed of it."""
    data = [dict(item) for item in of(call, subscription)]
    shown = {
        "object": "list",
        "data": data,
        "has_more": False,
        "total_count": len(data),
        "url": f"/v1/subscription_items?subscription={subscription['id']}",
    }
    return call.store.change(subscription, items=shown)


def metered(item: Obj) -> bool:
    """Whether it is billed by usage, after the fact."""
    return bool(item["price"]["recurring"]["usage_type"] == "metered")


def interval(price: Obj) -> tuple[str, int]:
    """How often a price recurs: the interval and how many of it."""
    recurring = price["recurring"]
    return recurring["interval"], recurring["interval_count"]


def price_of(call: Call, sent: dict[str, Any], name: str) -> Obj | None:
    """The recurring price that an item names or describes; None when it says nothing about one."""
    given = [key for key in ("price", "plan", "price_data") if key in sent]
    if not given:
        return None
    if exactly_one(sent, "price", "plan", "price_data") == "price_data":
        return prices.inline(call, sent["price_data"])
    price = call.find("price", sent[given[0]], param=f"{name}[{given[0]}]")
    if price["recurring"] is None:
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices with"
            " `type=recurring`.",
            param=f"{name}[price]",
        )
    if not price["active"]:
        raise refused(
            "The price specified is inactive. This field only accepts active prices.", param=f"{name}[price]"
        )
    return price


def tax_rates(call: Call, ids: list[str] | None, name: str) -> list[Obj]:
    """Tax rates by id, as objects show them: whole."""
    return [dict(call.find("tax_rate", ident, param=name)) for ident in ids or ()]


def new(call: Call, subscription: Obj, sent: dict[str, Any], price: Obj, period: tuple[int, int]) -> Obj:
    """Add an item; the caller shows it."""
    item: Obj = {
        "id": call.sandbox.ids.short("si"),
        "object": KIND,
        "billing_thresholds": None,
        "created": call.now,
        "current_period_end": period[1],
        "current_period_start": period[0],
        "current_trial": None,
        "discounts": [],
        "metadata": merged_metadata(None, sent.get("metadata", {})),
        "price": dict(price),
        "quantity": sent.get("quantity", 1),
        "subscription": subscription["id"],
        "tax_rates": tax_rates(call, sent.get("tax_rates"), "tax_rates"),
    }
    if metered(item):
        if "quantity" in sent:
            raise refused("You cannot set the quantity for metered plans.", param="quantity")
        del item["quantity"]
    return call.store.put(item, {})


def check(call: Call, subscription: Obj) -> None:
    """400 when the items do not go together: currency, intervals, the same price twice, too many."""
    items = of(call, subscription)
    seen: set[str] = set()
    for item in items:
        price = item["price"]
        if price["id"] in seen:
            raise refused(
                f"Cannot add multiple subscription items with the same plan: {price['id']}", param="items"
            )
        seen.add(price["id"])
        sold_in = {price["currency"], *call.store.hidden(price).get("currency_options", {})}
        if subscription["currency"] not in sold_in:
            raise refused(
                f"The price specified only supports `{price['currency']}`. This doesn't match the expected"
                f" currency: `{subscription['currency']}`.",
                param="items",
            )
    if len(items) > _MOST:
        raise refused(f"A subscription can have at most {_MOST} items.", param="items")
    several = len({interval(item["price"]) for item in items}) > 1
    if several and subscription["billing_mode"]["type"] == "classic":
        raise refused(
            "Currently, all plans on a subscription must have the same billing interval. If you have"
            " customers that need to subscribe to plans with different intervals, please use separate"
            " subscriptions or billing_mode[type]=flexible.",
            param="items",
        )
