"""Test clocks: a time of their own for the customers attached to them, moved by ``advance``.

Billing objects (customers, subscriptions, invoices, schedules) below such a customer live in the clock's
``frozen_time``; payments (PaymentIntents, charges, refunds) and events stay in real time, as Stripe's do
(github.com/stripe/stripe-python/issues/1183). Advancing is asynchronous: the answer says ``advancing``, then
every timer of the clock runs in order of its time, each seeing that time as its ``now``, then the clock is
``ready``. Limits as in Stripe's "API and advanced usage" page: forward only, at most two intervals of the
shortest subscription, or two years without one.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import customers as customer_family
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, integer, listing, text
from tallystick.sandbox.periods import add
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "test_helpers.test_clock"
TABLES: Final = [TableSpec(KIND, "test clock")]

ADVANCE: Final = "advance_test_clock"
EXPIRE: Final = "delete_test_clock"
_LIFE: Final = 30 * 86_400
"""Seconds after which Stripe deletes a test clock."""
_URL: Final = "/v1/test_helpers/test_clocks"
_SLICE: Final = 200
"""Timers that run before the sandbox answers requests again."""
_RUNNING: Final = ("active", "trialing", "past_due", "unpaid", "incomplete", "paused")


def create(call: Call) -> Obj:
    """POST /v1/test_helpers/test_clocks; ``customer`` attaches an existing customer."""
    params = call.params
    clock: Obj = {
        "id": call.sandbox.ids.new("clock"),
        "object": KIND,
        "created": call.now,
        "deletes_after": call.now + _LIFE,
        "frozen_time": params["frozen_time"],
        "livemode": False,
        "name": params.get("name"),
        "status": "ready",
        "status_details": {},
    }
    if clock["frozen_time"] < 0:
        raise invalid("Invalid timestamp: must be an integer Unix timestamp.", param="frozen_time")
    call.store.put(clock)
    if "customer" in params:
        _attach(call, clock, params["customer"])
    call.after(_LIFE, EXPIRE, clock["id"])
    call.emit("test_helpers.test_clock.created", clock)
    return clock


def _attach(call: Call, clock: Obj, ident: str) -> None:
    customer = call.find("customer", ident, param="customer")
    if customer["test_clock"] is not None:
        raise refused("This customer is already attached to a test clock.", param="customer")
    if any(obj["status"] in _RUNNING for obj in call.store.tables["subscription"].having("customer", ident)):
        raise refused("A customer with subscriptions cannot be attached to a test clock.", param="customer")
    previous = call.store.change(customer, test_clock=clock["id"])
    call.emit("customer.updated", customer, previous)


def retrieve(call: Call) -> Obj:
    """GET /v1/test_helpers/test_clocks/{id}; a deleted one says so."""
    return call.store.gone(KIND, call.ids[0]) or call.find(KIND)


def list_all(call: Call) -> Obj:
    """GET /v1/test_helpers/test_clocks."""
    return page(call, KIND, _URL)


def advance(call: Call) -> Obj:
    """POST /v1/test_helpers/test_clocks/{id}/advance: begins to move the clock to ``frozen_time``."""
    clock, goal = call.find(KIND), call.params["frozen_time"]
    if clock["status"] != "ready":
        raise refused(
            f"The test clock {clock['id']} is currently {clock['status']}. Wait until it is ready.",
        )
    if goal <= clock["frozen_time"]:
        raise invalid(
            "Test clock advance time must be after the test clock's current frozen time.", param="frozen_time"
        )
    if goal > _furthest(call, clock):
        raise invalid(
            "Test clock advance time cannot be more than two intervals in the future from the shortest"
            " subscription in this test clock, or two years without one.",
            param="frozen_time",
        )
    details = {"advancing": {"target_frozen_time": goal}}
    call.store.change(clock, status="advancing", status_details=details)
    call.emit("test_helpers.test_clock.advancing", clock)
    call.after(0, ADVANCE, clock["id"])
    return dict(clock)


def _furthest(call: Call, clock: Obj) -> int:
    """The latest time that one call may advance to."""
    start, limits = clock["frozen_time"], []
    for customer in customers(call, clock):
        for subscription in call.store.tables["subscription"].having("customer", customer["id"]):
            if subscription["status"] not in _RUNNING:
                continue
            for item in subscription["items"]["data"]:
                recurring = item["price"]["recurring"]
                limits.append(add(start, recurring["interval"], 2 * recurring["interval_count"]))
    return min(limits, default=add(start, "year", 2))


def customers(call: Call, clock: Obj) -> list[Obj]:
    """The customers attached to a clock."""
    return [
        customer
        for customer in call.store.tables["customer"].rows.values()
        if customer["test_clock"] == clock["id"]
    ]


def go_on(call: Call, ident: str) -> None:
    """Timer: run what is due on the way to the target, a slice at a time; then the clock is ready."""
    clock = call.store.get(KIND, ident)
    if clock is None or clock["status"] != "advancing":
        return
    goal = clock["status_details"]["advancing"]["target_frozen_time"]
    timers = call.sandbox.timers
    call.store.commit()  # each timer is a transaction of its own
    for _ in range(_SLICE):
        key = timers.next_of(ident, goal)
        if key is None:
            call.store.change(clock, status="ready", status_details={}, frozen_time=goal)
            call.emit("test_helpers.test_clock.ready", clock)
            return
        call.store.change(clock, frozen_time=max(clock["frozen_time"], int(timers.pending[key].due)))
        timers.fire(key)
    call.after(0, ADVANCE, ident)


def delete(call: Call) -> Obj:
    """DELETE /v1/test_helpers/test_clocks/{id}: its customers go with it."""
    clock = call.find(KIND)
    _delete(call, clock)
    return {"id": clock["id"], "object": KIND, "deleted": True}


def _delete(call: Call, clock: Obj) -> None:
    call.sandbox.timers.take(EXPIRE, clock["id"])
    call.sandbox.timers.take(ADVANCE, clock["id"])
    for customer in customers(call, clock):
        customer_family.delete(_on(call, customer))
    call.sandbox.timers.drop_of(clock["id"])
    call.emit("test_helpers.test_clock.deleted", clock)
    call.store.remove(clock)


def _on(call: Call, customer: Obj) -> Call:
    inner = call.living_in(customer["test_clock"])
    inner.ids = (customer["id"],)
    return inner


def expire(call: Call, ident: str) -> None:
    """Timer: 30 days after its creation a clock is deleted."""
    clock: Any = call.store.get(KIND, ident)
    if clock is not None:
        _delete(call, clock)


ACTIONS: Final = {ADVANCE: go_on, EXPIRE: expire}

ROUTES: Final = [
    Route(
        "POST",
        _URL,
        create,
        Params({"customer": text(), "frozen_time": integer, "name": text(300)}, required=("frozen_time",)),
    ),
    Route("GET", _URL, list_all, listing()),
    Route("GET", _URL + "/{}", retrieve),
    Route("DELETE", _URL + "/{}", delete),
    Route("POST", _URL + "/{}/advance", advance, Params({"frozen_time": integer}, required=("frozen_time",))),
]
