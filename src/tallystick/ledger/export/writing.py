"""Writes an export: drives a format's writer over the stream, and holds the result against the books."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import date
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import LedgerInconsistentError
from tallystick.ledger.export.books import Books, ExportAccount, Period, open_books
from tallystick.ledger.export.reductions import Transactions, by_day, in_currency
from tallystick.ledger.export.writer import Writer

_CHUNK: Final = 64 * 1024


async def export(
    engine: AsyncEngine,
    writer: Writer,
    period: Period,
    *,
    summarize: bool = False,
    currency: str | None = None,
    patient: bool = False,
) -> AsyncGenerator[bytes, None]:
    """The ledger of a period in chunks, in constant memory. Close the iterator when you stop before its end.

    The first chunk is made when all that can be refused has been. At the end the sums of what was written
    are held against the ledger's own balances: raises LedgerInconsistentError when they differ. A ``patient``
    one waits for its reader for as long as that takes.
    """
    async with (
        open_books(engine, period, patient=patient) as whole,
        aclosing(whole.transactions()) as all_transactions,
    ):
        books: Books = whole
        transactions: Transactions = all_transactions
        if currency is not None:
            books, transactions = whole.only(currency), in_currency(transactions, currency)
        if summarize:
            transactions = by_day(transactions)
        buffer = bytearray()
        async with aclosing(_parts(writer, books, transactions)) as parts:
            async for part in parts:
                buffer += part
                if len(buffer) >= _CHUNK:
                    yield bytes(buffer)
                    buffer.clear()
        yield bytes(buffer)


async def _parts(writer: Writer, books: Books, transactions: Transactions) -> AsyncGenerator[bytes, None]:
    running = dict.fromkeys(books.accounts.values(), 0) | dict(books.opening)
    moved: set[ExportAccount] = set()
    day: date | None = None
    async for item in transactions:
        if day is None:
            yield writer.begin(books, books.period.first or item.on)
        elif (item.on.year, item.on.month) != (day.year, day.month):
            yield writer.balances(_end_of_month(day), {each: running[each] for each in sorted(moved)})
            moved.clear()
        day = item.on
        for account, amount in item.entries:
            running[account] += amount
            moved.add(account)
        yield writer.transaction(item)
    if day is None:
        yield writer.begin(books, books.period.first)
    _check(running, books.closing)
    if (last := books.period.last or day or books.period.first) is not None:
        yield writer.balances(last, dict(sorted(books.closing.items())))
    yield writer.end()


def _end_of_month(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])


def _check(written: Mapping[ExportAccount, int], closing: Mapping[ExportAccount, int]) -> None:
    """What was written adds up to what the ledger says stood at the end."""
    for account, balance in closing.items():
        if written[account] != balance:
            raise LedgerInconsistentError(
                f"The entries of {account.name} in {account.currency} add up to {written[account]},"
                f" and its balance is {balance}: run 'tallystick ledger verify'."
            )
