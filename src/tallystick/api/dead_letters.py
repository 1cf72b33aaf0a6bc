"""/dead-letters: what failed for good; replay or discard it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import event_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.event_bodies import Words
from tallystick.api.events import Cursor, Limit, order_of
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.api.values import Moment
from tallystick.app import App
from tallystick.errors import InvalidStateError
from tallystick.idempotency import Claim
from tallystick.pipeline.operations import dead_letters
from tallystick.pipeline.operations.audit import Replay, get_replay


def dead_letter_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "dead letters")
    _add_reading(router, app)
    _add_commands(router, app)
    return router


def _add_reading(router: APIRouter, app: App) -> None:
    reads = needs(Scope.EVENTS_READ)

    @router.get(
        "/dead-letters", name="list_dead_letters", response_model=bodies.DeadLetterPage, openapi_extra=reads
    )
    async def get_dead_letters(
        *,
        kind: dead_letters.LetterKind | None = None,
        type: Annotated[Words | None, Query(description="A shell pattern, e.g. charge.*")] = None,  # noqa: A002
        code: Annotated[Words | None, Query(description="The code of the last error")] = None,
        dead_after: Moment | None = None,
        dead_before: Moment | None = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """Events and balance transactions that failed for good, the latest first."""
        wanted = dead_letters.Wanted(kind, type, code, dead_after, dead_before)
        async with app.engine.connect() as connection:
            found, next_cursor = await dead_letters.list_dead_letters(
                connection, wanted, limit=limit, cursor=cursor
            )
        return json_answer(bodies.dead_letter_page(found, next_cursor))

    # before /dead-letters/{id}, which would take it for an id
    @router.get("/dead-letters/summary", response_model=bodies.DeadLetterSummary, openapi_extra=reads)
    async def get_dead_letter_summary() -> Response:
        """How many dead letters there are, and since when the oldest is one."""
        async with app.engine.connect() as connection:
            found = await dead_letters.summary(connection)
        return json_answer(bodies.DeadLetterSummary(count=found.count, oldest_at=found.oldest_at))

    @router.get(
        "/dead-letters/{id}",
        name="get_dead_letter",
        response_model=bodies.DeadLetterInFull,
        openapi_extra=reads,
    )
    async def get_one_dead_letter(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A dead letter with its payload and every attempt, tracebacks too; also one that was discarded."""
        async with app.engine.connect() as connection:
            found = await dead_letters.get_dead_letter(connection, id)
        return json_answer(bodies.DeadLetterInFull.shown(found))


def _add_commands(router: APIRouter, app: App) -> None:
    once = Once(app)
    replays = needs(Scope.EVENTS_REPLAY, InvalidStateError)

    @router.post(
        "/dead-letters/{id}/replay",
        name="replay_dead_letter",
        response_model=bodies.Replay,
        openapi_extra=replays,
    )
    async def post_dead_letter_replay(request: Request, id: str, body: bodies.Why) -> Response:  # noqa: A002
        """Put a dead letter back to be processed again."""

        async def work(claim: Claim) -> Replay:
            async with app.engine.begin() as connection:
                replay_id = await dead_letters.replay_dead_letter(connection, id, order_of(request, body))
                await claim.start(connection, replay_id)
                replay = await get_replay(connection, replay_id)
                await claim.finish(connection, replay)
            if replay.selection["kind"] == dead_letters.LetterKind.EVENT:
                app.bell.ring([id])
            return replay

        return await once.answer(request, body, work, bodies.Replay.of, status=200)

    @router.post(
        "/dead-letters/{id}/discard",
        name="discard_dead_letter",
        response_model=bodies.DeadLetterInFull,
        openapi_extra=replays,
    )
    async def post_dead_letter_discard(request: Request, id: str, body: bodies.Why) -> Response:  # noqa: A002
        """Let a dead letter have no effect; its bytes and history are kept."""

        async def work(claim: Claim) -> dead_letters.LetterInFull:
            async with app.engine.begin() as connection:
                await dead_letters.discard_dead_letter(connection, id, order_of(request, body))
                await claim.start(connection, id)
                found = await dead_letters.get_dead_letter(connection, id)
                await claim.finish(connection, found)
            return found

        return await once.answer(request, body, work, bodies.DeadLetterInFull.shown, status=200)
