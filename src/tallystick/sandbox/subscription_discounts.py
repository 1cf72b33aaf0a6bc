"""How long the discounts of a subscription and of its items last."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tallystick.sandbox import discounts
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_lines import Line


def use_up(call: Call, subscription: Obj, billed: Sequence[Line]) -> None:
    """Those that count once have had their invoice: the subscription's, and those of items billed."""
    for item in {line.item["id"]: line.item for line in billed if not line.proration}.values():
        _drop(call, item, lambda discount: _once(call, discount))
    _drop(call, subscription, lambda discount: _once(call, discount))
    items.show(call, subscription)


def _once(call: Call, discount: Obj) -> bool:
    return bool(call.store.hidden(discount)["coupon"]["duration"] == "once")


def drop_ended(call: Call, subscription: Obj) -> None:
    """Those that repeat and have run out go, the subscription's and its items'."""
    for holder in (subscription, *items.of(call, subscription)):
        _drop(call, holder, lambda discount: discounts.ended(discount, call.now))


def _drop(call: Call, holder: Obj, over: Callable[[Obj], bool]) -> None:
    kept = []
    for ident in holder["discounts"]:
        discount = call.find("discount", ident)
        if over(discount):
            call.emit("customer.discount.deleted", discount)
        else:
            kept.append(ident)
    call.store.change(holder, discounts=kept)
