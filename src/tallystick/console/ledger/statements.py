"""The statement of an account, as a page and as CSV."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.responses import Response

from tallystick.api.downloads import Downloads
from tallystick.api.keys import Scope
from tallystick.api.ledger import MOST_CURRENCIES, account_name, no_account
from tallystick.api.values import CurrencyCode
from tallystick.console.fields import PAGE, Cursor
from tallystick.console.ledger.periods import Days
from tallystick.console.routing import Pages
from tallystick.console.visits import Visit
from tallystick.db.session import snapshot
from tallystick.ledger.balances import AccountBalance, AccountFilter, page_of_accounts
from tallystick.ledger.export.formats import CSV_TEXT
from tallystick.ledger.export.rows import csv_rows, safe_cell
from tallystick.ledger.history import Among, TransactionFilter, list_transactions
from tallystick.ledger.statements import Statement, StatementLine, read_statement
from tallystick.money import plain_decimal

_ROWS_AT_ONCE: Final = 1000
_COLUMNS: Final = (
    "occurred_at", "transaction", "effect_key", "description", "payment", "counter_accounts", "debit",
    "credit", "balance", "currency",
)  # fmt: skip


class FileQuery(Days):
    """Which part of an account is written to a file."""

    currency: CurrencyCode


class StatementQuery(Days):
    """Which currency (the account's first, if none is given), which days, which page."""

    currency: CurrencyCode | None = None
    cursor: Cursor = None


def statement_pages(pages: Pages, downloads: Downloads) -> None:
    """The pages below /console/ledger/accounts."""

    @pages.get("/ledger/accounts/{name}", Scope.LEDGER_READ)
    async def statement(visit: Visit) -> Response:
        query, name = visit.query(StatementQuery), account_name(visit.name("name"))
        since, until = query.bounds()
        async with snapshot(visit.app.engine) as connection:
            balances = await _balances(connection, name)
            currency = query.currency or balances[0].currency
            found = await read_statement(
                connection, name, currency, since=since, until=until, limit=PAGE, cursor=query.cursor
            )
            counters = await _counter_accounts(connection, name, found.lines)
        return visit.page(
            "statement.html",
            query=query,
            statement=found,
            brought_forward=_before(found, query.cursor),
            balances=balances,
            counters=counters,
            page_path=f"/console/ledger/accounts/{name}",
        )

    @pages.get("/ledger/accounts/{name}/statement.csv", Scope.LEDGER_READ)
    async def file(visit: Visit) -> Response:
        """Every line of the period, also those of other pages."""
        query, name = visit.query(FileQuery), account_name(visit.name("name"))
        chunks = _written(visit.app.engine, name, query.currency, *query.bounds())
        return await downloads.send(chunks, CSV_TEXT, _file_name(name, query))


async def _balances(connection: AsyncConnection, name: str) -> list[AccountBalance]:
    found = (await page_of_accounts(connection, AccountFilter(name=name), limit=MOST_CURRENCIES)).items
    if not found:
        raise no_account(name)
    return found


async def _counter_accounts(
    connection: AsyncConnection, account: str, lines: Sequence[StatementLine]
) -> dict[int, list[str]]:
    """By transaction, the accounts on its other legs."""
    if not lines:
        return {}
    keys = tuple({line.effect_key for line in lines})
    page = await list_transactions(connection, TransactionFilter(among=(Among(keys=keys),)), limit=len(keys))
    return {
        item.id: list(dict.fromkeys(leg.account for leg in item.entries if leg.account != account))
        for item in page.items
    }


def _before(page: Statement, cursor: str | None) -> int:
    """What stood on the account before the first line of a page."""
    if cursor is None or not page.lines:
        return page.opening_balance
    first = page.lines[0]
    moved = first.amount if first.direction == "debit" else -first.amount
    return first.balance - page.type.signed(moved)


async def _written(
    engine: AsyncEngine, name: str, currency: str, since: datetime | None, until: datetime | None
) -> AsyncGenerator[bytes, None]:
    async with snapshot(engine) as connection:
        cursor: str | None = None
        head: list[Sequence[object]] = [_COLUMNS]
        while True:
            page = await read_statement(
                connection, name, currency, since=since, until=until, limit=_ROWS_AT_ONCE, cursor=cursor
            )
            counters = await _counter_accounts(connection, name, page.lines)
            yield csv_rows([*head, *(_row(line, counters, currency) for line in page.lines)])
            head, cursor = [], page.next_cursor
            if cursor is None:
                return


def _row(line: StatementLine, counters: dict[int, list[str]], currency: str) -> Sequence[object]:
    amount = plain_decimal(line.amount, currency)
    return (
        line.occurred_at.isoformat(),
        line.transaction_id,
        safe_cell(line.effect_key),
        safe_cell(line.description),
        safe_cell(line.payment or ""),
        " ".join(counters.get(line.transaction_id, [])),
        *((amount, "") if line.direction == "debit" else ("", amount)),
        plain_decimal(line.balance, currency),
        currency,
    )


def _file_name(account: str, query: FileQuery) -> str:
    days = "".join(f"_{day}" for day in (query.first, query.last) if day is not None)
    return f"{account.replace(':', '-')}_{query.currency}{days}.csv"
