"""The phases of a subscription schedule by time: how one begins, what it says, how the last one ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tallystick.sandbox import subscription_changes as changes
from tallystick.sandbox import subscription_creation
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_shape import ENDED

KIND: Final = "subscription_schedule"
PHASE: Final = "schedule_phase"
EXPIRING: Final = "schedule_expiring"
OPEN: Final = ("not_started", "active")
_AHEAD: Final = 7 * terms.DAY


def wind(call: Call, schedule: Obj) -> None:
    """Set the timers of the next change anew."""
    for name in (PHASE, EXPIRING):
        call.sandbox.timers.take(name, schedule["id"])
    if schedule["status"] == "not_started":
        call.at(schedule["phases"][0]["start_date"], PHASE, schedule["id"])
    elif schedule["status"] == "active":
        call.at(schedule["current_phase"]["end_date"], PHASE, schedule["id"])
        ahead = schedule["phases"][-1]["end_date"] - _AHEAD
        if ahead > call.now:
            call.at(ahead, EXPIRING, schedule["id"])


def advance(call: Call, ident: str) -> None:
    """Timer: the next phase begins, or the last one is over."""
    schedule = call.store.get(KIND, ident)
    if schedule is None or schedule["status"] not in OPEN:
        return
    if schedule["status"] == "not_started":
        start(call, schedule)
        wind(call, schedule)
        return
    over = schedule["current_phase"]["end_date"]
    phase = next((item for item in schedule["phases"] if item["start_date"] == over), None)
    if phase is None:
        _complete(call, schedule)
        return
    current = {"end_date": phase["end_date"], "start_date": phase["start_date"]}
    previous = call.store.change(schedule, current_phase=current)
    apply(call, schedule, phase, phase["proration_behavior"])
    call.emit("subscription_schedule.updated", schedule, previous)
    wind(call, schedule)


def phase_due(call: Call, subscription: Obj) -> None:
    """Before a renewal: begin the phase that is due at the same instant, so that its price is billed."""
    schedule = call.store.get(KIND, subscription["schedule"] or "")
    if schedule is None or schedule["status"] != "active":
        return
    if schedule["current_phase"]["end_date"] <= call.now and call.sandbox.timers.take(PHASE, schedule["id"]):
        advance(call, schedule["id"])


def expiring(call: Call, ident: str) -> None:
    """Timer: seven days before the last phase is over."""
    schedule = call.store.get(KIND, ident)
    if schedule is not None and schedule["status"] == "active":
        call.emit("subscription_schedule.expiring", schedule)


def start(call: Call, schedule: Obj) -> None:
    """The first phase begins: its subscription is made."""
    phase = schedule["phases"][0]
    current = {"end_date": phase["end_date"], "start_date": phase["start_date"]}
    previous = call.store.change(schedule, status="active", current_phase=current)
    params = {**_params(schedule, phase), "items": [_item(item) for item in phase["items"]]}
    params["billing_mode"] = {"type": schedule["billing_mode"]["type"]}
    params["currency"] = phase["currency"]
    if phase["start_date"] < call.now:
        params["backdate_start_date"] = phase["start_date"]
    if phase["trial_end"] is not None:
        params["trial_end"] = phase["trial_end"]
    customer = call.find("customer", schedule["customer"])
    params["payment_behavior"] = "allow_incomplete"
    if terms_missing(customer, schedule, phase):
        params["payment_behavior"] = "default_incomplete"
    subscription = subscription_creation.make(replace(call, params=params, ids=()), customer)
    call.store.change(subscription, schedule=schedule["id"])
    previous |= call.store.change(schedule, subscription=subscription["id"])
    call.emit("subscription_schedule.updated", schedule, previous)


def terms_missing(customer: Obj, schedule: Obj, phase: Obj) -> bool:
    """Whether nobody can be charged for a phase: its subscription then begins incomplete."""
    own = phase["default_payment_method"] or schedule["default_settings"]["default_payment_method"]
    return not (own or customer["invoice_settings"]["default_payment_method"])


def _item(item: Obj) -> dict[str, Any]:
    sent: dict[str, Any] = {name: item[name] for name in ("price", "quantity", "metadata") if name in item}
    discounts = [_kept(discount) for discount in item["discounts"]]
    return {
        **sent,
        **({"discounts": discounts} if discounts else {}),
        "tax_rates": [rate["id"] for rate in item["tax_rates"]],
    }


def _kept(discount: Obj) -> dict[str, str]:
    return {name: value for name, value in discount.items() if value is not None}


def _params(schedule: Obj, phase: Obj) -> dict[str, Any]:
    """What a phase says of its subscription, as parameters of an update; the defaults where it is silent."""
    defaults = schedule["default_settings"]
    method = phase["collection_method"] or defaults["collection_method"]
    params: dict[str, Any] = {
        "collection_method": method,
        "default_tax_rates": [rate["id"] for rate in phase["default_tax_rates"]],
        "description": phase["description"] or defaults["description"],
        "discounts": [_kept(discount) for discount in phase["discounts"]],
        "metadata": phase["metadata"],
        "add_invoice_items": [
            {"price": item["price"], "quantity": item["quantity"], "metadata": item["metadata"]}
            for item in phase["add_invoice_items"]
        ],
    }
    paying = phase["default_payment_method"] or defaults["default_payment_method"]
    if paying is not None:
        params["default_payment_method"] = paying
    if method == "send_invoice":
        own = (phase["invoice_settings"] or {}).get("days_until_due")
        days = own if own is not None else defaults["invoice_settings"]["days_until_due"]
        params["days_until_due"] = 30 if days is None else days
    return params


def apply(call: Call, schedule: Obj, phase: Obj, proration: str) -> None:
    """Make the subscription what a phase says."""
    subscription = call.find("subscription", schedule["subscription"])
    if subscription["status"] in ENDED:
        return
    params = {
        **_params(schedule, phase),
        "items": _item_changes(items.of(call, subscription), phase["items"]),
        "proration_behavior": proration,
        "payment_behavior": "allow_incomplete",
    }
    anchor = phase["billing_cycle_anchor"] or schedule["default_settings"]["billing_cycle_anchor"]
    if anchor == "phase_start":
        params["billing_cycle_anchor"] = "now"
    if phase["trial_end"] is not None and phase["trial_end"] > call.now:
        params["trial_end"] = phase["trial_end"]
    changes.update(replace(call, params=params, ids=(subscription["id"],)), subscription)


def _item_changes(held: list[Obj], wanted: list[Obj]) -> list[dict[str, Any]]:
    """What turns the items held into those of a phase: kept by price, else changed, added, deleted."""
    prices = {item["price"] for item in wanted}
    by_price = {item["price"]["id"]: item for item in held}
    spare = [item for item in held if item["price"]["id"] not in prices]
    sent = []
    for item in wanted:
        entry = _item(item)
        old = by_price.get(item["price"])
        if old is not None:
            del entry["price"]
        elif spare:
            old = spare.pop(0)
        sent.append({**entry, "id": old["id"]} if old is not None else entry)
    return sent + [{"id": item["id"], "deleted": True} for item in spare]


def _complete(call: Call, schedule: Obj) -> None:
    """The last phase is over: the subscription is canceled, or goes on by itself (``release``)."""
    subscription = call.find("subscription", schedule["subscription"])
    released = schedule["end_behavior"] == "release"
    previous = call.store.change(
        schedule,
        status="completed",
        completed_at=call.now,
        current_phase=None,
        released_subscription=subscription["id"] if released else None,
        subscription=None if released else subscription["id"],
    )
    wind(call, schedule)
    if released:
        before = call.store.change(subscription, schedule=None)
        call.emit("customer.subscription.updated", subscription, before)
    elif subscription["status"] not in ENDED:
        life.end(call, subscription, subscription["cancellation_details"], invoice_now=True)
    call.emit("subscription_schedule.completed", schedule)
    call.emit("subscription_schedule.updated", schedule, previous)


def release(call: Call, schedule: Obj) -> None:
    subscription = call.store.get("subscription", schedule["subscription"] or "")
    previous = call.store.change(
        schedule,
        status="released",
        current_phase=None,
        released_at=call.now,
        released_subscription=schedule["subscription"],
        subscription=None,
    )
    wind(call, schedule)
    call.emit("subscription_schedule.released", schedule)
    call.emit("subscription_schedule.updated", schedule, previous)
    if subscription is not None:
        before = call.store.change(subscription, schedule=None)
        call.emit("customer.subscription.updated", subscription, before)


life.BEFORE_RENEWAL.append(phase_due)

ACTIONS: Final = {PHASE: advance, EXPIRING: expiring}
