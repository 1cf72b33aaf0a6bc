"""What an export is made of: a period, the accounts with what stood on them, and the transactions in order.

All of it is read in one snapshot. The order is that of the facts, their time and then their effect key, so
that the same ledger gives the same bytes; ids and posting times are not read at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import snapshot
from tallystick.errors import InvalidRequestError
from tallystick.ledger.balances import before, list_accounts
from tallystick.ledger.chart import AccountType
from tallystick.ledger.trial_balances import trial_balance

_ROWS_AT_ONCE: Final = 2_000
"""Transactions that are fetched together: what an export holds in memory."""


class ExportAccount(NamedTuple):
    """An account as a name and a currency; sorted by both."""

    name: str
    currency: str
    type: AccountType


class ExportEntry(NamedTuple):
    """A leg. ``amount`` is in minor units, a debit positive and a credit negative."""

    account: ExportAccount
    amount: int


class ExportTransaction(NamedTuple):
    """A ledger transaction; ``on`` is the day of ``occurred_at`` in UTC, by the earliest time heard."""

    on: date
    occurred_at: datetime
    effect_key: str
    kind: str
    description: str
    source: str | None
    payment: str | None
    entries: tuple[ExportEntry, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """Days of UTC, both ends included; None is open. Raises InvalidRequestError for an empty one."""

    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        for name, day in (("from", self.first), ("to", self.last)):
            if day is not None and not _EARLIEST <= day <= _LATEST:
                raise InvalidRequestError(f"{day} is outside what can be exported.", param=name)
        if self.first and self.last and self.first > self.last:
            raise InvalidRequestError("The period ends before it begins.", param="to")

    @property
    def begins(self) -> datetime:
        """The first instant."""
        return _midnight(self.first or _EARLIEST)

    @property
    def ends(self) -> datetime:
        """The first instant after it."""
        return _midnight((self.last or _LATEST) + timedelta(days=1))


_EARLIEST: Final = date(1000, 1, 1)
_LATEST: Final = date(9998, 12, 31)


@dataclass(frozen=True, slots=True)
class Books:
    """A period of the ledger, in a snapshot.

    ``accounts`` are those used up to its end, by id. Balances are debits less credits in minor units; those
    at the opening are empty when the period is open at that end.
    """

    period: Period
    accounts: Mapping[int, ExportAccount]
    opening: Mapping[ExportAccount, int]
    closing: Mapping[ExportAccount, int]
    _connection: AsyncConnection

    def only(self, currency: str) -> Books:
        """The same with the accounts of one currency; its transactions still come with all their legs."""
        accounts = {id_: each for id_, each in self.accounts.items() if each.currency == currency}
        opening = {each: sum_ for each, sum_ in self.opening.items() if each.currency == currency}
        closing = {each: sum_ for each, sum_ in self.closing.items() if each.currency == currency}
        return replace(self, accounts=accounts, opening=opening, closing=closing)

    async def transactions(self) -> AsyncGenerator[ExportTransaction, None]:
        """Every ledger transaction of the period, by time and effect key, from a cursor of the server."""
        bounds = {"begins": self.period.begins, "ends": self.period.ends}
        accounts = self.accounts
        async with self._connection.stream(_TRANSACTIONS, bounds) as rows:
            async for page in rows.partitions(_ROWS_AT_ONCE):
                for at, key, kind, description, source, payment, ids, amounts in page:
                    legs = map(accounts.__getitem__, ids)
                    entries = tuple(map(ExportEntry, legs, amounts))
                    yield ExportTransaction(at.date(), at, key, kind, description, source, payment, entries)


# An effect date is only ever earlier than the header's time: the second branch is what such dates bring in.
# The sort comes before the legs are fetched, so that it holds headers only.
_TRANSACTIONS: Final = text("""
WITH earlier AS (
  SELECT transaction_id, min(occurred_at) AS at FROM effect_dates GROUP BY transaction_id
), headers AS (
  SELECT t.id, least(t.occurred_at, e.at) AS at,
         t.effect_key, t.kind, t.description, t.source, t.payment_id
    FROM ledger_transactions t LEFT JOIN earlier e ON e.transaction_id = t.id
   WHERE t.occurred_at >= :begins AND t.occurred_at < :ends AND (e.at IS NULL OR e.at >= :begins)
  UNION ALL
  SELECT t.id, e.at, t.effect_key, t.kind, t.description, t.source, t.payment_id
    FROM earlier e JOIN ledger_transactions t ON t.id = e.transaction_id
   WHERE t.occurred_at >= :ends AND e.at >= :begins AND e.at < :ends
)
SELECT h.at, h.effect_key, h.kind, h.description, h.source, h.payment_id, l.accounts, l.amounts
  FROM (SELECT * FROM headers ORDER BY at, effect_key) AS h
 CROSS JOIN LATERAL (
   SELECT array_agg(e.account_id ORDER BY e.position) AS accounts,
          array_agg(e.amount * e.direction ORDER BY e.position) AS amounts
     FROM ledger_entries e WHERE e.transaction_id = h.id
 ) AS l
 ORDER BY h.at, h.effect_key
""")


@asynccontextmanager
async def open_books(engine: AsyncEngine, period: Period, *, patient: bool) -> AsyncIterator[Books]:
    """The ledger of a period; it stays as it is while the block lasts, whatever is posted meanwhile.

    Without ``patient`` PostgreSQL gives it up when nothing is read for as long as a transaction may idle.
    """
    async with snapshot(engine) as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        if patient:
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        accounts = {
            each.id: ExportAccount(each.name, each.currency, each.type)
            for each in await list_accounts(connection)
        }
        closing = await _balances(connection, period.ends if period.last else None)
        opening = await _balances(connection, period.begins) if period.first else {}
        used = {id_: each for id_, each in accounts.items() if each in closing}
        yield Books(period, used, opening, closing, connection)


async def _balances(connection: AsyncConnection, until: datetime | None) -> dict[ExportAccount, int]:
    """Debits less credits of every account that had entries before ``until``; None: of all entries."""
    lines = await trial_balance(connection, before(until) if until else None)
    return {
        ExportAccount(line.account, line.currency, line.type): line.debits - line.credits for line in lines
    }


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
