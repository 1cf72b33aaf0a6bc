"""``tallystick alerts``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.alerting.record import Alert, list_alerts
from tallystick.cli.database import with_engine
from tallystick.cli.event_views import clock
from tallystick.cli.output import Json, print_json, show

app = typer.Typer(help="What is wrong, and what was.", no_args_is_help=True)

_MOST: Final = 1000


@app.command("list")
def list_(
    firing: Annotated[bool, typer.Option("--firing", help="Only those that go on.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List the alerts that the worker raised, the latest to fire first."""

    async def work(engine: AsyncEngine) -> list[Alert]:
        async with engine.connect() as connection:
            found, _ = await list_alerts(connection, status="firing" if firing else None, limit=limit)
            return found

    found = with_engine(work)
    if as_json:
        print_json([{**asdict(each), "status": each.status, "runbook": each.runbook} for each in found])
        return
    rows = [
        (
            each.name,
            each.severity,
            each.status,
            clock(each.fired_at),
            clock(each.resolved_at) if each.resolved_at else "",
            each.summary,
        )
        for each in found
    ]
    show("Alerts", ("alert", "severity", "status", "fired at", "resolved at", "summary"), rows)
