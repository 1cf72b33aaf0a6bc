"""The ASGI application: authentication, versions, idempotency, faults, errors; then a family's handler.

Handlers are synchronous, so a request changes the state in one piece: everything from the handler to the
commit happens without another request in between.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

import orjson

from tallystick.sandbox import known_parameters, limits, versions
from tallystick.sandbox.api_keys import key_of
from tallystick.sandbox.asgi import Receive, Scope, Send, cut, read_body, send_json
from tallystick.sandbox.errors import StripeError, invalid
from tallystick.sandbox.expand import expand
from tallystick.sandbox.faults import Fault
from tallystick.sandbox.forms import Form, decode
from tallystick.sandbox.idempotency import Answer, digest
from tallystick.sandbox.params import list_of, text
from tallystick.sandbox.routing import Route, Router
from tallystick.sandbox.state import Call, Sandbox
from tallystick.sandbox.store import Obj

Headers = dict[bytes, bytes]

logger = logging.getLogger(__name__)

_V2_CODES: Final = {401: "unauthorized", 403: "forbidden", 404: "not_found", 500: "internal_error"}
_EXPAND: Final = list_of(text())


@dataclass(slots=True)
class Request:
    """A request on its way through."""

    method: str
    path: str
    headers: Headers
    query: bytes
    body: bytes
    id: str
    version: str
    base_url: str
    key: str | None = None
    replayed_from: str | None = None

    @property
    def is_v2(self) -> bool:
        """Whether it speaks JSON, as the v2 API does."""
        return self.path.startswith("/v2/")


class Api:
    """Stripe's API over a Sandbox."""

    def __init__(self, sandbox: Sandbox, router: Router) -> None:
        self._sandbox = sandbox
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        sandbox = self._sandbox
        body = await read_body(receive)
        headers: Headers = dict(scope["headers"])
        version = headers.get(b"stripe-version", b"").decode("latin-1")
        host = headers.get(b"host", b"127.0.0.1").decode("latin-1")
        request = Request(
            method=scope["method"],
            path=scope["path"],
            headers=headers,
            query=scope["query_string"],
            body=body,
            id=sandbox.ids.short("req"),
            version=version or sandbox.settings.api_version,
            base_url=f"{scope.get('scheme', 'http')}://{host}",
        )
        fault = sandbox.faults.strike(request.method, request.path) if sandbox.faults.rules else None
        if fault is not None and fault.when == "before" and fault.action != "status":
            await sandbox.clock.sleep(0 if fault.action == "cut" else fault.seconds)
            if fault.action != "delay":
                await cut(scope, receive, send)
                return
        status, answer, retry = await self._answer(request, fault)
        if fault is not None and fault.when == "after":
            if fault.action in ("timeout", "delay"):
                await sandbox.clock.sleep(fault.seconds)
            if fault.action in ("timeout", "cut"):
                await cut(scope, receive, send)
                return
            if fault.action == "status":
                status, answer, retry = *self._failed(request, fault.error()), fault.should_retry
        sent = self._headers(request, retry)
        if status == 429 and b'"rate_limit"' in answer:
            sent.append(limits.REASON)
        await send_json(send, status, answer, sent)

    async def _answer(self, request: Request, fault: Fault | None) -> tuple[int, bytes, bool | None]:
        """Status, body and Stripe-Should-Retry of the answer."""
        try:
            self._sandbox.rate_limit.take(self._sandbox.settings.rate_limit, self._sandbox.clock.now())
            self._authenticate(request)
            self._check_version(request)
            route, ids = self._router.find(request.method, request.path)
            strikes = fault is not None and fault.action == "status" and fault.when == "before"
            injected = fault.error() if fault is not None and strikes else None
            if injected is not None and not injected.stored:
                status, body = self._failed(request, injected)
            else:
                status, body = await self._once(request, route, ids, self._form(request), injected)
        except StripeError as error:
            status, body = self._failed(request, error)
            return status, body, None
        return status, body, fault.should_retry if fault is not None and strikes else None

    async def _once(
        self, request: Request, route: Route, ids: tuple[str, ...], form: Form, injected: StripeError | None
    ) -> tuple[int, bytes]:
        """Do the work, unless its idempotency key has an answer already."""
        keys, key = self._sandbox.idempotency, None
        keyed = request.method == "POST" or (request.is_v2 and request.method == "DELETE")
        if keyed and (raw := request.headers.get(b"idempotency-key")):
            key = request.key = raw.decode("latin-1")
            stored = keys.begin(key, request.path, digest(form), int(self._sandbox.clock.now()))
            if stored is not None:
                request.replayed_from = stored.request_id
                return stored.status, stored.body
        answer: Answer | None = None
        try:
            await self._latency()
            status, body, lasting = self._work(request, route, ids, form, injected)
            if lasting and key is not None:
                now = int(self._sandbox.clock.now())
                answer = Answer(request.path, digest(form), status, body, request.id, now)
        finally:
            if key is not None:
                keys.finish(key, answer)
        self._sandbox.store.commit()
        return status, body

    def _work(
        self, request: Request, route: Route, ids: tuple[str, ...], form: Form, injected: StripeError | None
    ) -> tuple[int, bytes, bool]:
        """Run the handler: status, body, and whether an idempotency key keeps them."""
        sandbox = self._sandbox
        try:
            obj = self._handled(request, route, ids, form, injected)
        except StripeError as error:
            if not error.keeps_work:
                sandbox.store.rollback()
            return *self._failed(request, error), error.stored
        except Exception:
            sandbox.store.rollback()
            logger.exception("%s %s failed.", request.method, request.path)
            broken = StripeError(500, "The sandbox failed; its log says why.", kind="api_error")
            return *self._failed(request, broken), True
        shown = versions.render(obj, request.version, sandbox)
        return 200, orjson.dumps(shown, option=orjson.OPT_INDENT_2), True

    def _handled(
        self, request: Request, route: Route, ids: tuple[str, ...], form: Form, injected: StripeError | None
    ) -> Obj:
        if injected is not None:
            raise injected
        if request.method == "POST":
            limits.room_for_more(self._sandbox.store.objects, self._sandbox.settings.max_objects)
        fields = dict(form)
        wanted = _EXPAND(fields.pop("expand"), "expand") if "expand" in fields else None
        call = Call(
            sandbox=self._sandbox,
            now=int(self._sandbox.clock.now()),
            params=_checked(route, fields, request.version),
            asked=fields,
            ids=ids,
            version=request.version,
            versioned=bool(request.headers.get(b"stripe-version")),
            request_id=request.id,
            idempotency_key=request.key,
            base_url=request.base_url,
        )
        obj = route.handler(call)
        return expand(self._sandbox, obj, wanted) if wanted else obj

    def _failed(self, request: Request, error: StripeError) -> tuple[int, bytes]:
        if request.is_v2:
            return error.status, orjson.dumps({"error": _v2_error(error)}, option=orjson.OPT_INDENT_2)
        body = error.body
        if error.status != 401:  # else nobody knows whose log it would be
            account = self._sandbox.account_id
            log_url = f"https://dashboard.stripe.com/{account}/test/workbench/logs?object={request.id}"
            body = {**body, "request_log_url": log_url}
        inner = versions.render(body, request.version, self._sandbox)
        return error.status, orjson.dumps({"error": inner}, option=orjson.OPT_INDENT_2)

    async def _latency(self) -> None:
        low, high = self._sandbox.settings.latency_ms
        if high:
            await self._sandbox.clock.sleep(self._sandbox.ids.random.uniform(low, high) / 1000)

    @staticmethod
    def _form(request: Request) -> Form:
        if request.method != "POST":
            form = decode(request.query)
            if b"stripe-request-trigger" in request.headers:
                # fetch_related_object_async of the SDK 16.1 sends its own note for telemetry along.
                form.pop("usage", None)
            return form
        if request.is_v2:
            return _json(request.body)
        kind = request.headers.get(b"content-type", b"application/x-www-form-urlencoded")
        if request.body and not kind.startswith(b"application/x-www-form-urlencoded"):
            raise invalid(
                "Invalid request: the body must be form-encoded (application/x-www-form-urlencoded)."
            )
        return {**decode(request.query), **decode(request.body)} if request.query else decode(request.body)

    def _authenticate(self, request: Request) -> None:
        key = key_of(request.headers)
        asked = request.headers.get(b"stripe-account", b"").decode("latin-1")
        if asked and asked != self._sandbox.account_id:
            raise StripeError(
                403,
                f"The provided key '{key[:8]}***' does not have access to account '{asked}' (or that account"
                " does not exist). Application access may have been revoked.",
                code="account_invalid",
            )
        self._sandbox.restricted_keys.check(key, request.method, request.path, self._sandbox.account_id)

    def _check_version(self, request: Request) -> None:
        asked = request.version
        if asked != self._sandbox.settings.api_version and not versions.known(asked):
            request.version = self._sandbox.settings.api_version
            raise invalid(f"Invalid Stripe API version: {asked}")

    def _headers(self, request: Request, should_retry: bool | None) -> list[tuple[bytes, bytes]]:
        headers = [
            # by the clock that dates the events: who orders both must not find an answer older than its event
            (b"date", formatdate(self._sandbox.clock.now(), usegmt=True).encode()),
            (b"request-id", request.id.encode()),
            (b"stripe-version", request.version.encode("latin-1")),
        ]
        if request.key is not None:
            headers.append((b"idempotency-key", request.key.encode("latin-1")))
        if request.replayed_from is not None:
            headers.append((b"idempotent-replayed", b"true"))
            headers.append((b"original-request", request.replayed_from.encode()))
        if should_retry is not None:
            headers.append((b"stripe-should-retry", b"true" if should_retry else b"false"))
        return headers


def _checked(route: Route, fields: Form, version: str) -> Form:
    """The parameters typed: first what Stripe's spec has, then what the family takes of it."""
    known_parameters.check(route.call, fields, version)
    try:
        return route.params(fields)
    except StripeError as error:
        raise known_parameters.told_apart(error) from None


def _v2_error(error: StripeError) -> Obj:
    """An error as v2 shows it: every one has a code, none has a param."""
    body = error.body
    code = body.get("code") or _V2_CODES.get(error.status, "invalid_fields")
    message, param = body["message"], body.get("param", "")
    told = message if param in message else f"{param}: {message}"
    return {"code": code, "message": told, "type": body["type"]}


def _json(body: bytes) -> Form:
    if not body:
        return {}
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON: {error}", code="invalid_fields") from None
    if not isinstance(values, dict):
        raise invalid("The body must be a JSON object.", code="invalid_fields")
    return values
