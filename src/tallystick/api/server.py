"""The ASGI application: what every request passes first, then the webhook endpoint, the console or FastAPI.

Run it with uvicorn on uvloop and httptools, ``access_log=False`` (requests are logged here),
``server_header=False`` and ``proxy_headers`` only behind a proxy of your own.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.api.documents import build_api
from tallystick.api.problems import problem_response, unexpected
from tallystick.api.webhooks import PATH as WEBHOOK_PATH
from tallystick.api.webhooks import StripeWebhook
from tallystick.app import App
from tallystick.errors import BodyTooLargeError, TallystickError
from tallystick.exposition.listener import PATH as METRICS_PATH
from tallystick.monitoring import metrics
from tallystick.stripe_gateway.transport import Wait, wait

log = structlog.get_logger(__name__)

_SANE_ID: Final = re.compile(rb"[0-9A-Za-z._-]{1,128}")
_SECURITY: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""What every answer carries unless it brings its own."""
CONSOLE: Final = "/console"
_LONGEST_LENGTH: Final = 18
"""Digits of a Content-Length that are worth reading."""
_HEARD: Final = ("Idempotent-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")
"""What a page of another origin may read of an answer, where it may call at all."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET: Final = (WEBHOOK_PATH, "/healthz", "/readyz", METRICS_PATH)


def create_app(app: App, console: ASGIApp | None = None) -> ASGIApp:
    """The HTTP face of an App, with a console at /console; the App's owner opens and closes it."""
    api: ASGIApp = build_api(app)
    if app.settings.cors_origins:
        api = CORSMiddleware(
            api,
            allow_origins=app.settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
            expose_headers=[
                "Idempotent-Replayed",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                "X-Request-Id",
            ],
        )
    return _Front(api, StripeWebhook(app), console or api, app.settings.body_limit)


class _Front:
    """Request ids, the limit of a body, security headers, and the last word on errors."""

    def __init__(self, api: ASGIApp, webhook: ASGIApp, console: ASGIApp, body_limit: int) -> None:
        self._api = api
        self._webhook = webhook
        self._console = console
        self._limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        method = scope["method"]
        if method == "HEAD":  # as GET is answered, without the body: for load balancers and REST clients
            scope = {**scope, "method": "GET"}
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        at_stripe = Wait()
        wait.set(at_stripe)  # uvicorn gives each request a task, and so a context, of its own
        answer = _Answer(send, request_id, state, at_stripe, bare=method == "HEAD")
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            begun = time.perf_counter()
            try:
                await self._answer(scope, receive, answer)
            finally:
                seconds = time.perf_counter() - begun
                _count(scope, answer.status, seconds)
                write = log.debug if scope["path"] in _QUIET and answer.status < 400 else log.info
                write(
                    "request",
                    method=method,
                    path=scope["path"],
                    status=answer.status,
                    duration_ms=round(seconds * 1000, 1),
                    **({"stripe_ms": _ms(at_stripe)} if at_stripe.seconds else {}),
                )

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            limited = _limited(receive, scope["headers"], self._limit)
            await self._behind(scope["path"])(scope, limited, answer)
        except TallystickError as error:
            log.info("request_refused", code=error.code)
            await self._refuse(scope, receive, answer, error)
        except Exception:
            log.exception("request_failed", path=scope["path"])
            await self._refuse(scope, receive, answer, unexpected())

    def _behind(self, path: str) -> ASGIApp:
        if path == WEBHOOK_PATH:
            return self._webhook
        return self._console if path == CONSOLE or path.startswith(f"{CONSOLE}/") else self._api

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, answer: _Answer, error: TallystickError) -> None:
        if answer.status:
            return  # too late: the answer has begun
        allow = error.extra.pop("allow", None)
        headers = {"Allow": ", ".join(allow)} if allow else {}
        await problem_response(error, answer.request_id, headers)(scope, receive, answer)


class _Answer:
    """Sends an answer with the headers that every one carries; ``status`` is 0 until it begins.

    A ``bare`` answer has no body.
    """

    def __init__(
        self, send: Send, request_id: str, state: Mapping[str, Any], at_stripe: Wait, *, bare: bool
    ) -> None:
        self._send = send
        self._state = state
        self._at_stripe = at_stripe
        self._bare = bare
        self.request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
            own = {name.lower() for name, _ in headers}
            headers += [pair for pair in _SECURITY if pair[0] not in own]
            headers += self._state.get("more_headers", ())
            if self._at_stripe.seconds:
                headers.append((b"server-timing", b"stripe;dur=%.1f" % _ms(self._at_stripe)))
            message = {**message, "headers": headers}
        elif self._bare:
            message = {**message, "body": b""}
        await self._send(message)


def _count(scope: Scope, status: int, seconds: float) -> None:
    """Count a request under its route's template; Stripe's deliveries count themselves."""
    if scope["path"] == WEBHOOK_PATH:
        return
    template = getattr(scope.get("route"), "path", metrics.OTHER)
    method = scope["method"] if scope["method"] in _METHODS else metrics.OTHER
    metrics.REQUESTS.labels(method, template, status).inc()
    metrics.REQUEST_SECONDS.labels(method, template).observe(seconds)


def _ms(waited: Wait) -> float:
    return round(waited.seconds * 1000, 1)


def _request_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The caller's id where it is a sane one, else a fresh one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return value.decode("ascii")
    return f"req_{secrets.token_hex(12)}"


def _limited(receive: Receive, headers: Sequence[tuple[bytes, bytes]], limit: int) -> Receive:
    """``receive`` that raises BodyTooLargeError as soon as the body is known to pass the limit."""
    declared: bytes = dict(headers).get(b"content-length", b"0")
    if declared.isdigit() and (len(declared) > _LONGEST_LENGTH or int(declared) > limit):
        raise _too_large(limit)
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"A body may have {limit} bytes.", extra={"limit": limit})
