"""How subscriptions and their items looked in older API versions: undo steps for ``versions``.

Facts: recorded answers of 2025-10-29.clover (``plan``, ``quantity``); Stripe's changelog of basil (periods on
the items, one ``discount``), of 2025-06-30.basil (``billing_mode``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Obj = dict[str, Any]


def plan_of(price: Obj) -> Obj:
    """A recurring price as the plan that it once was."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": recurring.get("trial_period_days"),
        "usage_type": recurring["usage_type"],
    }


def item_with_plan(item: Obj, _relations: Any) -> None:
    """Before dahlia an item also showed its price as a plan."""
    item["plan"] = plan_of(item["price"])


def item_without_period(item: Obj, _relations: Any) -> None:
    """Before basil the period was the subscription's."""
    item.pop("current_period_end", None)
    item.pop("current_period_start", None)


def with_plan(subscription: Obj, _relations: Any) -> None:
    """Before dahlia a subscription to one item also showed its plan and quantity."""
    held = subscription["items"]["data"]
    single = held[0] if len(held) == 1 else None
    subscription["plan"] = plan_of(single["price"]) if single else None
    subscription["quantity"] = single.get("quantity") if single else None
    for name in ("customer_account", "billing_schedules"):
        subscription.pop(name, None)


def with_period(subscription: Obj, _relations: Any) -> None:
    """Before basil the subscription had the period, and one discount."""
    held = subscription["items"]["data"]
    subscription["current_period_start"] = min((item["current_period_start"] for item in held), default=None)
    subscription["current_period_end"] = min((item["current_period_end"] for item in held), default=None)
    discounts = subscription["discounts"]
    subscription["discount"] = discounts[0] if discounts and isinstance(discounts[0], dict) else None


BILLING_MODE = "2025-06-30.basil"
_ENDIVE, _DAHLIA, _BASIL = "2026-09-30.endive", "2026-03-25.dahlia", "2025-03-31.basil"

OUTSIDE_FIRST: list[tuple[str, str, Callable[[Obj, Any], None]]] = [
    (_DAHLIA, "subscription", with_plan),
    (_BASIL, "subscription", with_period),
]
"""Undone before what is inside is: they need what the items have lost in the old shape."""


def _without(*names: str) -> Any:
    def undo(obj: Obj, _relations: Any) -> None:
        for name in names:
            obj.pop(name, None)

    return undo


CHANGES: list[tuple[str, str, Callable[[Obj, Any], None]]] = [
    (_ENDIVE, "subscription", _without("status_details")),
    (_ENDIVE, "subscription_item", _without("current_trial")),
    (_ENDIVE, "subscription_schedule", _without("pause_schedules")),
    (_DAHLIA, "subscription_item", item_with_plan),
    (_DAHLIA, "subscription_schedule", _without("customer_account")),
    (BILLING_MODE, "subscription", _without("billing_mode")),
    (BILLING_MODE, "subscription_schedule", _without("billing_mode")),
    (_BASIL, "subscription_item", item_without_period),
]
