"""Usage: meter events, their cancellation, and sums over time.

A record of usage has fields that Stripe does not show: ``id`` (its identifier), ``meter``, ``counted`` (meter
and customer, the index) and ``canceled``. Values are decimal numbers; sums are exact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tallystick.sandbox import meters
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.params import Params, integer, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "billing.meter_event"
ADJUSTMENT: Final = "billing.meter_event_adjustment"
TABLES: Final = [TableSpec(KIND, "meter event", indexes=("counted",))]

_PAST: Final = 35 * 86_400
_FUTURE: Final = 300
_CANCELABLE: Final = 86_400
_WINDOWS: Final = {"hour": 3_600, "day": 86_400}
_SHOWN: Final = ("object", "created", "event_name", "identifier", "livemode", "payload", "timestamp")


def _payload(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise invalid("Invalid object", param=name)
    return value


def create(call: Call) -> Obj:
    """POST /v1/billing/meter_events: usage of one customer, in the customer's own time."""
    params = call.params
    name = params["event_name"]
    meter = meters.active(call, name)
    if meter is None:
        raise invalid(f"No active meter found for the event name {name}.", param="event_name")
    payload = params["payload"]
    customer = _customer(call, meter, payload)
    call = call.living_in(customer["test_clock"])
    moment = params.get("timestamp", call.now)
    if moment < call.now - _PAST:
        raise invalid("The timestamp must be within the past 35 calendar days.", param="timestamp")
    if moment > call.now + _FUTURE:
        raise invalid("The timestamp must be at most 5 minutes in the future.", param="timestamp")
    identifier = params.get("identifier") or f"{call.sandbox.ids.chars(8)}-{call.sandbox.ids.chars(12)}"
    if call.store.get(KIND, identifier) is not None:
        raise refused(f"An event already exists with identifier {identifier}.", param="identifier")
    record = {
        "id": identifier,
        "object": KIND,
        "created": call.now,
        "event_name": name,
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": moment,
        "meter": meter["id"],
        "counted": f"{meter['id']}:{customer['id']}",
        "canceled": False,
    }
    call.store.put(record)
    return {field: record[field] for field in _SHOWN}


def _customer(call: Call, meter: Obj, payload: dict[str, str]) -> Obj:
    """The customer whom the usage is counted for; checks the value, too."""
    key = meter["customer_mapping"]["event_payload_key"]
    if key not in payload:
        raise invalid(f"The payload must contain the customer under the key {key}.", param=f"payload[{key}]")
    customer = call.find("customer", payload[key], param=f"payload[{key}]")
    value_key = meter["value_settings"]["event_payload_key"]
    if meter["default_aggregation"]["formula"] != "count" or value_key in payload:
        try:
            finite = Decimal(payload.get(value_key, "")).is_finite()
        except InvalidOperation:
            finite = False
        if not finite:
            raise invalid(
                f"The payload must contain a number under the key {value_key}.",
                param=f"payload[{value_key}]",
            )
    return customer


