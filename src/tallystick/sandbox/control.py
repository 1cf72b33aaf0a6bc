"""The control API under ``/_control``: JSON, no key. It does what customers, time and bad luck do.

The calls are in the ``control_…`` modules and in the families' ``CONTROLS``.
"""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import unquote

import orjson

from tallystick.sandbox import control_network, control_payments, control_state, families
from tallystick.sandbox.api_keys import PermissionsError
from tallystick.sandbox.asgi import Receive, Scope, Send, read_body, send_json
from tallystick.sandbox.control_call import Control, Handler
from tallystick.sandbox.disorder import DisorderError
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.faults import FaultError
from tallystick.sandbox.forms import decode
from tallystick.sandbox.settings import SettingError
from tallystick.sandbox.state import Sandbox
from tallystick.sandbox.store import Obj

logger = logging.getLogger(__name__)

PREFIX: Final = "/_control"


def _calls() -> dict[tuple[str, ...], Handler]:
    calls: dict[tuple[str, ...], Handler] = {}
    for module in (control_network, control_payments, control_state, *families.FAMILIES):
        for route, handler in getattr(module, "CONTROLS", {}).items():
            if route in calls:
                raise ValueError(f"The control call {' '.join(route)} is defined twice.")
            calls[route] = handler
    return calls


CALLS: Final = _calls()


def _find(method: str, path: str) -> tuple[Handler, tuple[str, ...]] | None:
    parts = tuple(unquote(part) for part in path.removeprefix(PREFIX).strip("/").split("/"))
    exact = CALLS.get((method, *parts))
    if exact is not None:
        return exact, ()
    if len(parts) >= 2:
        found = CALLS.get((method, parts[0], "{}", *parts[2:]))
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
    try:
        values = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise StripeError(400, f"The body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise StripeError(400, "The body must be a JSON object.")
    return values


def _run(
    sandbox: Sandbox, handler: Handler, ids: tuple[str, ...], scope: Scope, body: bytes
) -> tuple[int, Obj]:
    host = dict(scope["headers"]).get(b"host", b"127.0.0.1").decode("latin-1")
    base_url = f"{scope.get('scheme', 'http')}://{host}"
    try:
        shown = handler(Control(sandbox, _object(body), ids, base_url, decode(scope["query_string"])))
    except StripeError as error:
        sandbox.store.rollback()
        return error.status, {"error": error.body}
    except (SettingError, FaultError, DisorderError, PermissionsError) as error:
        sandbox.store.rollback()
        return 400, {"error": {"message": str(error)}}
    except Exception:
        sandbox.store.rollback()
        logger.exception("The control call %s %s failed.", scope["method"], scope["path"])
        return 500, {"error": {"message": "The sandbox failed; its log says why."}}
    sandbox.store.commit()
    return 200, shown
