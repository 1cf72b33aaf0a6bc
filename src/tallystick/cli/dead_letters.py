"""``tallystick dead-letters``."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.api import event_bodies as bodies
from tallystick.cli import event_views as views
from tallystick.cli.database import with_engine
from tallystick.cli.operator import By, Reason, order
from tallystick.cli.output import Json, out, print_json, show
from tallystick.cli.times import Moment
from tallystick.pipeline.operations import dead_letters
from tallystick.pipeline.operations.audit import Order, Replay, get_replay

app = typer.Typer(help="Events and balance transactions that failed for good.", no_args_is_help=True)

Ids = Annotated[list[str], typer.Argument(metavar="ID...")]


@app.command("list")
def list_(
    *,
    kind: Annotated[dead_letters.LetterKind | None, typer.Option(help="Only this kind.")] = None,
    letter_type: Annotated[str | None, typer.Option("--type", help="Only types like charge.*")] = None,
    code: Annotated[str | None, typer.Option(help="Only with this code of the last error.")] = None,
    dead_after: Moment = None,
    dead_before: Moment = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the latest first. TIME: 2026-11-24T08:30:00Z, or an age as 12h."""
    wanted = dead_letters.Wanted(kind, letter_type, code, dead_after, dead_before)

    async def work(engine: AsyncEngine) -> tuple[bodies.DeadLetterPage, dead_letters.Summary]:
        async with engine.connect() as connection:
            page = await dead_letters.list_dead_letters(connection, wanted, limit=limit, cursor=cursor)
            return bodies.dead_letter_page(*page), await dead_letters.summary(connection)

    page, summary = with_engine(work)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    columns = ("dead letter", "type", "failed attempts", "dead since (UTC)", "code", "last error")
    rows = [
        (
            each.id,
            each.type,
            each.failed_attempts,
            views.clock(each.dead_at),
            each.last_error.code if each.last_error else "",
            views.message(each.last_error),
        )
        for each in page.data
    ]
    show("Dead letters", columns, rows, right=("failed attempts",))
    if summary.count > len(page.data):
        out.print(f"{summary.count} in all, the oldest since {views.clock(summary.oldest_at)}.")
    if page.next_cursor:
        out.print(f"More: --cursor {page.next_cursor}", soft_wrap=True)


@app.command("show")
def show_(letter_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Show a dead letter: its payload, and every attempt with its traceback."""

    async def work(engine: AsyncEngine) -> bodies.DeadLetterInFull:
        async with engine.connect() as connection:
            return bodies.DeadLetterInFull.shown(await dead_letters.get_dead_letter(connection, letter_id))

    found = with_engine(work)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    views.facts(
        [
            ("dead letter", found.id),
            ("type", found.type),
            ("status", views.styled(found.status)),
            ("dead since", f"{views.clock(found.dead_at)} UTC"),
            ("failed attempts", found.failed_attempts),
            ("last error", views.message(found.last_error)),
        ]
    )
    views.history(found.payload, found.attempts, found.discards)


@app.command("replay")
def replay(ids: Ids, reason: Reason = None, by: By = None, as_json: Json = False) -> None:
    """Put dead letters back to be processed again, all of them or none."""
    given = order(by, reason)

    async def work(engine: AsyncEngine) -> list[Replay]:
        async with engine.begin() as connection:
            return [await _replay(connection, each, given) for each in dict.fromkeys(ids)]

    found = [bodies.Replay.of(each) for each in with_engine(work)]
    if as_json:
        print_json({"data": [each.model_dump(mode="json") for each in found]})
        return
    views.replays(found)


async def _replay(connection: AsyncConnection, letter_id: str, given: Order) -> Replay:
    return await get_replay(connection, await dead_letters.replay_dead_letter(connection, letter_id, given))


@app.command("discard")
def discard(ids: Ids, reason: Reason = None, by: By = None, as_json: Json = False) -> None:
    """Let dead letters have no effect, all of them or none; their bytes and history are kept."""
    given = order(by, reason)

    async def work(engine: AsyncEngine) -> list[bodies.DeadLetterInFull]:
        found = []
        async with engine.begin() as connection:
            for letter_id in dict.fromkeys(ids):
                await dead_letters.discard_dead_letter(connection, letter_id, given)
                found.append(await dead_letters.get_dead_letter(connection, letter_id))
        return [bodies.DeadLetterInFull.shown(each) for each in found]

    letters = with_engine(work)
    if as_json:
        print_json({"data": [each.model_dump(mode="json") for each in letters]})
        return
    for each in letters:
        out.print(f"{each.id} is discarded.")
