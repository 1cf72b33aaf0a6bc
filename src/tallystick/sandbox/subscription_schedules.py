"""Subscription schedules: phases that begin by time, each changing the subscription as an update would.

``not_started`` → ``active`` → ``completed`` (the last phase cancels), ``released`` or ``canceled``. What a
phase bills and prorates is ``subscription_changes``' business. Sources: Stripe's docs "Subscription
schedules" and its use cases; subscription_schedule.expiring comes seven days before the end.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import schedule_phases as phases
from tallystick.sandbox import schedule_shape as shape
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.errors import StripeError, invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, boolean, exactly_one, merged_metadata
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.subscription_lists import between
from tallystick.sandbox.subscription_shape import ENDED

TABLES: Final = [TableSpec(phases.KIND, "subscription schedule", indexes=("customer", "subscription"))]
_URL: Final = "/v1/subscription_schedules"


def create(call: Call) -> Obj:
    """POST /v1/subscription_schedules: of a subscription that is there, or of phases to come."""
    params = call.params
    if exactly_one(params, "customer", "from_subscription") == "from_subscription":
        return _from_subscription(call)
    customer = call.find("customer", params["customer"], param="customer")
    call = call.living_in(customer["test_clock"])
    sent = params.get("start_date")
    if sent is None:
        raise invalid("Missing required param: start_date.", param="start_date", code="parameter_missing")
    start = call.now if sent == "now" else int(sent)
    schedule = _new(call, customer["id"], customer["test_clock"], terms.billing_mode(call))
    schedule["phases"] = shape.phases(call, params.get("phases", []), start)
    call.store.put(schedule, {})
    call.emit("subscription_schedule.created", schedule)
    if schedule["phases"][0]["start_date"] <= call.now:
        phases.start(call, schedule)
    phases.wind(call, schedule)
    return schedule


def _new(call: Call, customer: str, clock: str | None, mode: Obj) -> Obj:
    params = call.params
    return {
        "id": call.sandbox.ids.new("sub_sched"),
        "object": phases.KIND,
        "application": None,
        "billing_mode": mode,
        "canceled_at": None,
        "completed_at": None,
        "created": call.now,
        "current_phase": None,
        "customer": customer,
        "customer_account": None,
        "default_settings": shape.settings(shape.DEFAULTS, params.get("default_settings", {})),
        "end_behavior": params.get("end_behavior", "release"),
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "phases": [],
        "pause_schedules": [],
        "released_at": None,
        "released_subscription": None,
        "status": "not_started",
        "subscription": None,
        "test_clock": clock,
    }


def _from_subscription(call: Call) -> Obj:
    if set(call.params) - {"from_subscription", "metadata", "billing_mode"}:
        raise invalid(
            "You cannot set other parameters with `from_subscription`. Create the schedule, then update it.",
            param="from_subscription",
        )
    subscription = call.find("subscription", call.params["from_subscription"], param="from_subscription")
    if subscription["schedule"] is not None or subscription["status"] in ENDED:
        raise refused(
            "You cannot migrate a subscription that is canceled or is already attached to a schedule:"
            f" `{subscription['schedule']}`.",
            param="from_subscription",
        )
    call = call.living_in(subscription["test_clock"])
    schedule = _new(call, subscription["customer"], subscription["test_clock"], subscription["billing_mode"])
    held = subscription["items"]["data"]
    phase = {
        "items": [_as_sent(item) for item in held],
        "currency": subscription["currency"],
        "end_date": max(item["current_period_end"] for item in held),
    }
    if subscription["default_tax_rates"]:
        phase["default_tax_rates"] = [rate["id"] for rate in subscription["default_tax_rates"]]
    if subscription["discounts"]:
        phase["discounts"] = [{"discount": ident} for ident in subscription["discounts"]]
    if subscription["trial_end"] is not None:
        phase["trial_end"] = subscription["trial_end"]
    start = min(item["current_period_start"] for item in held)
    schedule |= {
        "phases": shape.phases(call, [phase], start),
        "status": "active",
        "subscription": subscription["id"],
    }
    schedule["default_settings"] = {
        **schedule["default_settings"],
        "collection_method": subscription["collection_method"],
        "default_payment_method": subscription["default_payment_method"],
        "description": subscription["description"],
    }
    _enter(schedule, schedule["phases"][0])
    call.store.put(schedule, {})
    previous = call.store.change(subscription, schedule=schedule["id"])
    call.emit("subscription_schedule.created", schedule)
    call.emit("customer.subscription.updated", subscription, previous)
    phases.wind(call, schedule)
    return schedule


def _as_sent(item: Obj) -> dict[str, Any]:
    """An item of a subscription as a phase names it."""
    sent = {"price": item["price"]["id"], "metadata": item["metadata"]}
    if item["tax_rates"]:
        sent["tax_rates"] = [rate["id"] for rate in item["tax_rates"]]
    if item["discounts"]:
        sent["discounts"] = [{"discount": ident} for ident in item["discounts"]]
    return {**sent, "quantity": item["quantity"]} if "quantity" in item else sent


def _enter(schedule: Obj, phase: Obj) -> None:
    schedule["current_phase"] = {"end_date": phase["end_date"], "start_date": phase["start_date"]}


# Phases by time


# Calls


def retrieve(call: Call) -> Obj:
    """GET /v1/subscription_schedules/{id}."""
    return call.find(phases.KIND)


def _open(call: Call, verb: str) -> tuple[Call, Obj]:
    schedule = call.find(phases.KIND)
    if schedule["status"] not in phases.OPEN:
        raise _closed(schedule, verb)
    return call.living_in(schedule["test_clock"]), schedule


def _closed(schedule: Obj, verb: str) -> StripeError:
    return refused(
        f"You cannot {verb} a subscription schedule that is currently in the `{schedule['status']}` status."
        " It must be in the `not_started` or `active` statuses."
    )


def update(call: Call) -> Obj:
    """POST /v1/subscription_schedules/{id}; a change of the current phase takes effect at once."""
    call, schedule = _open(call, "update")
    params = call.params
    values: Obj = {}
    if "metadata" in params:
        values["metadata"] = merged_metadata(schedule["metadata"], params["metadata"])
    if "end_behavior" in params:
        values["end_behavior"] = params["end_behavior"]
    if "default_settings" in params:
        values["default_settings"] = shape.settings(schedule["default_settings"], params["default_settings"])
    current = None
    if "phases" in params:
        start = schedule["phases"][0]["start_date"]
        values["phases"] = shape.phases(call, params["phases"], start)
        if schedule["status"] == "active":
            current = _current(call, values["phases"])
            values["current_phase"] = {"end_date": current["end_date"], "start_date": current["start_date"]}
    before = {item["start_date"]: item for item in schedule["phases"]}
    previous = call.store.change(schedule, **values)
    if current is not None and current != before.get(current["start_date"]):
        old = before.get(current["start_date"], {})
        if any(current[name] != old.get(name) for name in current if name != "end_date"):
            phases.apply(call, schedule, current, params.get("proration_behavior", "create_prorations"))
    if previous:
        call.emit("subscription_schedule.updated", schedule, previous)
    phases.wind(call, schedule)
    return schedule


def _current(call: Call, phases: list[Obj]) -> Obj:
    """The phase that now lies in; 400 when the new phases leave it out."""
    for phase in phases:
        if phase["start_date"] <= call.now < phase["end_date"]:
            return phase
    raise invalid(
        "You can not modify the start date of the current phase; the phases must include the current one.",
        param="phases",
    )


def cancel(call: Call) -> Obj:
    """POST /v1/subscription_schedules/{id}/cancel: and its subscription, at once."""
    call, schedule = _open(call, "cancel")
    _cancel(call, schedule)
    subscription = call.store.get("subscription", schedule["subscription"] or "")
    if subscription is not None and subscription["status"] not in ENDED:
        details = {**subscription["cancellation_details"], "reason": "cancellation_requested"}
        now, prorate = call.params.get("invoice_now", True), call.params.get("prorate", True)
        life.end(call, subscription, details, prorate=prorate, invoice_now=now)
    return schedule


def _cancel(call: Call, schedule: Obj, event: str = "subscription_schedule.canceled") -> None:
    call.store.change(schedule, status="canceled", canceled_at=call.now, current_phase=None)
    phases.wind(call, schedule)
    call.emit(event, schedule)


def release(call: Call) -> Obj:
    """POST /v1/subscription_schedules/{id}/release: the subscription goes on without it."""
    call, schedule = _open(call, "release")
    phases.release(call, schedule)
    return schedule


def ended(call: Call, subscription: Obj) -> None:
    """Listener: a subscription has ended by itself, and its schedule with it."""
    schedule = call.store.get(phases.KIND, subscription["schedule"] or "")
    if schedule is not None and schedule["status"] in phases.OPEN:
        failed = subscription["cancellation_details"]["reason"] == "payment_failed"
        event = "subscription_schedule.aborted" if failed else "subscription_schedule.canceled"
        _cancel(call.living_in(schedule["test_clock"]), schedule, event)


def list_all(call: Call) -> Obj:
    """GET /v1/subscription_schedules."""
    ranges = {
        name: call.params[name]
        for name in ("canceled_at", "completed_at", "released_at")
        if name in call.params
    }
    scheduled = call.params.get("scheduled", False)
    any_clock = "customer" in call.params

    def matches(schedule: Obj) -> bool:
        if scheduled and schedule["status"] != "not_started":
            return False
        if not any_clock and schedule["test_clock"] is not None:
            return False
        return all(
            schedule[name] is not None and between(schedule[name], bounds) for name, bounds in ranges.items()
        )

    return page(call, phases.KIND, _URL, matches=matches, ignore=("scheduled", *ranges))


LISTENERS: Final = {"customer.subscription.deleted": ended}

ROUTES: Final = [
    Route("POST", _URL, create, shape.CREATE),
    Route("GET", _URL, list_all, shape.LIST),
    Route("GET", f"{_URL}/{{}}", retrieve),
    Route("POST", f"{_URL}/{{}}", update, shape.UPDATE),
    Route("POST", f"{_URL}/{{}}/cancel", cancel, Params({"invoice_now": boolean, "prorate": boolean})),
    Route("POST", f"{_URL}/{{}}/release", release, Params({"preserve_cancel_date": boolean})),
]
