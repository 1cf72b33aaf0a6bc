"""``tallystick ledger suspense``."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.event_views import clock
from tallystick.cli.output import Json, amount, out, print_json, show
from tallystick.db.session import snapshot
from tallystick.ledger.suspense import SuspenseItem, open_items, suspense_balances


def suspense(as_json: Json = False) -> None:
    """List what moved for a reason that no rule knew, and that no journal entry has cleared yet."""

    async def work(engine: AsyncEngine) -> tuple[list[SuspenseItem], dict[str, int]]:
        async with snapshot(engine) as connection:
            return await open_items(connection), await suspense_balances(connection)

    items, balances = with_engine(work)
    if as_json:
        print_json({"object": "suspense", "data": [asdict(item) for item in items], "balances": balances})
        return
    rows = [
        (
            item.source,
            item.kind,
            clock(item.occurred_at),
            item.currency.upper(),
            amount(item.amount, item.currency),
            amount(item.left, item.currency),
            item.description,
        )
        for item in items
    ]
    columns = ("source", "kind", "occurred at", "currency", "amount", "left", "description")
    show("Suspense", columns, rows, right=("amount", "left"))
    for currency, balance in balances.items():
        out.print(f"total {currency.upper()} {amount(balance, currency)}", highlight=False)
