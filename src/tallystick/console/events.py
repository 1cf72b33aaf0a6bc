"""Events: the inbox, one event with what it did and would do, and putting it back to be processed again."""

from __future__ import annotations

from sqlalchemy import text
from starlette.responses import Response

from tallystick.api import event_bodies as bodies
from tallystick.api.events import order_of
from tallystick.api.keys import Scope
from tallystick.console.fields import PAGE, Cursor, Time
from tallystick.console.routing import Pages
from tallystick.console.visits import Done, NoQuery, Query, Visit
from tallystick.monitoring.redaction import blot_cards
from tallystick.pipeline.operations.audit import get_replay, list_replays
from tallystick.pipeline.operations.dead_letters import discards_of
from tallystick.pipeline.operations.preview import preview
from tallystick.pipeline.operations.replay import replay_event
from tallystick.pipeline.views.events import SPAN, get_event, list_events
from tallystick.pipeline.views.selection import EventStatus, Selection


class EventQuery(Query):
    """What the list is narrowed to."""

    status: EventStatus | None = None
    type: bodies.Words | None = None
    error: bodies.Words | None = None
    received_after: Time | None = None
    received_before: Time | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    cursor: Cursor = None

    def selection(self) -> Selection:
        """As the reader takes it."""
        return Selection(
            types=(self.type,) if self.type else (),
            statuses=(self.status,) if self.status else (),
            created_after=self.created_after,
            created_before=self.created_before,
            received_after=self.received_after,
            received_before=self.received_before,
            error=self.error,
        )


class ReplayQuery(Query):
    """Which page of replays."""

    cursor: Cursor = None


def event_pages(pages: Pages) -> None:
    """The pages below /console/events."""

    @pages.get("/events", Scope.EVENTS_READ)
    async def events(visit: Visit) -> Response:
        query = visit.query(EventQuery)
        async with visit.app.engine.connect() as connection:
            found = await list_events(connection, query.selection(), limit=PAGE, cursor=query.cursor)
        page = bodies.event_page(*found)
        return visit.page("events.html", query=query, statuses=list(EventStatus), page=page, span=SPAN)

    @pages.get("/events/{id}", Scope.EVENTS_READ)
    async def event(visit: Visit) -> Response:
        visit.query(NoQuery)
        async with visit.app.engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))
            found = await get_event(connection, visit.name("id"))
            discards = await discards_of(connection, found.event.id)
            seen = await preview(connection, [found.event.id])
        return visit.page(
            "event.html",
            event=bodies.EventInFull.shown(found, seen, discards),
            failing=[blot_cards(each.error) for each in seen if each.error is not None],
            ignored=any(each.ignored for each in seen),
        )

    @pages.post("/events/{id}/replay", Scope.EVENTS_REPLAY)
    async def replay(visit: Visit) -> Response:
        event_id, why = visit.name("id"), visit.answers(bodies.Why)
        async with visit.app.engine.begin() as connection:
            await replay_event(connection, event_id, order_of(visit.request, why))
        visit.app.bell.ring([event_id])
        return visit.go(f"/console/events/{event_id}", done=Done.REPLAYED)


def replay_pages(pages: Pages) -> None:
    """The pages below /console/replays: who put what back, when, why, and what came of it."""

    @pages.get("/replays", Scope.EVENTS_READ)
    async def replays(visit: Visit) -> Response:
        query = visit.query(ReplayQuery)
        async with visit.app.engine.connect() as connection:
            found = await list_replays(connection, limit=PAGE, cursor=query.cursor)
        return visit.page("replays.html", query=query, page=bodies.replay_page(*found))

    @pages.get("/replays/{id}", Scope.EVENTS_READ)
    async def replay(visit: Visit) -> Response:
        visit.query(NoQuery)
        async with visit.app.engine.connect() as connection:
            found = bodies.Replay.of(await get_replay(connection, visit.name("id")))
        return visit.page("replay.html", replay=found)
