"""Thin events: what ``/v2/core/events`` shows, and what an event destination with thin payloads is sent.

Every snapshot event has a thin one, called ``v1.`` and its type, which names the object instead of showing
it. It is made from the snapshot when asked for, and its id says which: nothing is stored twice.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from tallystick.sandbox.store import Obj

TABLE_KIND: Final = "v2.core.event"
"""The few events that have no snapshot (pings) are stored under it."""

_PREFIX: Final = "evt_test_65"
_WITHOUT_THIN: Final = ("customer.source.",)
"""Types that the SDK knows no thin event of."""

_SINGLE: Final = {
    "balance": "/v1/balance",
    "cash_balance": "/v1/customers/{customer}/cash_balance",
    "discount": "/v1/customers/{customer}/discount",
}
"""Objects without an id of their own in the URL."""

_AT: Final = {
    "customer_cash_balance_transaction": "/v1/customers/{customer}/cash_balance_transactions/{id}",
    "checkout.session": "/v1/checkout/sessions/{id}",
}
"""Where an object is, if not at its name's plural."""


def iso(seconds: float) -> str:
    """A time as v2 writes it."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def thin_type(kind: str) -> str | None:
    """The thin event's type, None where there is none."""
    return None if kind.startswith(_WITHOUT_THIN) else f"v1.{kind}"


def thin_id(snapshot_id: str) -> str:
    """The thin event's id."""
    return _PREFIX + snapshot_id.removeprefix("evt_")


def snapshot_id(ident: str) -> str | None:
    """The id of the snapshot behind a thin event's id; None: it has none."""
    return "evt_" + ident.removeprefix(_PREFIX) if ident.startswith(_PREFIX) else None


def thin(event: Obj) -> Obj:
    """The thin event of a snapshot event, as retrieved and as sent."""
    shown: Obj = {
        "id": thin_id(event["id"]),
        "object": TABLE_KIND,
        "created": iso(event["created"]),
        "livemode": event["livemode"],
        "snapshot_event": event["id"],
        "type": f"v1.{event['type']}",
    }
    related = _related(event["data"]["object"])
    if related is not None:
        shown["related_object"] = related
    asked = event["request"]
    if asked["id"] is not None:
        request = {"id": asked["id"], "idempotency_key": asked["idempotency_key"] or ""}
        shown["reason"] = {"type": "request", "request": request}
    return shown


def stored(event: Obj) -> Obj:
    """An event that has no snapshot, as retrieved and as sent."""
    return {**event, "created": iso(event["created"])}


def _related(obj: Obj) -> Obj | None:
    kind = obj["object"]
    if kind in _SINGLE:
        return {"type": kind, "url": _SINGLE[kind].format_map(obj)}
    if "id" not in obj:
        return None
    path = _AT.get(kind) or f"/v1/{kind.replace('.', '/')}s/{{id}}"
    return {"id": obj["id"], "type": kind, "url": path.format_map(obj)}
