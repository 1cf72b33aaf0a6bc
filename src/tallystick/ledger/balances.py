"""What stands on the accounts, now and at any instant.

Times are those of the facts. Functions take a connection and write nothing. Whoever asks several questions
that must agree asks them in one snapshot (``db.session.snapshot``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import NO_TIME, cursor_at, read_cursor
from tallystick.errors import InvalidRequestError, NotFoundError
from tallystick.ledger.chart import AccountType
from tallystick.ledger.sums import ALL_DATES, IN_SPAN, SEALED, UNSEALED, occurred

EVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Later than anything; what is dated in the future counts too."""
BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)
"""Before anything."""
TICK: Final = timedelta(microseconds=1)
"""The step of time: what is before an instant is up to the tick before it."""


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One account in one currency; ``debits`` and ``credits`` are sums in minor units.

    ``balance`` is positive on the account's normal side.
    """

    account: str
    type: AccountType
    currency: str
    debits: int
    credits: int

    @property
    def balance(self) -> int:
        """What stands on the account, by its normal balance."""
        return self.type.signed(self.debits - self.credits)


_ACCOUNTS: Final = text("""
SELECT a.id, a.name, a.type, a.currency, coalesce(b.debits, 0) AS debits, coalesce(b.credits, 0) AS credits
  FROM ledger_accounts a LEFT JOIN account_balances b ON b.account_id = a.id
 WHERE (CAST(:name AS text) IS NULL OR a.name = :name)
   AND (CAST(:currency AS text) IS NULL OR a.currency = :currency)
   AND (CAST(:type AS text) IS NULL OR a.type = :type)
   AND (CAST(:after AS int) IS NULL OR (a.name, a.currency) > (
         SELECT c.name, c.currency FROM ledger_accounts c WHERE c.id = :after))
 ORDER BY a.name, a.currency LIMIT :limit
""")

_ALL: Final = text("SELECT id, name, type, currency FROM ledger_accounts ORDER BY currency, name")

_ACCOUNT: Final = text("SELECT id, type FROM ledger_accounts WHERE name = :name AND currency = :currency")

_SIDES: Final = """
         CASE WHEN e.direction = 1 THEN e.amount ELSE 0 END AS debits,
         CASE WHEN e.direction = -1 THEN e.amount ELSE 0 END AS credits"""

# What is dated in the future, or at no time that PostgreSQL can cut into hours, is none of ours.
_AT: Final = text(f"""
WITH {SEALED}, wanted AS MATERIALIZED (
  SELECT w.n, w.account_id, w.at, date_trunc('day', w.at, 'UTC') AS day,
         date_trunc('hour', w.at, 'UTC') AS hour
    FROM unnest(CAST(:accounts AS int[]), CAST(:instants AS timestamptz[]))
         WITH ORDINALITY AS w(account_id, at, n)
), late AS MATERIALIZED (
  -- not sealed yet
  SELECT e.account_id, t.at, e.debits, e.credits
    FROM sealed s CROSS JOIN LATERAL {UNSEALED} AS t
   CROSS JOIN LATERAL (
     SELECT e.account_id, {_SIDES} FROM ledger_entries e
      WHERE e.transaction_id = t.id AND e.account_id = ANY(CAST(:accounts AS int[])) OFFSET 0) AS e
  UNION ALL
  -- at the time by the dates that are not sealed, and back from where the sums have them
  SELECT e.account_id, m.at, m.sign * e.debits, m.sign * e.credits
    FROM redated r, sealed s, ledger_transactions t
   CROSS JOIN LATERAL (VALUES ({occurred(ALL_DATES)}, 1), ({occurred("s.last_date_id")}, -1)) AS m(at, sign)
   CROSS JOIN LATERAL (
     SELECT e.account_id, {_SIDES} FROM ledger_entries e WHERE e.transaction_id = t.id) AS e
   WHERE t.id = r.id
), parts AS (
  SELECT w.n, u.debits, u.credits
    FROM wanted w JOIN ledger_sums u ON u.account_id = w.account_id
   WHERE u.grain = 'day' AND u.starts_at < w.day
  UNION ALL
  SELECT w.n, u.debits, u.credits
    FROM wanted w JOIN ledger_sums u ON u.account_id = w.account_id
   WHERE u.grain = 'hour' AND u.starts_at >= w.day AND u.starts_at < w.hour
  UNION ALL
  SELECT w.n, u.debits, u.credits
    FROM wanted w JOIN entry_spans u ON u.account_id = w.account_id
   WHERE u.hour = w.hour AND u.last_at <= w.at
  UNION ALL
  SELECT w.n, {_SIDES}
    FROM wanted w JOIN entry_spans u ON u.account_id = w.account_id CROSS JOIN sealed s
   CROSS JOIN LATERAL {IN_SPAN} AS e
   WHERE u.hour = w.hour AND u.first_at <= w.at AND u.last_at > w.at AND e.at BETWEEN w.hour AND w.at
  UNION ALL
  SELECT w.n, l.debits, l.credits
    FROM wanted w JOIN late l ON l.account_id = w.account_id WHERE l.at <= w.at
)
SELECT CAST(coalesce(sum(p.debits), 0) AS bigint) AS debits,
       CAST(coalesce(sum(p.credits), 0) AS bigint) AS credits
  FROM wanted w LEFT JOIN parts p ON p.n = w.n GROUP BY w.n ORDER BY w.n
