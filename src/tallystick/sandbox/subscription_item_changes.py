"""Changes of a subscription's items, and what they are about to bill (``Plan``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tallystick.sandbox import periods
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_lines as lines
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.item_amounts import share
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_lines import Line


@dataclass(slots=True)
class Plan:
    """What an update is about to bill."""

    moment: int
    """From when on: ``proration_date``, or now."""
    restart: bool = False
    """A new period begins at ``moment`` for all items."""
    at_once: bool = False
    prorate: bool = True
    credits: list[Line] = field(default_factory=list)
    touched: list[Obj] = field(default_factory=list)
    """Licensed items of which the rest of the period is to be billed anew."""
    regular: list[Line] = field(default_factory=list)
    billed: dict[str, Obj | None] = field(default_factory=dict)
    """By item, what had been billed of it before."""


def discount_item(call: Call, subscription: Obj, item: Obj, sent: list[dict[str, Any]] | None) -> None:
    """Give an item the discounts that were sent for it."""
    holder = {**subscription, "discounts": item["discounts"]}
    given = terms.give_discounts(call, holder, sent or [])
    for ident in given:
        discount = call.find("discount", ident)
        call.store.change(discount, subscription_item=item["id"])
    call.store.change(item, discounts=given)


def change_items(call: Call, subscription: Obj, sent: list[dict[str, Any]], plan: Plan) -> None:
    """Change, add and delete items as sent; what that bills goes into ``plan``."""
    for index, wanted in enumerate(sent):
        name = f"items[{index}]"
        if "id" not in wanted:
            _add(call, subscription, wanted, name, plan)
            continue
        item = call.store.get(items.KIND, wanted["id"])
        if item is None or item["subscription"] != subscription["id"]:
            raise missing("subscription item", wanted["id"], f"{name}[id]")
        if wanted.get("deleted"):
            delete_item(call, subscription, item, plan, clear_usage=wanted.get("clear_usage", False))
        else:
            change_item(call, subscription, item, {**wanted, "name": name}, plan)
    if not items.of(call, subscription):
        raise refused("A subscription must have at least one active plan.", param="items")
    items.check(call, subscription)


def _add(call: Call, subscription: Obj, wanted: dict[str, Any], name: str, plan: Plan) -> Obj:
    price = items.price_of(call, wanted, name)
    if price is None:
        raise invalid(
            "You must pass either `id`, `price` or `price_data` for each item.",
            param=f"{name}[price]",
            code="parameter_missing",
        )
    period = period_of(subscription, price, plan.moment)
    held = [
        item
        for item in items.of(call, subscription)
        if items.interval(item["price"]) == items.interval(price)
    ]
    renews = bool(held) and all(item["current_period_end"] <= plan.moment for item in held)
    if renews:  # at the very instant of a renewal, which will bill it with the others
        period = plan.moment, plan.moment
    item = items.new(call, subscription, wanted, price, period)
    if wanted.get("discounts"):
        discount_item(call, subscription, item, wanted["discounts"])
    if not items.metered(item) and not renews and not trialing(subscription, plan.moment):
        plan.touched.append(item)
    return item


def trialing(subscription: Obj, moment: int) -> bool:
    return subscription["trial_end"] is not None and subscription["trial_end"] > moment


def period_of(subscription: Obj, price: Obj, moment: int) -> tuple[int, int]:
    """The period of the subscription's cycle that ``moment`` lies in, for a price's interval."""
    if trialing(subscription, moment):
        return moment, subscription["trial_end"]
    return periods.containing(subscription["billing_cycle_anchor"], *items.interval(price), moment)


def delete_item(call: Call, subscription: Obj, item: Obj, plan: Plan, *, clear_usage: bool) -> None:
    """Take an item away, crediting what is unused; usage is billed unless it is cleared."""
    if items.metered(item) and not clear_usage and not trialing(subscription, plan.moment):
        plan.regular += lines.by_usage(call, item, subscription, (item["current_period_start"], plan.moment))
    credit(call, item, plan)
    if item in plan.touched:
        plan.touched.remove(item)
    call.store.remove(item)


def change_item(call: Call, subscription: Obj, item: Obj, wanted: dict[str, Any], plan: Plan) -> None:
    """Change an item's price, quantity, discounts, tax rates, metadata; ``name`` is how errors call it."""
    values: Obj = {}
    name = wanted.get("name", "items")
    if "metadata" in wanted:
        values["metadata"] = merged_metadata(item["metadata"], wanted["metadata"])
    if "tax_rates" in wanted:
        values["tax_rates"] = items.tax_rates(call, wanted["tax_rates"], f"{name}[tax_rates]")
    price = items.price_of(call, wanted, name) or item["price"]
    quantity: Any = wanted.get("quantity", item.get("quantity", 1))
    old = items.interval(item["price"])
    if price["id"] != item["price"]["id"] or quantity != item.get("quantity", quantity):
        credit(call, item, plan)
        _reprice(call, item, price, quantity)
        _rebill(call, subscription, item, old, plan)
    call.store.change(item, **values)
    if "discounts" in wanted:
        discount_item(call, subscription, item, wanted["discounts"])


def _reprice(call: Call, item: Obj, price: Obj, quantity: int) -> None:
    was_metered = items.metered(item)
    call.store.change(item, price=dict(price))
    if not items.metered(item):
        call.store.change(item, quantity=quantity)
    elif not was_metered:
        call.store.drop(item, "quantity")


def _rebill(call: Call, subscription: Obj, item: Obj, old: tuple[str, int], plan: Plan) -> None:
    """Plan the bill for the rest of the period of an item whose price or quantity has changed."""
    if trialing(subscription, plan.moment):
        return
    if old != items.interval(item["price"]):
        plan.at_once = True
        if subscription["billing_mode"]["type"] == "classic":
            plan.restart = True
        start, end = period_of(subscription, item["price"], plan.moment)
        call.store.change(item, current_period_start=start, current_period_end=end)
    if not items.metered(item) and item not in plan.touched:
        plan.touched.append(item)


def credit(call: Call, item: Obj, plan: Plan) -> None:
    """Credit what was billed of an item and is unused; it then counts as billed no more."""
    billed = call.store.hidden(item).get("billed")
    if billed is None or billed["end"] <= plan.moment or not plan.prorate:
        return
    line = lines.credit(call, item, billed, plan.moment)
    if line is not None:
        plan.credits.append(line)
    call.store.hide(item, billed=None)


def backdated(call: Call, subscription: Obj, item: Obj) -> list[Line]:
    """The line of a new item for the time from ``backdate_start_date`` to its first period."""
    start, end = subscription["start_date"], item["current_period_start"]
    if start >= end or items.metered(item):
        return []
    price, anchor = item["price"], subscription["billing_cycle_anchor"]
    whole, amount, moment = lines.cost(call, item, subscription["currency"]), 0, start
    while moment < end:
        cycle = periods.containing(anchor, *items.interval(price), moment)
        stop = min(cycle[1], end)
        amount += share(whole, *cycle, moment) - share(whole, *cycle, stop)
        moment = stop
    line = lines.remaining(call, item, amount, (start, end), start)
    return [] if line is None else [line]
