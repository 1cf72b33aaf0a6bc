"""Dead letters: the list with its counts, one with every attempt, and putting back or discarding them."""

from __future__ import annotations

from starlette.responses import Response

from tallystick.api import event_bodies as bodies
from tallystick.api.events import order_of
from tallystick.api.keys import Scope
from tallystick.console.fields import PAGE, Cursor, Time
from tallystick.console.routing import Pages
from tallystick.console.visits import Done, NoQuery, Query, Visit
from tallystick.pipeline.operations import dead_letters, letter_piles
from tallystick.pipeline.operations.dead_letters import LetterKind, Wanted
from tallystick.pipeline.views.state import read_dead_letters

_LISTED = "/console/dead-letters"


class LetterQuery(Query):
    """What the list is narrowed to."""

    kind: LetterKind | None = None
    type: bodies.Words | None = None
    code: bodies.Words | None = None
    dead_after: Time | None = None
    dead_before: Time | None = None
    cursor: Cursor = None

    def wanted(self) -> Wanted:
        """As the reader takes it."""
        return Wanted(self.kind, self.type, self.code, self.dead_after, self.dead_before)


def dead_letter_pages(pages: Pages) -> None:
    """The pages below /console/dead-letters."""
    _add_reading(pages)
    _add_commands(pages)
    _add_pile(pages)


def _add_reading(pages: Pages) -> None:
    @pages.get("/dead-letters", Scope.EVENTS_READ)
    async def letters(visit: Visit) -> Response:
        query = visit.query(LetterQuery)
        async with visit.app.engine.connect() as connection:
            found = await dead_letters.list_dead_letters(
                connection, query.wanted(), limit=PAGE, cursor=query.cursor
            )
            piles = await read_dead_letters(connection)
        return visit.page(
            "dead_letters.html",
            query=query,
            kinds=list(LetterKind),
            page=bodies.dead_letter_page(*found),
            piles=piles,
            in_all=sum(each.count for each in piles),
        )

    @pages.get("/dead-letters/{id}", Scope.EVENTS_READ)
    async def letter(visit: Visit) -> Response:
        visit.query(NoQuery)
        async with visit.app.engine.connect() as connection:
            found = await dead_letters.get_dead_letter(connection, visit.name("id"))
        return visit.page("dead_letter.html", letter=bodies.DeadLetterInFull.shown(found))


def _add_commands(pages: Pages) -> None:
    @pages.post("/dead-letters/replay", Scope.EVENTS_REPLAY)
    async def replay(visit: Visit) -> Response:
        """Put the selected ones back, all of them or none."""
        ids, order = visit.chosen("id"), order_of(visit.request, visit.answers(bodies.Why))
        async with visit.app.engine.begin() as connection:
            for each in sorted(ids):
                await dead_letters.replay_dead_letter(connection, each, order)
        visit.app.bell.ring([each for each in ids if each.startswith("evt_")])
        return visit.go(_LISTED, done=Done.REPLAYED)

    @pages.post("/dead-letters/discard", Scope.EVENTS_REPLAY)
    async def discard(visit: Visit) -> Response:
        """Discard the selected ones, all of them or none."""
        ids, order = visit.chosen("id"), order_of(visit.request, visit.answers(bodies.Why))
        async with visit.app.engine.begin() as connection:
            for each in sorted(ids):
                await dead_letters.discard_dead_letter(connection, each, order)
        page = f"{_LISTED}/{ids[0]}" if len(ids) == 1 else _LISTED
        return visit.go(page, done=Done.DISCARDED)


def _add_pile(pages: Pages) -> None:
    @pages.post("/dead-letters/replay-all", Scope.EVENTS_REPLAY)
    async def replay_all(visit: Visit) -> Response:
        """Put all back that fit the filter."""
        wanted = visit.answers(LetterQuery).wanted()
        order = order_of(visit.request, visit.answers(bodies.Why))
        replay_id = await letter_piles.replay_pile(visit.app.engine, wanted, order, ring=visit.app.bell.ring)
        return visit.go(f"/console/replays/{replay_id}", done=Done.REPLAYED)
