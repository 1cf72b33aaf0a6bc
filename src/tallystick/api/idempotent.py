"""POST requests with an Idempotency-Key: the first does the work, the others get its answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api.problems import MEDIA_TYPE, problem
from tallystick.api.routing import api_key, request_id
from tallystick.errors import TallystickError
from tallystick.idempotency import (
    Claim,
    StartedElsewhereError,
    StoredAnswer,
    enter,
    finish,
    keyed_request,
    release,
)
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")
Explain = Callable[[TallystickError], dict[str, object]]


class Once:
    """Does the work of a POST once for each key."""

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    async def answer(
        self,
        request: Request,
        body: BaseModel,
        work: Callable[[Claim], Awaitable[T]],
        show: Callable[[T], BaseModel],
        *,
        status: int,
        explain: Explain | None = None,
    ) -> Response:
        """The answer to a POST: what ``show`` makes of the result of ``work``.

        ``work`` gets the claim to start in its first transaction; it may finish it in its last, which saves
        a commit.

        Kept under the key are successes and decisions (4xx) that come after the claim was started. After a
        5xx the key is free at once, and a retry goes on with the same resource. ``explain`` adds to a
        problem document. Raises what ``work`` raises when it is not kept.
        """

        def shown(result: T) -> StoredAnswer:
            return StoredAnswer(status, show(result).model_dump_json().encode())

        async def run(claim: Claim) -> Response:
            claim.show = shown
            return _response(await self._run(request, claim, work, shown, explain))

        key = request.headers.get("idempotency-key")
        if key is None:
            return await run(Claim())
        # not orjson: it refuses integers past 64 bits, which the command is about to refuse in words
        canonical = json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True).encode()
        keyed = keyed_request(api_key(request).id, key, request.method, request.url.path, canonical)
        while True:
            found = await enter(
                self._engine,
                keyed,
                wait_s=self._settings.idempotency_wait_s,
                lock_s=self._settings.idempotency_lock_s,
            )
            if isinstance(found, StoredAnswer):
                return _response(found, replayed=True)
            try:
                return await run(found)
            except StartedElsewhereError:
                continue

    async def _run(
        self,
        request: Request,
        claim: Claim,
        work: Callable[[Claim], Awaitable[T]],
        shown: Callable[[T], StoredAnswer],
        explain: Explain | None,
    ) -> StoredAnswer:
        try:
            result = await work(claim)
        except StartedElsewhereError:
            raise
        except TallystickError as error:
            if explain is not None:
                error.extra.update(explain(error))
            if error.status >= 500 or not claim.started:
                await self._release(claim)
                raise
            answer = StoredAnswer(error.status, problem(error, request_id(request)))
            await finish(self._engine, claim, answer)
            return answer
        except Exception:
            await self._release(claim)
            raise
        if claim.answer is None:
            claim.answer = shown(result)
            await finish(self._engine, claim, claim.answer)
        return claim.answer

    async def _release(self, claim: Claim) -> None:
        """The lock ages out by itself: that it cannot be let go must not hide why it has to be."""
        try:
            await release(self._engine, claim)
        except Exception as error:
            log.warning("idempotency_key_not_released", error=type(error).__name__)


def _response(answer: StoredAnswer, *, replayed: bool = False) -> Response:
    media_type = MEDIA_TYPE if answer.status >= 400 else "application/json"
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=media_type)
