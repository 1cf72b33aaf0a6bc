"""``tallystick ledger``."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.api import ledger_bodies as bodies
from tallystick.cli import ledger_accounts_map
from tallystick.cli.database import with_engine
from tallystick.cli.ledger_export import export
from tallystick.cli.ledger_proof import balance, seals, verify
from tallystick.cli.ledger_reading import (
    From,
    To,
    accounts,
    check_period,
    payout,
    show_transaction,
    statement,
    transactions,
)
from tallystick.cli.ledger_rebuild import rebuild
from tallystick.cli.ledger_suspense import suspense
from tallystick.cli.output import Json, amount, out, print_json
from tallystick.cli.times import Moment
from tallystick.db.session import snapshot
from tallystick.ledger.balances import AccountBalance
from tallystick.ledger.trial_balances import PeriodBalance, period_balance, totals, trial_balance, turnovers

app = typer.Typer(help="The double-entry ledger.", no_args_is_help=True)
app.command("export")(export)
app.command("verify")(verify)
app.command("seals")(seals)
app.command("balance")(balance)
app.command("rebuild")(rebuild)
app.command("accounts")(accounts)
app.command("statement")(statement)
app.command("transactions")(transactions)
app.command("show")(show_transaction)
app.command("payout")(payout)
app.command("suspense")(suspense)
app.add_typer(ledger_accounts_map.app, name="accounts-map")


@app.command("trial-balance")
def trial_balance_(*, at: Moment = None, since: From = None, until: To = None, as_json: Json = False) -> None:
    """Every account's balance, now, at TIME, or over a period; exit code 1 if the books do not balance.

    Over a period (--from, --to): what each account opened with, what was debited and credited, and what it
    closed with. TIME is 2026-11-24, 2026-11-24T08:30:00Z, or an age as 30d; times are in UTC.
    """
    check_period(since, until)
    if since is not None or until is not None:
        if at is not None:
            raise typer.BadParameter("Ask at a time, or from one to another.")
        _over_period(since, until, as_json=as_json)
        return

    async def work(engine: AsyncEngine) -> list[AccountBalance]:
        async with snapshot(engine) as connection:
            return await trial_balance(connection, at)

    rows = with_engine(work)
    sums = totals(rows)
    if as_json:
        print_json(bodies.TrialBalance.of(rows, at).model_dump())
    elif not rows:
        out.print("The ledger is empty.")
    else:
        out.print(trial_balance_table(rows))
    if not all(total.balanced for total in sums):
        raise typer.Exit(1)


def _over_period(since: datetime | None, until: datetime | None, *, as_json: bool) -> None:
    async def work(engine: AsyncEngine) -> list[PeriodBalance]:
        async with snapshot(engine) as connection:
            return await period_balance(connection, since, until)

    rows = with_engine(work)
    sums = turnovers(rows)
    if as_json:
        print_json(bodies.PeriodTrialBalance.of(rows, since, until).model_dump(by_alias=True))
    elif not rows:
        out.print("The ledger is empty.")
    else:
        for currency, lines in groupby(rows, key=lambda row: row.currency):
            out.print(_period_table(list(lines), currency))
    if not all(total.balanced for total in sums):
        raise typer.Exit(1)


def _period_table(rows: list[PeriodBalance], currency: str) -> Table:
    """A table for each currency, so that it fits: what is positive is on the account's normal side."""
    title = f"Trial balance, {currency.upper()}"
    made = Table(title=title, title_justify="left", header_style="bold")
    made.add_column("account", overflow="fold")
    for name in ("opening", "debits", "credits", "closing"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        amounts = (row.opening, row.debits, row.credits, row.closing)
        made.add_row(row.account, *(amount(each, currency) for each in amounts))
    [total] = turnovers(rows)
    made.add_section()
    made.add_row(
        "total" if total.balanced else "total: DOES NOT BALANCE",
        "",
        amount(total.debits, currency),
        amount(total.credits, currency),
        "",
        style="bold" if total.balanced else "bold red",
    )
    return made


def trial_balance_table(rows: list[AccountBalance]) -> Table:
    """The trial balance as accountants lay it out: debit and credit balances side by side."""
    made = Table(title="Trial balance", title_justify="left", header_style="bold", show_footer=False)
    made.add_column("account")
    made.add_column("currency")
    made.add_column("debit", justify="right")
    made.add_column("credit", justify="right")
    sums = {total.currency: total for total in totals(rows)}
    for currency, lines in groupby(rows, key=lambda row: row.currency):
        for row in lines:
            made.add_row(row.account, currency.upper(), *_sides(row.debits - row.credits, currency))
        total = sums[currency]
        made.add_row(
            "total" if total.balanced else "total: DOES NOT BALANCE",
            currency.upper(),
            amount(total.debit, currency),
            amount(total.credit, currency),
            style="bold" if total.balanced else "bold red",
            end_section=True,
        )
    return made


def _sides(net: int, currency: str) -> tuple[Any, Any]:
    return (amount(net, currency), "") if net >= 0 else ("", amount(-net, currency))
