"""The control API under ``/_control``: JSON, no key. It does what customers, time and bad luck do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from tallystick.sandbox import balance, confirmation, refunds, webhook_endpoints
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.events import wants
from tallystick.sandbox.faults import FaultError
from tallystick.sandbox.forms import decode
from tallystick.sandbox.http import Receive, Scope, Send, read_body, send_json
from tallystick.sandbox.settings import SettingError
from tallystick.sandbox.state import Sandbox
from tallystick.sandbox.store import Obj

logger = logging.getLogger(__name__)

PREFIX: Final = "/_control"

_SETTLING: Final = {confirmation.SETTLE, refunds.FINISH}


@dataclass(frozen=True, slots=True)
class Control:
    """A control call: the id in the path, the JSON body, the query."""

    sandbox: Sandbox
    body: Mapping[str, Any]
    ids: tuple[str, ...] = ()
    base_url: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


def authenticate(control: Control) -> Obj:
    """Answer a PaymentIntent's authentication: ``outcome`` is succeed or fail. Shows the PaymentIntent."""
    outcome = control.body.get("outcome", "succeed")
    if outcome not in ("succeed", "fail"):
        raise StripeError(400, "outcome must be succeed or fail.")
    call = control.sandbox.call(base_url=control.base_url)
    intent = call.find("payment_intent", control.ids[0])
    try:
        confirmation.authenticated(call, intent, success=outcome == "succeed")
    except StripeError as error:
        if not error.keeps_work:
            raise
        # Declined after authentication: the PaymentIntent tells.
    return intent


def settle(control: Control) -> Obj:
    """Bring all pending settlements and refunds due now; with ``funds`` also make pending funds available."""
    actions = _SETTLING | ({balance.RELEASE} if control.body.get("funds") else set())
    return {"settled": control.sandbox.timers.fire_all(actions)}


def show_settings(control: Control) -> Obj:
    """The settings in force."""
    return control.sandbox.settings.shown()


def change_settings(control: Control) -> Obj:
    """Replace some settings."""
    control.sandbox.change_settings(dict(control.body))
    return control.sandbox.settings.shown()


def deliver(control: Control) -> Obj:
    """Send an event again to every endpoint that listens to it (or to ``endpoint``)."""
    sandbox, body = control.sandbox, control.body
    event = sandbox.call().find("event", control.ids[0])
    endpoints = [
        endpoint
        for endpoint in sandbox.store.tables["webhook_endpoint"].rows.values()
        if (endpoint["id"] == body["endpoint"] if "endpoint" in body else wants(endpoint, event["type"]))
    ]
    times, wrong = int(body.get("times", 1)), bool(body.get("wrong_secret", False))
    made = [
        delivery
        for endpoint in endpoints
        for delivery in sandbox.deliveries.send_again(event, endpoint, times=times, wrong_secret=wrong)
    ]
    return {"deliveries": [delivery.key for delivery in made]}


def deliveries(control: Control) -> Obj:
    """The delivery log, newest first (``limit``, ``state``, ``event``), and how many are pending."""
    log, query = control.sandbox.deliveries, control.query
    limit = int(query.get("limit", "100"))
    rows: list[Obj] = []
    for delivery in reversed(log.log.values()):
        if len(rows) >= limit:
            break
        if query.get("state", delivery.state) == delivery.state and (
            query.get("event", delivery.event) == delivery.event
        ):
            rows.append(asdict(delivery))
    counts: dict[str, int] = {}
    for delivery in log.log.values():
        counts[delivery.state] = counts.get(delivery.state, 0) + 1
    return {"pending": log.pending(), "counts": counts, "deliveries": rows, "policy": log.policy()}


def set_policy(control: Control) -> Obj:
    """Set how deliveries misbehave; an empty body: not at all."""
    try:
        control.sandbox.deliveries.set_policy(control.body)
    except TypeError as error:
        raise StripeError(400, f"Unknown field in the policy: {error}") from error
    return control.sandbox.deliveries.policy()


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
    call = control.sandbox.call(ids=control.ids)
    return webhook_endpoints.rotate(call, float(control.body.get("keep_seconds", 86400)))


def reset(control: Control) -> Obj:
    """Forget everything."""
    control.sandbox.reset()
    return {"reset": True}


def state(control: Control) -> Obj:
    """Counts by object, what is pending, the time, and the balances."""
    sandbox = control.sandbox
    return {
        "objects": {kind: len(table.rows) for kind, table in sandbox.store.tables.items()},
        "timers": len(sandbox.timers.pending),
        "deliveries_pending": sandbox.deliveries.pending(),
        "idempotency_keys": sandbox.idempotency.count(),
        "balances": sandbox.balances,
        "now": sandbox.clock.now(),
        "account": sandbox.account_id,
    }


Handler = Callable[[Control], Obj]

_CALLS: Final[dict[tuple[str, ...], Handler]] = {
    ("POST", "payment_intents", "{}", "authenticate"): authenticate,
    ("POST", "settle"): settle,
    ("GET", "settings"): show_settings,
    ("POST", "settings"): change_settings,
    ("POST", "events", "{}", "deliver"): deliver,
    ("GET", "deliveries"): deliveries,
    ("POST", "deliveries", "policy"): set_policy,
    ("POST", "faults"): add_fault,
    ("GET", "faults"): show_faults,
    ("DELETE", "faults"): remove_faults,
    ("DELETE", "faults", "{}"): remove_faults,
    ("POST", "webhook_endpoints", "{}", "rotate_secret"): rotate_secret,
    ("POST", "reset"): reset,
    ("GET", "state"): state,
}


def _find(method: str, path: str) -> tuple[Handler, tuple[str, ...]] | None:
    parts = tuple(path.removeprefix(PREFIX).strip("/").split("/"))
    exact = _CALLS.get((method, *parts))
    if exact is not None:
        return exact, ()
    if len(parts) >= 2:
        found = _CALLS.get((method, parts[0], "{}", *parts[2:]))
        if found is not None:
            return found, (parts[1],)
    return None


async def answer(sandbox: Sandbox, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a control call."""
    body = await read_body(receive)
    found = _find(scope["method"], scope["path"])
    if found is None:
        await send_json(send, 404, orjson.dumps({"error": {"message": "No such control call."}}))
        return
    status, shown = _run(sandbox, found[0], found[1], scope, body)
    await send_json(send, status, orjson.dumps(shown))


def _object(body: bytes) -> Obj:
    values = orjson.loads(body) if body else {}
    if not isinstance(values, dict):
        raise StripeError(400, "The body must be a JSON object.")
    return values


def _run(
    sandbox: Sandbox, handler: Handler, ids: tuple[str, ...], scope: Scope, body: bytes
) -> tuple[int, Obj]:
    host = dict(scope["headers"]).get(b"host", b"127.0.0.1").decode("latin-1")
    try:
        values = _object(body)
        control = Control(
            sandbox, values, ids, f"{scope.get('scheme', 'http')}://{host}", decode(scope["query_string"])
        )
        shown = handler(control)
    except StripeError as error:
        sandbox.store.rollback()
        return error.status, {"error": error.body}
    except (SettingError, FaultError, ValueError) as error:
        sandbox.store.rollback()
        return 400, {"error": {"message": str(error)}}
    except Exception:
        sandbox.store.rollback()
        logger.exception("The control call %s %s failed.", scope["method"], scope["path"])
        return 500, {"error": {"message": "The sandbox failed; its log says why."}}
    sandbox.store.commit()
    return 200, shown
