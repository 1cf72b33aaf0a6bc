"""``tallystick events audit``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.event_views import clock
from tallystick.cli.output import Json, err, print_json, show
from tallystick.cli.times import Moment
from tallystick.pipeline.pulls import gap_audit, listings


def audit(
    *,
    now: Annotated[bool, typer.Option("--now", help="Have a worker audit at once.")] = False,
    since: Moment = None,
    as_json: Json = False,
) -> None:
    """Show how far Stripe's lists are read, and how much came by no other way.

    --since TIME has a worker audit the inbox again from then on, at once. TIME is 2026-11-24T08:30:00Z, or an
    age as 12d; Stripe keeps events for 30 days.
    """

    async def work(engine: AsyncEngine) -> list[dict[str, Any]]:
        async with engine.begin() as connection:
            if now or since is not None:
                await listings.read_at_once(connection, gap_audit.NAME, since=since)
            return await listings.standing(connection)

    found = with_engine(work)
    if as_json:
        print_json(found)
        return
    columns = ("list", "read through", "rows", "new", "new in all")
    rows = [
        (each["name"], clock(each["through"]), each["seen"], each["found"], each["found_in_all"])
        for each in found
    ]
    show("Stripe's lists", columns, rows, right=columns[2:])
    if now or since is not None:
        err.print("A worker takes it up within a minute.")
