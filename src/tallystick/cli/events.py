"""``tallystick events``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.output import Json, print_json, show
from tallystick.pipeline.events import list_events

app = typer.Typer(help="The inbox of Stripe events.", no_args_is_help=True)


class Status(StrEnum):
    """Where an event stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    IGNORED = "ignored"
    DEAD = "dead"
    DISCARDED = "discarded"


_STYLE: Final = {"dead": "red", "pending": "yellow", "processed": "green"}


@app.command("list")
def list_(
    status: Annotated[Status | None, typer.Option(help="Only events in this state.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only this type.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: Json = False,
) -> None:
    """List events, the latest to arrive first."""

    async def work(engine: AsyncEngine) -> list[dict[str, Any]]:
        async with engine.connect() as connection:
            return await list_events(connection, status=status, event_type=event_type, limit=limit)

    rows = with_engine(work)
    if as_json:
        print_json({"data": rows})
        return
    shown = [
        (
            row["id"],
            row["type"],
            f"[{_STYLE.get(row['status'], 'white')}]{row['status']}[/]",
            row["attempts"] or "",
            f"{row['received_at']:%Y-%m-%d %H:%M:%S}",
            row["last_error"],
        )
        for row in rows
    ]
    columns = ("event", "type", "status", "failed attempts", "received (UTC)", "last error")
    show("Events", columns, shown, right=("failed attempts",))