def adjust(call: Call) -> Obj:
    """POST /v1/billing/meter_event_adjustments: cancels an event that came within the last 24 hours."""
    params = call.params
    identifier = params.get("cancel", {}).get("identifier")
    if identifier is None:
        raise invalid(
            "Missing required param: cancel[identifier].",
            param="cancel[identifier]",
            code="parameter_missing",
        )
    record = call.store.get(KIND, identifier)
    if record is None or record["event_name"] != params["event_name"]:
        raise missing("meter event", identifier, "cancel[identifier]")
    if record["canceled"]:
        raise refused(f"The meter event {identifier} is canceled already.", param="cancel[identifier]")
    customer = call.store.get("customer", record["counted"].partition(":")[2])
    now = call.living_in(customer["test_clock"] if customer else None).now
    if record["created"] < now - _CANCELABLE:
        raise refused("Meter events can be canceled within 24 hours only.", param="cancel[identifier]")
    call.store.change(record, canceled=True)
    return {
        "object": ADJUSTMENT,
        "cancel": {"identifier": identifier},
        "event_name": params["event_name"],
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def usage(call: Call, meter: Obj, customer: str, start: int, end: int) -> Decimal:
    """What a customer has used from ``start`` until before ``end``, as the meter adds it up."""
    records = [record for record in _records(call, meter, customer) if start <= record["timestamp"] < end]
    formula = meter["default_aggregation"]["formula"]
    if formula == "count":
        return Decimal(len(records))
    key = meter["value_settings"]["event_payload_key"]
    if formula == "last":
        newest = max(records, key=lambda record: record["timestamp"], default=None)
        return Decimal(newest["payload"][key]) if newest else Decimal(0)
    return sum((Decimal(record["payload"][key]) for record in records), Decimal(0))


def _records(call: Call, meter: Obj, customer: str) -> list[Obj]:
    found = call.store.tables[KIND].having("counted", f"{meter['id']}:{customer}")
    return [record for record in found if not record["canceled"]]


def summaries(call: Call) -> Obj:
    """GET /v1/billing/meters/{id}/event_summaries: one for the range, or one for each hour or day in it."""
    meter, params = call.find(meters.KIND), call.params
    start, end = params["start_time"], params["end_time"]
    window = params.get("value_grouping_window")
    step = _WINDOWS[window] if window else 60
    for name, moment in (("start_time", start), ("end_time", end)):
        if moment % step:
            raise invalid(f"{name} must be aligned with {window or 'minute'} boundaries.", param=name)
    if end <= start:
        raise invalid("end_time must be after start_time.", param="end_time")
    call.find("customer", params["customer"], param="customer")
    found = list(_windows(call, meter, start, end, step if window else end - start))
    ids = [summary["id"] for summary in found]
    if "starting_after" in params and params["starting_after"] in ids:
        found = found[ids.index(params["starting_after"]) + 1 :]
    elif "ending_before" in params and params["ending_before"] in ids:
        found = found[: ids.index(params["ending_before"])][-params.get("limit", 10) :]
    limit = params.get("limit", 10)
    url = f"/v1/billing/meters/{meter['id']}/event_summaries"
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": url}


def _windows(call: Call, meter: Obj, start: int, end: int, step: int) -> Iterator[Obj]:
    """The windows of a range, newest first; those of a grouping without any usage are left out."""
    customer = call.params["customer"]
    used = {record["timestamp"] // step for record in _records(call, meter, customer)}
    for begin in range(end - step, start - 1, -step):
        if step != end - start and begin // step not in used:
            continue
        value = usage(call, meter, customer, begin, begin + step)
        name = f"{meter['id']}:{customer}:{begin}:{step}"
        yield {
            "id": f"mtrusg_test_{hashlib.sha256(name.encode()).hexdigest()[:24]}",
            "object": "billing.meter_event_summary",
            "aggregated_value": int(value) if value == value.to_integral_value() else float(value),
            "end_time": begin + step,
            "livemode": False,
            "meter": meter["id"],
            "start_time": begin,
        }


ROUTES: Final = [
    Route(
        "POST",
        "/v1/billing/meter_events",
        create,
        Params(
            {"event_name": text(100), "identifier": text(100), "payload": _payload, "timestamp": integer},
            required=("event_name", "payload"),
        ),
    ),
    Route(
        "POST",
        "/v1/billing/meter_event_adjustments",
        adjust,
        Params(
            {
                "cancel": Params({"identifier": text(100)}),
                "event_name": text(100),
                "type": one_of("cancel"),
            },
            required=("event_name", "type"),
        ),
    ),
    Route(
        "GET",
        "/v1/billing/meters/{}/event_summaries",
        summaries,
        Params(
            {
                **listing(customer=text(), start_time=integer, end_time=integer).fields,
                "value_grouping_window": one_of("day", "hour"),
            },
            required=("customer", "end_time", "start_time"),
        ),
    ),
]
