"""What the next renewal of a subscription will bill: told some days before it, and in previews."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def upcoming(call: Call, ident: str) -> None:
    """Timer: some days before a renewal, what it will bill."""
    subscription = life.living(call, ident)
    if subscription is None:
        return
    due = min(item["current_period_end"] for item in items.of(call, subscription))
    call.store.hide(subscription, upcoming_told=due)
    call.emit("invoice.upcoming", preview(call, subscription))


def foresee(call: Call, subscription: Obj) -> int:
    """When the next renewal is; the subscription becomes what its schedule will have made of it then.

    Inside ``Store.tentative``.
    """
    moment: int = min(item["current_period_end"] for item in items.of(call, subscription))
    ahead = replace(call, now=moment, quiet=True)
    for prepare in life.BEFORE_RENEWAL:
        prepare(ahead, subscription)
    return moment


def preview(call: Call, subscription: Obj) -> Obj:
    """What the invoice of the next renewal would be like, with what is used until now."""
    with call.store.tentative():
        before = subscription["latest_invoice"]
        moment = foresee(call, subscription)
        if subscription["latest_invoice"] != before:
            return billing.shown_preview(call, call.find("invoice", subscription["latest_invoice"]))
        return billing.upcoming(call, subscription, life.renewal(call, subscription, moment))


ACTIONS: Final = {life.UPCOMING: upcoming}
