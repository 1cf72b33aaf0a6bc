"""POST requests with an Idempotency-Key: the first does the work, the others get its answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api.leases import Leases
from tallystick.api.problems import MEDIA_TYPE, problem
from tallystick.api.routing import api_key, request_id
from tallystick.app import App
from tallystick.errors import (
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    InvalidIdempotencyKeyError,
    TallystickError,
)
from tallystick.idempotency import (
    Claim,
    KeyedRequest,
    StartedElsewhereError,
    StoredAnswer,
    enter,
    finish,
    keyed_request,
    release,
    stored_answer,
)
from tallystick.monitoring import metrics

log = structlog.get_logger(__name__)

Result = TypeVar("Result")
Explain = Callable[[TallystickError], dict[str, object]]


@dataclass(frozen=True, slots=True)
class _Job:
    """What a POST does: the command, and how its result or its error becomes an answer."""

    work: Callable[[Claim], Awaitable[Any]]
    show: Callable[[Any], StoredAnswer]
    explain: Explain
    request_id: str


class Once:
    """Does the work of a POST once for each key."""

    def __init__(self, app: App) -> None:
        self._engine = app.engine
        self._door = app.door
        self._wait_s = app.settings.idempotency_wait_s
        self._lease_s = app.settings.idempotency_lease_s
        self._leases = Leases(app.engine, app.settings.idempotency_lease_s)

    async def answer(
        self,
        request: Request,
        body: BaseModel,
        work: Callable[[Claim], Awaitable[Result]],
        show: Callable[[Result], BaseModel],
        *,
        status: int,
        explain: Explain = lambda _error: {},
        key: str | None = None,
    ) -> Response:
        """The answer to a POST: ``show`` of what ``work`` returns.

        ``work`` gets the claim, to start in its first transaction; it may finish it in its last, which saves
        a commit. Kept under the key are successes and decisions (4xx) that come after the claim was started.
        After a 5xx the key is free at once, and a retry goes on with the same resource. ``explain`` adds to
        a problem document; ``key`` is that of a form, which sends no header. Raises what ``work`` raises when
        it is not kept.
        """

        def shown(result: Result) -> StoredAnswer:
            return StoredAnswer(status, show(result).model_dump_json().encode())

        job = _Job(work, shown, explain, request_id(request))
        keyed = _keyed(request, body, key)
        if keyed is None:
            return _response(
                await self._do(job, Claim(api_key_id=api_key(request).id, door=self._door, show=shown))
            )
        try:
            return await self._once(job, keyed)
        except (IdempotencyKeyReusedError, IdempotencyKeyInUseError) as error:
            reused = isinstance(error, IdempotencyKeyReusedError)
            metrics.IDEMPOTENT.labels("reused" if reused else "in_use").inc()
            raise

    async def _once(self, job: _Job, keyed: KeyedRequest) -> Response:
        # most keys are new: to look first would cost all of them a question to the database
        claim = Claim(keyed, timedelta(seconds=self._lease_s), api_key_id=keyed.api_key_id)
        while True:
            claim.door, claim.show = self._door, job.show
            try:
                with self._leases.renewed(claim):
                    answered = await self._do(job, claim)
                metrics.IDEMPOTENT.labels("worked").inc()
                return _response(answered)
            except StartedElsewhereError:
                found = await enter(self._engine, keyed, wait_s=self._wait_s, lease_s=self._lease_s)
            except TallystickError as error:
                # A refusal before the start may be of what the first request did: then that is the answer.
                decided = error.status < 500 and not claim.started
                kept = await stored_answer(self._engine, keyed) if decided else None
                if kept is None:
                    raise
                found = kept
            if isinstance(found, StoredAnswer):
                metrics.IDEMPOTENT.labels("replayed").inc()
                return _response(found, replayed=True)
            claim = found

    async def _do(self, job: _Job, claim: Claim) -> StoredAnswer:
        try:
            result = await job.work(claim)
            if claim.answer is not None:
                return claim.answer
            answer = job.show(result)
        except StartedElsewhereError:
            raise
        except TallystickError as error:
            error.extra.update(job.explain(error))
            if error.status >= 500 or not claim.started:
                await self._release(claim)
                raise
            answer = StoredAnswer(error.status, problem(error, job.request_id))
        except Exception:
            await self._release(claim)
            raise
        await finish(self._engine, claim, answer)
        return answer

    async def _release(self, claim: Claim) -> None:
        """The lease runs out by itself: that it cannot be let go must not hide why it has to be."""
        try:
            await release(self._engine, claim)
        except Exception as error:
            log.warning("idempotency_key_not_released", error=type(error).__name__)


def _keyed(request: Request, body: BaseModel, key: str | None) -> KeyedRequest | None:
    keys = [key] if key is not None else request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1:
        raise InvalidIdempotencyKeyError("Send one Idempotency-Key.", param="Idempotency-Key")
    # not orjson: it refuses integers past 64 bits, which the command is about to refuse in words
    canonical = json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True).encode()
    return keyed_request(api_key(request).id, keys[0], request.method, request.url.path, canonical)


def _response(answer: StoredAnswer, *, replayed: bool = False) -> Response:
    media_type = MEDIA_TYPE if answer.status >= 400 else "application/json"
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=media_type)
