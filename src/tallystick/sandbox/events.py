"""Events: what happened, with a snapshot of the object, and to whom it must be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from tallystick.sandbox import thin_events
from tallystick.sandbox.ids import Ids
from tallystick.sandbox.store import Obj, Store, TableSpec
from tallystick.sandbox.versions import Relations, render

TABLE: Final = TableSpec("event", "event", indexes=("type",))


ENDPOINTS: Final = ("webhook_endpoint", "v2.core.event_destination")
"""The kinds of object that events are sent to."""


def wants(endpoint: Obj, event_type: str) -> bool:
    """Whether an endpoint listens to this type."""
    if endpoint["status"] != "enabled":
        return False
    name = thin_events.thin_type(event_type) if endpoint.get("event_payload") == "thin" else event_type
    types = endpoint["enabled_events"]
    return name is not None and ("*" in types or name in types)


class Events:
    """Makes events. New ones are handed to ``plan`` (the deliveries) before the commit that contains them."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self._store = store
        self._ids = ids
        self._fresh: list[Obj] = []
        self.plan: Callable[[Obj, Iterable[Obj]], None] | None = None
        store.before_commit.append(self._plan_fresh)

    def emit(
        self,
        kind: str,
        obj: Obj,
        previous: Obj | None = None,
        *,
        version: str,
        now: int,
        request_id: str | None,
        idempotency_key: str | None,
        account: str | None = None,
    ) -> Obj:
        """Record that ``kind`` happened to ``obj`` as it is now; ``previous`` holds what changed."""
        data: Obj = {"object": dict(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        ident = obj.get("id", "")
        of_payment = ident.partition("_")[2][:1] == "3"
        event = {
            "id": self._ids.new("evt", of=ident if of_payment else None),
            "object": "event",
            "api_version": version,
            "created": now,
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": request_id, "idempotency_key": idempotency_key},
            "type": kind,
        }
        if account is not None:
            event["account"] = account
        self._store.put(event)
        if not self._fresh:
            self._store.on_rollback(self._fresh.clear)
        self._fresh.append(event)
        return event

    def _plan_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        if not fresh or self.plan is None:
            return
        endpoints = [each for kind in ENDPOINTS for each in self._store.tables[kind].rows.values()]
        for event in fresh:
            self.plan(event, [endpoint for endpoint in endpoints if self._told(endpoint, event)])

    def _told(self, endpoint: Obj, event: Obj) -> bool:
        """Whether an endpoint hears of an event: it is for connected accounts' events or the own ones."""
        connect = bool(self._store.hidden(endpoint).get("connect"))
        return connect == ("account" in event) and wants(endpoint, event["type"])


def shown(event: Obj, version: str | None, relations: Relations) -> Obj:
    """The event as an endpoint of ``version`` gets it; None: in the event's own version."""
    version = version or event["api_version"]
    data = event["data"]
    obj = render(data["object"], version, relations)
    if "previous_attributes" in data:
        before = render({**data["object"], **data["previous_attributes"]}, version, relations)
        data = {**data, "object": obj, "previous_attributes": _what_was(before, obj)}
    elif obj is data["object"] and version == event["api_version"]:
        return event
    return {**event, "api_version": version, "data": {**data, "object": obj}}


def _what_was(before: Obj, now: Obj) -> Obj:
    """The old values of what has changed: of objects within, only what has changed of them; lists whole."""
    was: Obj = {}
    for name in before | now:
        old, new = before.get(name), now.get(name)
        if old != new:
            was[name] = _what_was(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
    return was


def body(event: Obj, endpoint: Obj, version: str | None, relations: Relations) -> bytes:
    """The bytes that are signed and sent; ``version`` overrules the endpoint's."""
    if event["object"] == thin_events.TABLE_KIND:
        told = thin_events.stored(event)
    elif endpoint.get("event_payload") == "thin":
        told = thin_events.thin(event)
    else:
        own = endpoint.get("api_version") or endpoint.get("snapshot_api_version")
        told = shown(event, version or own, relations)
    return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def snapshot(values: Obj, *names: str) -> dict[str, Any]:
    """Some of an object's values, for ``previous_attributes``."""
    return {name: values[name] for name in names if name in values}
