"""/events and /replays: the inbox, what its events did, and putting one back to be processed again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import event_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.event_bodies import Words
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.routing import api_key, guarded_router, json_answer, needs
from tallystick.api.values import Moment
from tallystick.app import App
from tallystick.idempotency import Claim
from tallystick.pipeline.operations.audit import Order, Replay, get_replay, list_replays
from tallystick.pipeline.operations.dead_letters import discards_of
from tallystick.pipeline.operations.preview import preview
from tallystick.pipeline.operations.replay import replay_event
from tallystick.pipeline.views.events import get_event, list_events
from tallystick.pipeline.views.selection import EventStatus, Selection

Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=500)]


def order_of(request: Request, why: bodies.Why) -> Order:
    """The key that asks, and its reason."""
    key = api_key(request)
    return Order(f"{key.name} ({key.id})", why.reason)


def event_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "events")
    _add_reading(router, app)
    _add_replays(router, app)
    return router


def _add_reading(router: APIRouter, app: App) -> None:
    @router.get(
        "/events", name="list_events", response_model=bodies.EventPage, openapi_extra=needs(Scope.EVENTS_READ)
    )
    async def get_events(
        *,
        status: EventStatus | None = None,
        type: Annotated[Words | None, Query(description="A shell pattern, e.g. charge.*")] = None,  # noqa: A002
        created_after: Moment | None = None,
        created_before: Moment | None = None,
        received_after: Moment | None = None,
        received_before: Moment | None = None,
        error: Annotated[Words | None, Query(description="Part of the error of an attempt")] = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """Stripe's events, the latest to arrive first."""
        selection = Selection(
            types=(type,) if type else (),
            statuses=(status,) if status else (),
            created_after=created_after,
            created_before=created_before,
            received_after=received_after,
            received_before=received_before,
            error=error,
        )
        async with app.engine.connect() as connection:
            found, next_cursor = await list_events(connection, selection, limit=limit, cursor=cursor)
        return json_answer(bodies.event_page(found, next_cursor))

    @router.get(
        "/events/{id}",
        name="get_event",
        response_model=bodies.EventInFull,
        openapi_extra=needs(Scope.EVENTS_READ),
    )
    async def get_one_event(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """An event with its payload, the attempts that failed, and its effects."""
        async with app.engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))
            found = await get_event(connection, id)
            discards = await discards_of(connection, id)
            seen = await preview(connection, [id])
        return json_answer(bodies.EventInFull.shown(found, seen, discards))


def _add_replays(router: APIRouter, app: App) -> None:
    once = Once(app)

    @router.post(
        "/events/{id}/replay",
        name="replay_event",
        response_model=bodies.Replay,
        openapi_extra=needs(Scope.EVENTS_REPLAY),
    )
    async def post_event_replay(request: Request, id: str, body: bodies.Why) -> Response:  # noqa: A002
        """Put an event back to be processed again; what it has done is not done a second time."""

        async def work(claim: Claim) -> Replay:
            async with app.engine.begin() as connection:
                replay_id = await replay_event(connection, id, order_of(request, body))
                await claim.start(connection, replay_id)
                replay = await get_replay(connection, replay_id)
                await claim.finish(connection, replay)
            app.bell.ring([id])
            return replay

        return await once.answer(request, body, work, bodies.Replay.of, status=200)

    @router.get(
        "/replays",
        name="list_replays",
        response_model=bodies.ReplayPage,
        openapi_extra=needs(Scope.EVENTS_READ),
    )
    async def get_replays(limit: Limit = 20, cursor: Cursor = None) -> Response:
        """Who replayed what, when, why, and what came of it; the latest first."""
        async with app.engine.connect() as connection:
            found, next_cursor = await list_replays(connection, limit=limit, cursor=cursor)
        return json_answer(bodies.replay_page(found, next_cursor))
