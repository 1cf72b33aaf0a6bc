"""``tallystick ledger accounts-map``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.event_views import clock
from tallystick.cli.output import Json, out, print_json, show
from tallystick.ledger.revenue_map import RevenueMap
from tallystick.pipeline.account_maps import AccountMap, account_maps

app = typer.Typer(help="Which accounts of revenue sales go to.", no_args_is_help=True)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
) -> None:
    """Say whether FILE is a map that a start would take; exit code 1 and what is wrong if not."""
    rules = RevenueMap.read(file.read_text(encoding="utf-8").strip()).rules
    for rule in rules:
        named = {"product": rule.product, "price": rule.price}
        conditions = [f"{key} = {value}" for key, value in rule.metadata.items()]
        conditions += [f"{key} {value}" for key, value in named.items() if value]
        out.print(f"{rule.account}: {', '.join(conditions)}", highlight=False, markup=False)
    out.print(f"{len(rules)} rules; what none fits goes to revenue:payments.", highlight=False)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every map that was ever in force, the latest last."""

    async def work(engine: AsyncEngine) -> list[AccountMap]:
        async with engine.connect() as connection:
            return await account_maps(connection)

    found = with_engine(work)
    if as_json:
        print_json(
            [
                {"version": each.version, "since": each.since, "sha256": each.sha256, "body": each.body}
                for each in found
            ]
        )
        return
    rows = [(each.version, clock(each.since), len(each.rules.rules), each.sha256[:16]) for each in found]
    show("Maps of accounts", ("version", "in force since", "rules", "sha256"), rows)
