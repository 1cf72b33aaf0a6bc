"""A plan is a recurring price in its older shape; nothing is stored for it.

``view`` is also what subscription items show as ``plan``.
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_RENAMED: Final = {
    "unit_amount": "amount",
    "unit_amount_decimal": "amount_decimal",
    "transform_quantity": "transform_usage",
}
_PLAN_ONLY_ABSENT: Final = ("lookup_key", "tax_behavior", "recurring", "type", "custom_unit_amount")


def view(call: Call, price: Obj) -> Obj:
    """The plan of a recurring price."""
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
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": call.store.hidden(price).get("trial_period_days"),
        "usage_type": recurring["usage_type"],
    }


def renamed(previous: Obj) -> Obj:
    """``previous_attributes`` of a price as its plan has them."""
    return {
        _RENAMED.get(name, name): value for name, value in previous.items() if name not in _PLAN_ONLY_ABSENT
    }
