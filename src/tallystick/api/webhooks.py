"""POST /webhooks/stripe: verify the raw bytes, store them, say so. Raw ASGI, before FastAPI.

200 means that the event is committed, duplicates too. The body is read as JSON only after its signature
holds, and only for what the inbox needs; what the event means is the worker's affair.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from starlette.types import Message, Receive, Scope, Send

from tallystick.app import App
from tallystick.errors import LivemodeMismatchError, MethodNotAllowedError, SignatureError, TallystickError
from tallystick.monitoring import metrics
from tallystick.pipeline.incoming import IncomingEvent, read_event
from tallystick.stripe_gateway.signature import verify

log = structlog.get_logger(__name__)

PATH: Final = "/webhooks/stripe"

_RECEIVED: Final = b'{"received":true}'
_STORED: Final = metrics.WEBHOOKS.labels("stored")
_DUPLICATE: Final = metrics.WEBHOOKS.labels("duplicate")


class StripeWebhook:
    """The endpoint that Stripe delivers to. Raises TallystickError for a refusal."""

    def __init__(self, app: App) -> None:
        self._inbox = app.inbox
        self._keyring = app.keyring
        self._tolerance_s = app.settings.webhook_tolerance_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery; ``receive`` already holds to the limit of a body."""
        begun = time.perf_counter()
        try:
            new = await self._take(scope, receive)
        except Exception as error:
            code = error.code if isinstance(error, TallystickError) else TallystickError.code
            metrics.WEBHOOKS.labels(code).inc()
            raise
        if new is None:
            return  # the sender went away in the middle
        metrics.WEBHOOK_SECONDS.observe(time.perf_counter() - begun)
        (_STORED if new else _DUPLICATE).inc()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_RECEIVED))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _RECEIVED})

    async def _take(self, scope: Scope, receive: Receive) -> bool | None:
        """Verify and store one delivery: whether it was new, None where its body did not come whole."""
        if scope["method"] != "POST":
            raise MethodNotAllowedError("Events are delivered by POST.", extra={"allow": ["POST"]})
        header = _signature(scope)
        body = await _body(receive)
        if body is None:
            return None
        secrets = self._keyring.current.webhook_secrets
        verify(body, header, secrets, tolerance_s=self._tolerance_s, now=time.time())
        event = read_event(body)
        self._check_mode(event)
        return await self._inbox.receive(event)

    def _check_mode(self, event: IncomingEvent) -> None:
        """Test and live money must not meet in one ledger; raises LivemodeMismatchError."""
        ours = self._keyring.current.livemode
        if ours is None or event.livemode is ours:
            return
        theirs, key = ("live", "test") if event.livemode else ("test", "live")
        log.error("livemode_mismatch", event_id=event.id, type=event.type, event_mode=theirs, key_mode=key)
        raise LivemodeMismatchError(
            f"This is a {theirs} event, and Tallystick runs with a {key} key of Stripe. Register this"
            f" endpoint in {key} mode only; {theirs} mode needs an installation of its own."
        )


def _signature(scope: Scope) -> str | None:
    found = [value for name, value in scope["headers"] if name == b"stripe-signature"]
    if len(found) > 1:
        raise SignatureError("There is more than one Stripe-Signature header.")
    return found[0].decode("latin-1") if found else None


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when the sender went away."""
    chunks: list[bytes] = []
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
