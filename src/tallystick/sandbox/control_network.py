"""Control calls on what lies between the sandbox and others: deliveries, secrets, faults."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from tallystick.sandbox import webhook_endpoints
from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.events import ENDPOINTS, wants
from tallystick.sandbox.store import Obj
from tallystick.sandbox.versions import dated


def deliver(control: Control) -> Obj:
    """Send an event again to every endpoint that listens to it (or to ``endpoint``): ``times`` times,
    signed with a ``wrong_secret``, or in another ``api_version`` than the endpoint's."""
    sandbox, body = control.sandbox, control.body
    event = sandbox.call().find("event", control.ids[0])
    version, times = body.get("api_version"), int(control.number("times", 1))
    if version is not None and not dated(version):
        raise StripeError(400, f"Invalid API version: {version}")
    endpoints = [
        endpoint
        for kind in ENDPOINTS
        for endpoint in sandbox.store.tables[kind].rows.values()
        if (endpoint["id"] == body["endpoint"] if "endpoint" in body else wants(endpoint, event["type"]))
    ]
    spoilt = {"wrong_secret": bool(body.get("wrong_secret", False)), "api_version": version}
    made = [
        delivery
        for endpoint in endpoints
        for delivery in sandbox.deliveries.send_again(event, endpoint, times=times, **spoilt)
    ]
    return {"deliveries": [delivery.key for delivery in made]}


def deliveries(control: Control) -> Obj:
    """The delivery log, newest first (``limit``, ``state``, ``event``, ``endpoint``), and what is pending."""
    log, query = control.sandbox.deliveries, control.query
    limit = int(query.get("limit", "100"))
    asked = {name: query[name] for name in ("state", "event", "endpoint") if name in query}
    rows: list[Obj] = []
    for delivery in reversed(log.log.values()):
        if len(rows) >= limit:
            break
        if all(getattr(delivery, name) == value for name, value in asked.items()):
            rows.append(asdict(delivery))
    counts: dict[str, int] = {}
    for delivery in log.log.values():
        counts[delivery.state] = counts.get(delivery.state, 0) + 1
    return {"pending": log.pending(), "counts": counts, "deliveries": rows, "policy": log.disorder.shown()}


def set_policy(control: Control) -> Obj:
    """Set how deliveries misbehave, by one rule or several as ``rules``; an empty body: not at all."""
    control.sandbox.deliveries.disorder.set(control.body)
    return control.sandbox.deliveries.disorder.shown()


def add_fault(control: Control) -> Obj:
    """Add a fault rule, or several as ``rules``."""
    rules = control.body.get("rules", [control.body])
    return {"faults": [asdict(control.sandbox.faults.add(rule)) for rule in rules]}


def show_faults(control: Control) -> Obj:
    """The fault rules."""
    return {"faults": control.sandbox.faults.shown()}


def remove_faults(control: Control) -> Obj:
    """Remove one fault rule, or all."""
    return {"removed": control.sandbox.faults.remove(*control.ids)}


def rotate_secret(control: Control) -> Obj:
    """Give an endpoint a new secret; the old one signs beside it for ``keep_seconds`` (default a day)."""
    return webhook_endpoints.rotate(control.call(), control.number("keep_seconds", 86400))


CONTROLS: Final[Controls] = {
    ("POST", "events", "{}", "deliver"): deliver,
    ("GET", "deliveries"): deliveries,
    ("POST", "deliveries", "policy"): set_policy,
    ("POST", "faults"): add_fault,
    ("GET", "faults"): show_faults,
    ("DELETE", "faults"): remove_faults,
    ("DELETE", "faults", "{}"): remove_faults,
    ("POST", "webhook_endpoints", "{}", "rotate_secret"): rotate_secret,
    ("POST", "event_destinations", "{}", "rotate_secret"): rotate_secret,
}
