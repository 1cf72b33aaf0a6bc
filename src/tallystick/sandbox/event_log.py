"""The events API: what happened, up to 30 days back."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import events
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import boolean, created, list_of, listing, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import EVENTS_KEPT_SECONDS, Call
from tallystick.sandbox.store import Obj

TABLES: Final = [events.TABLE]


def retrieve(call: Call) -> Obj:
    """GET /v1/events/{id}."""
    return events.shown(call.find("event"), None, call.sandbox)


def _fits(event_type: str, pattern: str) -> bool:
    if "*" not in pattern:
        return event_type == pattern
    return event_type.startswith(pattern.partition("*")[0])


def list_all(call: Call) -> Obj:
    """GET /v1/events, newest first; ``type`` may end in ``.*``."""
    params = call.params
    if "type" in params and "types" in params:
        raise invalid("You may only specify one of these parameters: type, types.", param="types")
    patterns = params.get("types") or ([params["type"]] if "type" in params else [])
    ignored: tuple[str, ...] = ("types", "delivery_success")
    if "*" in params.get("type", ""):
        ignored = (*ignored, "type")
    wanted = params.get("delivery_success")
    oldest = call.now - EVENTS_KEPT_SECONDS

    def matches(event: Obj) -> bool:
        if event["created"] < oldest or "account" in event:
            return False
        if patterns and not any(_fits(event["type"], pattern) for pattern in patterns):
            return False
        return wanted is None or (event["id"] not in call.sandbox.deliveries.unheard) is wanted

    # What failed is searched for again and again; without its own list each search would read all events.
    among = call.sandbox.deliveries.unheard if wanted is False else None
    found = page(call, "event", "/v1/events", matches=matches, ignore=ignored, among=among)
    found["data"] = [events.shown(event, None, call.sandbox) for event in found["data"]]
    return found


ROUTES: Final = [
    Route(
        "GET",
        "/v1/events",
        list_all,
        listing(created=created, delivery_success=boolean, type=text(), types=list_of(text())),
    ),
    Route("GET", "/v1/events/{}", retrieve),
]
