"""Pending updates: a change that waits for its invoice to be paid (``pending_if_incomplete``), for 23 hours.

Hidden beside the subscription: ``{"pending": {"invoice", "subscription", "items"}}``, the values that the
subscription and its items take once the invoice is paid. New items wait detached (``subscription`` null).
Source: Stripe's docs, "Pending updates".
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import subscription_items as items
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

EXPIRE: Final = "subscription_pending_update"
_SECONDS: Final = 23 * 3_600
_FIELDS: Final = ("billing_cycle_anchor", "status", "trial_end", "trial_start")


def put_off(call: Call, subscription: Obj, before: Obj, billed: dict[str, Obj | None], invoice: Obj) -> None:
    """Undo a change whose invoice is not paid, and keep it as the subscription's pending update.

    ``before`` is the subscription as it was, ``billed`` what was hidden of its items.
    """
    held = {item["id"]: item for item in before["items"]["data"]}
    touched = {item["id"]: item for item in items.of(call, subscription)}
    touched |= {ident: item for ident in held if (item := call.store.get(items.KIND, ident)) is not None}
    after = {ident: [dict(item), call.store.hidden(item).get("billed")] for ident, item in touched.items()}
    shown = [dict(item) for item in items.of(call, subscription)]
    changed = {name: subscription[name] for name in _FIELDS if subscription[name] != before[name]}
    for ident, item in touched.items():
        old = held.get(ident)
        _become(call, item, {**item, "subscription": None} if old is None else dict(old))
        call.store.hide(item, billed=billed.get(ident))
    call.store.change(subscription, **{name: before[name] for name in _FIELDS})
    items.show(call, subscription)
    call.store.hide(subscription, pending={"invoice": invoice["id"], "subscription": changed, "items": after})
    previous = call.store.change(
        subscription,
        pending_update={
            "billing_cycle_anchor": changed.get("billing_cycle_anchor"),
            "expires_at": call.now + _SECONDS,
            "subscription_items": shown,
            "trial_end": changed.get("trial_end"),
            "trial_from_plan": None,
        },
    )
    call.sandbox.timers.take(EXPIRE, subscription["id"])
    call.after(_SECONDS, EXPIRE, subscription["id"])
    call.emit(
        "customer.subscription.updated",
        subscription,
        {**previous, "latest_invoice": before["latest_invoice"]},
    )


def _become(call: Call, item: Obj, values: Obj) -> None:
    """Give an item exactly these values; a metered one has no quantity."""
    if "quantity" in item and "quantity" not in values:
        call.store.drop(item, "quantity")
    call.store.change(item, **values)


def waits_for(call: Call, subscription: Obj, invoice: Obj) -> bool:
    """Whether a pending update waits for this invoice."""
    pending = call.store.hidden(subscription).get("pending")
    return bool(pending and pending["invoice"] == invoice["id"])


def apply(call: Call, subscription: Obj) -> None:
    """The invoice is paid: the change takes effect."""
    pending = call.store.hidden(subscription)["pending"]
    before = dict(subscription)
    call.sandbox.timers.take(EXPIRE, subscription["id"])
    for ident, (values, billed) in pending["items"].items():
        item = call.store.get(items.KIND, ident)
        if item is not None:
            _become(call, item, values)
            call.store.hide(item, billed=billed)
    call.store.change(subscription, pending_update=None, **pending["subscription"])
    call.store.hide(subscription, pending=None)
    items.show(call, subscription)
    call.emit("customer.subscription.pending_update_applied", subscription)
    previous = {name: value for name, value in before.items() if subscription.get(name) != value}
    call.emit("customer.subscription.updated", subscription, previous)


def drop(call: Call, subscription: Obj) -> str:
    """The change will not come: forget it; returns the id of its invoice."""
    pending = call.store.hidden(subscription)["pending"]
    for ident in pending["items"]:
        item = call.store.get(items.KIND, ident)
        if item is not None and item["subscription"] is None:
            call.store.remove(item)
    call.store.hide(subscription, pending=None)
    call.sandbox.timers.take(EXPIRE, subscription["id"])
    call.store.change(subscription, pending_update=None)
    call.emit("customer.subscription.pending_update_expired", subscription)
    return str(pending["invoice"])
