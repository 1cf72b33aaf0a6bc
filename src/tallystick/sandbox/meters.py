"""Billing meters: what usage is called, and how it adds up. The usage itself is in ``meter_events``."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "billing.meter"
TABLES: Final = [TableSpec(KIND, "meter", indexes=("event_name",))]

_URL: Final = "/v1/billing/meters"

_CREATE: Final = Params(
    {
        "customer_mapping": Params(
            {"event_payload_key": text(100), "type": one_of("by_id")}, required=("event_payload_key", "type")
        ),
        "default_aggregation": Params({"formula": one_of("count", "last", "sum")}, required=("formula",)),
        "display_name": text(250),
        "event_name": text(100),
        "event_time_window": one_of("day", "hour"),
        "value_settings": Params({"event_payload_key": text(100)}, required=("event_payload_key",)),
    },
    required=("default_aggregation", "display_name", "event_name"),
)


def active(call: Call, event_name: str) -> Obj | None:
    """The active meter that counts events of a name, if there is one."""
    meters = call.store.tables[KIND].having("event_name", event_name)
    return next((meter for meter in meters if meter["status"] == "active"), None)


def create(call: Call) -> Obj:
    """POST /v1/billing/meters; only one active meter may count events of a name."""
    params = call.params
    _only(call, params["event_name"])
    meter: Obj = {
        "id": call.sandbox.ids.new("mtr_test"),
        "object": KIND,
        "created": call.now,
        "customer_mapping": params.get(
            "customer_mapping", {"event_payload_key": "stripe_customer_id", "type": "by_id"}
        ),
        "default_aggregation": params["default_aggregation"],
        "display_name": params["display_name"],
        "event_name": params["event_name"],
        "event_time_window": params.get("event_time_window"),
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": call.now,
        "value_settings": params.get("value_settings", {"event_payload_key": "value"}),
    }
    call.store.put(meter)
    call.emit("billing.meter.created", meter)
    return meter


def _only(call: Call, event_name: str) -> None:
    if active(call, event_name) is not None:
        raise invalid(
            f"There is already an active meter with the event name {event_name}.", param="event_name"
        )


def retrieve(call: Call) -> Obj:
    """GET /v1/billing/meters/{id}."""
    return call.find(KIND)


def update(call: Call) -> Obj:
    """POST /v1/billing/meters/{id}: its display name."""
    meter = call.find(KIND)
    if meter["status"] != "active":
        raise refused("You cannot update an inactive meter.")
    previous = call.store.change(meter, **call.params)
    if previous:
        previous |= call.store.change(meter, updated=call.now)
        call.emit("billing.meter.updated", meter, previous)
    return meter


def list_all(call: Call) -> Obj:
    """GET /v1/billing/meters."""
    return page(call, KIND, _URL)


def deactivate(call: Call) -> Obj:
    """POST /v1/billing/meters/{id}/deactivate: no event of its name is taken any more."""
    meter = call.find(KIND)
    if meter["status"] == "inactive":
        raise refused("You cannot deactivate a meter that is already inactive.")
    previous = call.store.change(
        meter, status="inactive", status_transitions={"deactivated_at": call.now}, updated=call.now
    )
    call.emit("billing.meter.deactivated", meter, previous)
    return meter


def reactivate(call: Call) -> Obj:
    """POST /v1/billing/meters/{id}/reactivate."""
    meter = call.find(KIND)
    if meter["status"] == "active":
        raise refused("You cannot reactivate a meter that is already active.")
    _only(call, meter["event_name"])
    previous = call.store.change(
        meter, status="active", status_transitions={"deactivated_at": None}, updated=call.now
    )
    call.emit("billing.meter.reactivated", meter, previous)
    return meter


ROUTES: Final = [
    Route("POST", _URL, create, _CREATE),
    Route("GET", _URL, list_all, listing(status=one_of("active", "inactive"))),
    Route("GET", _URL + "/{}", retrieve),
    Route("POST", _URL + "/{}", update, Params({"display_name": text(250)})),
    Route("POST", _URL + "/{}/deactivate", deactivate),
    Route("POST", _URL + "/{}/reactivate", reactivate),
]
