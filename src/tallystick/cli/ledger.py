"""``tallystick ledger``."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import Any

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.ledger_export import export
from tallystick.cli.ledger_proof import balance, seals, verify
from tallystick.cli.ledger_rebuild import rebuild
from tallystick.cli.output import Json, amount, out, print_json
from tallystick.ledger.balances import AccountBalance, totals, trial_balance

app = typer.Typer(help="The double-entry ledger.", no_args_is_help=True)
app.command("export")(export)
app.command("verify")(verify)
app.command("seals")(seals)
app.command("balance")(balance)
app.command("rebuild")(rebuild)


@app.command("trial-balance")
def trial_balance_(as_json: Json = False) -> None:
    """Every account's balance; exit code 1 if debits and credits differ in any currency."""

    async def work(engine: AsyncEngine) -> list[AccountBalance]:
        async with engine.connect() as connection:
            return await trial_balance(connection)

    rows = with_engine(work)
    sums = totals(rows)
    if as_json:
        print_json(
            {
                "object": "trial_balance",
                "data": [{**asdict(row), "balance": row.balance} for row in rows],
                "totals": [{**asdict(total), "balanced": total.balanced} for total in sums],
            }
        )
    elif not rows:
        out.print("The ledger is empty.")
    else:
        out.print(trial_balance_table(rows))
    if not all(total.balanced for total in sums):
        raise typer.Exit(1)


def trial_balance_table(rows: list[AccountBalance]) -> Table:
    """The trial balance as accountants lay it out: debit and credit balances side by side."""
    made = Table(title="Trial balance", title_justify="left", header_style="bold", show_footer=False)
    made.add_column("account")
    made.add_column("currency")
    made.add_column("debit", justify="right")
    made.add_column("credit", justify="right")
    sums = {total.currency: total for total in totals(rows)}
    for currency, accounts in groupby(rows, key=lambda row: row.currency):
        for row in accounts:
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
