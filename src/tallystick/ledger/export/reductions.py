"""Less of the stream: one currency of it, or a transaction a day instead of each one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time

from tallystick.ledger.export.books import ExportAccount, ExportEntry, ExportTransaction

Transactions = AsyncIterator[ExportTransaction]


async def in_currency(transactions: Transactions, currency: str) -> Transactions:
    """The legs in one currency; they balance, as every currency of a ledger transaction does."""
    async for item in transactions:
        legs = tuple(leg for leg in item.entries if leg.account.currency == currency)
        if legs:
            yield item._replace(entries=legs)


async def by_day(transactions: Transactions) -> Transactions:
    """For each day and currency one transaction with the day's debits and credits on each account.

    Debits and credits stay apart: on an account that both filled and drained, the turnover is to be seen.
    """
    day: date | None = None
    sums = _Day()
    async for item in transactions:
        if item.on != day:
            if day is not None:
                for made in sums.transactions(day):
                    yield made
            day, sums = item.on, _Day()
        sums.add(item)
    if day is not None:
        for made in sums.transactions(day):
            yield made


class _Day:
    """The sums of a day."""

    def __init__(self) -> None:
        self._sides: dict[tuple[ExportAccount, bool], int] = {}
        self._counts: dict[str, int] = {}

    def add(self, item: ExportTransaction) -> None:
        for account, amount in item.entries:
            side = (account, amount < 0)
            self._sides[side] = self._sides.get(side, 0) + amount
        for currency in {account.currency for account, _ in item.entries}:
            self._counts[currency] = self._counts.get(currency, 0) + 1

    def transactions(self, day: date) -> list[ExportTransaction]:
        """One for each currency, in the order of their codes; accounts by name, debits first."""
        at = datetime.combine(day, time.min, UTC)
        found: dict[str, list[ExportEntry]] = {}
        for (account, _), amount in sorted(self._sides.items()):
            found.setdefault(account.currency, []).append(ExportEntry(account, amount))
        return [
            ExportTransaction(
                on=day,
                occurred_at=at,
                effect_key=f"day:{day}:{currency}",
                kind="day",
                description=f"{currency.upper()} of {day}, {self._counts[currency]} ledger transactions",
                source=None,
                payment=None,
                entries=tuple(legs),
            )
            for currency, legs in sorted(found.items())
        ]