""")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is known by."""

    id: int
    name: str
    type: AccountType
    currency: str


@dataclass(frozen=True, slots=True)
class AccountFilter:
    """What a list of accounts is narrowed to."""

    name: str | None = None
    currency: str | None = None
    type: AccountType | None = None


@dataclass(frozen=True, slots=True)
class AccountPage:
    """Accounts by name and currency; ``next_cursor`` is None on the last page."""

    items: list[AccountBalance]
    next_cursor: str | None


async def list_accounts(connection: AsyncConnection) -> list[Account]:
    """Every account that was ever posted to, by currency and name."""
    rows = await connection.execute(_ALL)
    return [Account(row.id, row.name, AccountType(row.type), row.currency) for row in rows]


async def page_of_accounts(
    connection: AsyncConnection,
    narrowed: AccountFilter,
    *,
    at: datetime | None = None,
    limit: int,
    cursor: str | None = None,
) -> AccountPage:
    """A page of the accounts that were ever posted to, with what stands on each: now, or at an instant.

    Raises InvalidRequestError when the cursor is none of ours.
    """
    parameters = {
        "name": narrowed.name, "currency": narrowed.currency, "type": narrowed.type,
        "after": _read_place(cursor) if cursor is not None else None, "limit": limit + 1,
    }  # fmt: skip
    rows = (await connection.execute(_ACCOUNTS, parameters)).all()
    more, rows = len(rows) > limit, rows[:limit]
    found = [Account(row.id, row.name, AccountType(row.type), row.currency) for row in rows]
    sums = [(row.debits, row.credits) for row in rows]
    if at is not None:
        sums = await sums_at(connection, [(account, at) for account in found])
    return AccountPage(
        [
            AccountBalance(account.name, account.type, account.currency, *sides)
            for account, sides in zip(found, sums, strict=True)
        ],
        cursor_at(NO_TIME, str(found[-1].id)) if more else None,
    )


def _read_place(cursor: str) -> int:
    _, number = read_cursor(cursor)
    if not re.fullmatch(r"[0-9]{1,9}", number, re.ASCII):
        raise InvalidRequestError("The cursor is not one that a list of accounts gave.", param="cursor")
    return int(number)


async def find_account(connection: AsyncConnection, name: str, currency: str) -> Account:
    """Raises NotFoundError."""
    row = (await connection.execute(_ACCOUNT, {"name": name, "currency": currency})).first()
    if row is None:
        raise NotFoundError(f"There is no account {name!r} in {currency!r}.", param="account")
    return Account(row.id, name, AccountType(row.type), currency)


async def sums_at(
    connection: AsyncConnection, wanted: Sequence[tuple[Account, datetime]]
) -> list[tuple[int, int]]:
    """Debits and credits of accounts up to instants, these included, in the order that was asked."""
    parameters = {"accounts": [account.id for account, _ in wanted], "instants": [at for _, at in wanted]}
    rows = await connection.execute(_AT, parameters)
    return [(row.debits, row.credits) for row in rows]


async def balance_at(
    connection: AsyncConnection, account: str, currency: str, at: datetime
) -> AccountBalance:
    """What stood on an account at an instant, that instant included. Raises NotFoundError."""
    found = await find_account(connection, account, currency)
    [(debits, credits_)] = await sums_at(connection, [(found, at)])
    return AccountBalance(found.name, found.type, found.currency, debits, credits_)


def before(instant: datetime) -> datetime:
    """The last instant before this one."""
    return max(instant, BEGINNING) - TICK
