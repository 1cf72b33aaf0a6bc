"""``tallystick events``."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.api import event_bodies as bodies
from tallystick.cli import event_views as views
from tallystick.cli.audit import audit
from tallystick.cli.database import with_engine
from tallystick.cli.output import Json, out, print_json, show
from tallystick.cli.replay import replay
from tallystick.cli.times import Moment
from tallystick.pipeline.operations.audit import list_replays
from tallystick.pipeline.operations.dead_letters import discards_of
from tallystick.pipeline.operations.preview import preview
from tallystick.pipeline.views.events import StoredEvent, get_event, list_events
from tallystick.pipeline.views.selection import EventStatus, Selection

app = typer.Typer(help="The inbox of Stripe events.", no_args_is_help=True)
replays = typer.Typer(help="The record of replays.", no_args_is_help=True)
app.add_typer(replays, name="replays")
app.command("replay")(replay)
app.command("audit")(audit)

Limit = Annotated[int, typer.Option(min=1, max=1000)]
Cursor = Annotated[str | None, typer.Option(help="Where the page before ended.")]


@app.command("list")
def list_(
    *,
    status: Annotated[EventStatus | None, typer.Option(help="Only events in this state.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only types like charge.*")] = None,
    created_after: Moment = None,
    created_before: Moment = None,
    received_after: Moment = None,
    received_before: Moment = None,
    error: Annotated[str | None, typer.Option(help="Only where an attempt's error has this text.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """List events, the latest to arrive first. TIME: 2026-11-24T08:30:00Z, or an age as 12h."""
    selection = Selection(
        types=(event_type,) if event_type else (),
        statuses=(status,) if status else (),
        created_after=created_after,
        created_before=created_before,
        received_after=received_after,
        received_before=received_before,
        error=error,
    )

    async def work(engine: AsyncEngine) -> bodies.EventPage:
        found: list[StoredEvent] = []
        place = cursor
        async with engine.connect() as connection:
            while len(found) < limit:  # a page can have fewer, where what fits is rare
                more, place = await list_events(connection, selection, limit=limit - len(found), cursor=place)
                found += more
                if place is None:
                    break
        return bodies.event_page(found, place)

    page = with_engine(work)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    shown = [
        (
            each.id,
            each.type,
            views.styled(each.status),
            each.failed_attempts or "",
            views.clock(each.received_at),
            views.message(each.last_error),
        )
        for each in page.data
    ]
    columns = ("event", "type", "status", "failed attempts", "received (UTC)", "last error")
    show("Events", columns, shown, right=("failed attempts",))
    if page.next_cursor:
        out.print(f"More: --cursor {page.next_cursor}", soft_wrap=True)


@app.command("show")
def show_(event_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Show an event: its payload, its effects, and every attempt that failed with its traceback."""

    async def work(engine: AsyncEngine) -> bodies.EventInFull:
        async with engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))
            found = await get_event(connection, event_id)
            discards = await discards_of(connection, event_id)
            return bodies.EventInFull.shown(found, await preview(connection, [event_id]), discards)

    found = with_engine(work)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    views.facts(
        [
            ("event", found.id),
            ("type", found.type),
            ("status", views.styled(found.status)),
            ("API version", found.api_version),
            ("created", f"{views.clock(found.created_at)} UTC"),
            ("received", f"{views.clock(found.received_at)} UTC"),
            ("failed attempts", found.failed_attempts or None),
            ("next attempt", views.clock(found.next_attempt_at)),
            ("last error", views.message(found.last_error)),
            ("asks Stripe", ", ".join(found.questions)),
        ]
    )
    views.effects(found.effects)
    views.history(found.payload, found.attempts, found.discards)


@replays.command("list")
def list_replays_(limit: Limit = 20, cursor: Cursor = None, as_json: Json = False) -> None:
    """List who replayed what, when, why, and what came of it; the latest first."""

    async def work(engine: AsyncEngine) -> bodies.ReplayPage:
        async with engine.connect() as connection:
            return bodies.replay_page(*await list_replays(connection, limit=limit, cursor=cursor))

    page = with_engine(work)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    views.replays(page.data)
    if page.next_cursor:
        out.print(f"More: --cursor {page.next_cursor}", soft_wrap=True)
