"""Event destinations and thin events: ``/v2/core/event_destinations`` and ``/v2/core/events``.

A destination of type ``webhook_endpoint`` takes what a webhook endpoint takes, signed the same way, and may
ask for thin events instead of snapshots. Its URL and secret are shown where ``include`` asks for them; the
secret only in the answer to its creation.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tallystick.sandbox import versions
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.params import Check, Params, json_metadata, list_of, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import EVENTS_KEPT_SECONDS, Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.thin_events import TABLE_KIND, iso, snapshot_id, stored, thin, thin_type
from tallystick.sandbox.v2_lists import PAGING, RANGE, not_found, page, within
from tallystick.sandbox.webhook_endpoints import checked_url, secret

KIND: Final = "v2.core.event_destination"
TABLES: Final = [TableSpec(KIND, "event destination"), TableSpec(TABLE_KIND, "event")]

_AT: Final = "/v2/core/event_destinations"
_MOST_TYPES: Final = 20

_INCLUDE: Final = list_of(one_of("webhook_endpoint.signing_secret", "webhook_endpoint.url"))
_INCLUDE_URL: Final = list_of(one_of("webhook_endpoint.url"))
_ENDPOINT: Final = Params({"url": checked_url}, required=("url",))


def _version(value: Any, name: str) -> str:
    version = text()(value, name)
    if not versions.known(version):
        raise invalid(f"{name} is not an API version: {version}", param=name)
    return str(version)


def _webhook_only(value: Any, name: str) -> str:
    if value in ("amazon_eventbridge", "azure_event_grid"):
        raise invalid(f"The sandbox has no destinations of type {value}: use webhook_endpoint.", param=name)
    return str(one_of("webhook_endpoint")(value, name))


def _not_here(_value: Any, name: str) -> Any:
    raise invalid(f"The sandbox has no destinations of type {name}: use webhook_endpoint.", param=name)


def _from(value: Any, name: str) -> list[str]:
    known = ("@self", "@accounts", "@organization_members", "@organization_members/@accounts")
    found: list[str] = list_of(one_of(*known))(value, name)
    if found != ["@self"]:
        raise invalid("The sandbox has one account: events_from can be @self only.", param=name)
    return found


_TYPES: Final = list_of(text())


def _checked_types(types: list[str], payload: str) -> list[str]:
    if not types:
        raise invalid("enabled_events must name at least one event.", param="enabled_events")
    for kind in types:
        prefixed = kind.startswith(("v1.", "v2."))
        if kind != "*" and prefixed != (payload == "thin"):
            form = "v1.charge.succeeded" if payload == "thin" else "charge.succeeded"
            raise invalid(
                f"{kind} is not an event with {payload} payload; those look like {form}.",
                param="enabled_events",
            )
    return types


def _shown(call: Call, destination: Obj, *, created: bool = False) -> Obj:
    hidden, include = call.store.hidden(destination), call.params.get("include", [])
    endpoint = {}
    if created and "webhook_endpoint.signing_secret" in include:
        endpoint["signing_secret"] = hidden["secret"]
    if "webhook_endpoint.url" in include:
        endpoint["url"] = hidden["url"]
    times = {name: iso(destination[name]) for name in ("created", "updated")}
    return {**destination, **times, "webhook_endpoint": endpoint}


def create(call: Call) -> Obj:
    """POST /v2/core/event_destinations."""
    params = call.params
    payload = params["event_payload"]
    if "webhook_endpoint" not in params:
        raise invalid("webhook_endpoint is required for this type.", param="webhook_endpoint")
    if payload == "thin" and "snapshot_api_version" in params:
        raise invalid("snapshot_api_version is for snapshot payloads only.", param="snapshot_api_version")
    destination: Obj = {
        "id": f"ed_test_61{call.sandbox.ids.chars(38)}",
        "object": KIND,
        "created": call.now,
        "description": params.get("description", ""),
        "enabled_events": _checked_types(params["enabled_events"], payload),
        "event_payload": payload,
        "events_from": params.get("events_from", ["@self"]),
        "livemode": False,
        "metadata": _merged({}, params.get("metadata", {})),
        "name": params["name"],
        "status": "enabled",
        "type": "webhook_endpoint",
        "updated": call.now,
    }
    if payload == "snapshot":
        version = params.get("snapshot_api_version", call.sandbox.settings.api_version)
        destination["snapshot_api_version"] = version
    hidden = {"secret": secret(call), "url": params["webhook_endpoint"]["url"]}
    call.store.put(destination, hidden)
    return _shown(call, destination, created=True)


def _find(call: Call) -> Obj:
    destination = call.store.get(KIND, call.ids[0])
    if destination is None:
        raise not_found("Event destination", call.ids[0])
    return destination


def retrieve(call: Call) -> Obj:
    """GET /v2/core/event_destinations/{id}."""
    return _shown(call, _find(call))


def update(call: Call) -> Obj:
    """POST /v2/core/event_destinations/{id}."""
    destination, params = _find(call), call.params
    values: Obj = {name: params[name] for name in ("description", "name") if name in params}
    if "enabled_events" in params:
        values["enabled_events"] = _checked_types(params["enabled_events"], destination["event_payload"])
    if "metadata" in params:
        values["metadata"] = _merged(destination["metadata"], params["metadata"])
    if "webhook_endpoint" in params:
        call.store.hide(destination, url=params["webhook_endpoint"]["url"])
    call.store.change(destination, **values, updated=call.now)
    return _shown(call, destination)


def _merged(old: dict[str, str], sent: dict[str, str | None]) -> dict[str, str]:
    return {key: item for key, item in {**old, **sent}.items() if item is not None}


def delete(call: Call) -> Obj:
    """DELETE /v2/core/event_destinations/{id}; what was still to be sent to it is given up."""
    destination = _find(call)
    call.store.remove(destination)
    call.sandbox.deliveries.call_off(destination)
    return {"id": destination["id"], "object": KIND}


def list_all(call: Call) -> Obj:
    """GET /v2/core/event_destinations."""
    table = call.store.tables[KIND]
    items = (table.rows[ident] for ident in reversed(table.order) if ident in table.rows)
    return page(call, _AT, items, lambda item: _shown(call, item))


def disable(call: Call) -> Obj:
    """POST /v2/core/event_destinations/{id}/disable."""
    destination = _find(call)
    details = {"disabled": {"reason": "user"}}
    call.store.change(destination, status="disabled", status_details=details, updated=call.now)
    return _shown(call, destination)


def enable(call: Call) -> Obj:
    """POST /v2/core/event_destinations/{id}/enable."""
    destination = _find(call)
    if "status_details" in destination:
        call.store.drop(destination, "status_details")
    call.store.change(destination, status="enabled", updated=call.now)
    return _shown(call, destination)


def ping(call: Call) -> Obj:
    """POST /v2/core/event_destinations/{id}/ping: an event of its own, to this destination only."""
    destination = _find(call)
    if destination["status"] != "enabled":
        raise refused("A disabled event destination cannot be pinged.", code="cannot_proceed")
    event: Obj = {
        "id": f"evt_test_66{call.sandbox.ids.chars(38)}",
        "object": TABLE_KIND,
        "created": call.now,
        "livemode": False,
        "reason": {
            "type": "request",
            "request": {"id": call.request_id, "idempotency_key": call.idempotency_key or ""},
        },
        "related_object": {"id": destination["id"], "type": KIND, "url": f"{_AT}/{destination['id']}"},
        "type": "v2.core.event_destination.ping",
    }
    call.store.put(event)
    call.sandbox.deliveries.send_again(event, destination, times=1, wrong_secret=False)
    return stored(event)


# Thin events


def retrieve_event(call: Call) -> Obj:
    """GET /v2/core/events/{id}."""
    ident = call.ids[0]
    behind = snapshot_id(ident)
    event = call.store.get("event", behind) if behind is not None else call.store.get(TABLE_KIND, ident)
    if event is None or event["created"] < call.now - EVENTS_KEPT_SECONDS or not _has_thin(event):
        raise not_found("Event", ident)
    return _thin(event)


def _has_thin(event: Obj) -> bool:
    return event["object"] == TABLE_KIND or thin_type(event["type"]) is not None


def _thin(event: Obj) -> Obj:
    return stored(event) if event["object"] == TABLE_KIND else thin(event)


def _newest_first(call: Call, kinds: list[str]) -> Iterator[Obj]:
    """All events that have a thin form; of ``kinds`` only, where some are given."""
    events, pings = call.store.tables["event"], call.store.tables[TABLE_KIND]
    ids: Iterable[str] = events.order
    if kinds:
        of_kind = [events.ids_having("type", kind.removeprefix("v1.")) for kind in dict.fromkeys(kinds)]
        ids = heapq.merge(*of_kind, key=events.position.__getitem__)
    snapshots = (events.rows[ident] for ident in reversed(list(ids)) if ident in events.rows)
    newest = map(pings.rows.__getitem__, reversed(pings.rows))
    pinged = (event for event in newest if not kinds or event["type"] in kinds)
    merged = heapq.merge(snapshots, pinged, key=lambda event: -event["created"])
    return (event for event in merged if _has_thin(event))


def list_events(call: Call) -> Obj:
    """GET /v2/core/events, newest first, up to 30 days back."""
    params = call.params
    kinds: list[str] = params.get("types", [])
    if len(kinds) > _MOST_TYPES:
        raise invalid(f"types can name at most {_MOST_TYPES} types.", param="types")
    bounds, wanted = params.get("created", {}), params.get("object_id")
    oldest = call.now - EVENTS_KEPT_SECONDS

    def fits(event: Obj) -> bool:
        if wanted is not None and _about(event) != wanted:
            return False
        return event["created"] >= oldest and within(event["created"], bounds)

    found = (event for event in _newest_first(call, kinds) if fits(event))
    items = ({"id": _thin(event)["id"], "event": event} for event in found)
    return page(call, "/v2/core/events", items, lambda item: _thin(item["event"]))


def _about(event: Obj) -> Any:
    about: Obj = event["related_object"] if event["object"] == TABLE_KIND else event["data"]["object"]
    return about.get("id")


_UPDATE: Final[dict[str, Check]] = {
    "description": text(),
    "enabled_events": _TYPES,
    "metadata": json_metadata,
    "name": text(),
    "webhook_endpoint": _ENDPOINT,
}
_CREATE: Final = Params(
    {
        **_UPDATE,
        "amazon_eventbridge": _not_here,
        "azure_event_grid": _not_here,
        "event_payload": one_of("snapshot", "thin"),
        "events_from": _from,
        "include": _INCLUDE,
        "snapshot_api_version": _version,
        "type": _webhook_only,
    },
    required=("enabled_events", "event_payload", "name", "type"),
)

ROUTES: Final = [
    Route("POST", _AT, create, _CREATE),
    Route("GET", _AT, list_all, Params({**PAGING, "include": _INCLUDE_URL})),
    Route("GET", f"{_AT}/{{}}", retrieve, Params({"include": _INCLUDE_URL})),
    Route("POST", f"{_AT}/{{}}", update, Params({**_UPDATE, "include": _INCLUDE_URL})),
    Route("DELETE", f"{_AT}/{{}}", delete),
    Route("POST", f"{_AT}/{{}}/disable", disable),
    Route("POST", f"{_AT}/{{}}/enable", enable),
    Route("POST", f"{_AT}/{{}}/ping", ping),
    Route(
        "GET",
        "/v2/core/events",
        list_events,
        Params({**PAGING, "created": RANGE, "object_id": text(), "types": _TYPES}),
    ),
    Route("GET", "/v2/core/events/{}", retrieve_event),
]
