"""``tallystick ledger verify``, ``seals`` and ``balance``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.event_views import clock
from tallystick.cli.output import Json, amount, err, out, print_json, show
from tallystick.cli.times import Moment
from tallystick.ledger.balances import AccountBalance, balance_at
from tallystick.ledger.seals import Seal, is_sealed, list_seals
from tallystick.ledger.verification import Verdict
from tallystick.ledger.verification import verify as check

Head = Annotated[str | None, typer.Option(help="The head's hash as you keep it elsewhere.")]


def verify(
    since: Annotated[int, typer.Option(min=1, help="Check from this seal on; 1 checks everything.")] = 1,
    head: Head = None,
    as_json: Json = False,
) -> None:
    """Check the ledger against its seals, and balances against entries; exit code 1 if anything is wrong."""
    with Progress(SpinnerColumn(), TextColumn("{task.completed} seals checked"), console=err) as progress:
        task = progress.add_task("checking", total=None)

        async def work(engine: AsyncEngine) -> tuple[Verdict, bool]:
            verdict = await check(
                engine, first=since, watch=lambda blocks: progress.update(task, completed=blocks)
            )
            async with engine.connect() as connection:
                return verdict, head is None or await is_sealed(connection, head)

        verdict, head_found = with_engine(work)
    if as_json:
        found = {**asdict(verdict), "sound": verdict.sound and head_found, "head_found": head_found}
        print_json({"object": "ledger_verification", **found})
    else:
        _print(verdict, head_found=head_found)
    if not (verdict.sound and head_found):
        raise typer.Exit(1)


def _print(verdict: Verdict, *, head_found: bool) -> None:
    if verdict.findings:
        rows = [(each.fault, each.what, each.detail, each.block) for each in verdict.findings]
        show("What is wrong", ("fault", "what", "detail", "seal"), rows)
    if not head_found:
        out.print("[red]No seal has the hash that you keep: the chain was rewritten.[/red]")
    if verdict.sound and head_found:
        out.print(f"{verdict.blocks:,} seals and {verdict.entries:,} entries: nothing was changed.")
    if verdict.head is not None:
        out.print(f"head: {verdict.head}")


def seals(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20, as_json: Json = False) -> None:
    """List the latest seals. The first one's hash is the head: keep it where this database's owner cannot."""

    async def work(engine: AsyncEngine) -> list[Seal]:
        async with engine.connect() as connection:
            return await list_seals(connection, limit=limit)

    found = with_engine(work)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    for each in found:  # no table: a hash must be copied whole, from a narrow terminal too
        sealed = f"seal {each.id}, {clock(each.sealed_at)}, {each.transactions:,} transactions"
        out.print(f"{each.hash}  {sealed}", highlight=False, soft_wrap=True)
    if not found:
        out.print("Seals: none.")


def balance(account: str, currency: str, *, at: Moment = None, as_json: Json = False) -> None:
    """Show what stood on an account at TIME: 2026-11-24T08:30:00Z, or an age as 30d; now if none is given."""

    async def work(engine: AsyncEngine) -> AccountBalance:
        async with engine.connect() as connection:
            return await balance_at(connection, account, currency.lower(), at or datetime.now(UTC))

    found = with_engine(work)
    if as_json:
        print_json({**asdict(found), "balance": found.balance})
    else:
        shown = amount(found.balance, found.currency) or "0"
        out.print(f"{found.account} {shown} {found.currency.upper()}", highlight=False)
