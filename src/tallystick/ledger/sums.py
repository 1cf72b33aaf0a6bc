"""What stood on an account at an instant: sums by day and hour, and the entries that are not in them yet.

The sums are made of sealed blocks by the sealer, in its transaction. A time is that of the fact: the earliest
that was ever heard for it (``effect_dates``), so a date that is heard later moves entries to another hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import NotFoundError
from tallystick.ledger.chart import AccountType
from tallystick.ledger.statements import AccountBalance


def _at(upto: str) -> str:
    """When transaction t happened, by the effect dates up to an id."""
    return f"""least(t.occurred_at, (
      SELECT min(d.occurred_at) FROM effect_dates d WHERE d.transaction_id = t.id AND d.id <= {upto}))"""


_FOLD: Final = text(f"""
WITH moved AS (
  SELECT t.id, {_at(":last_date_id")} AS at, 1 AS sign
    FROM ledger_transactions t WHERE t.id > :after_id AND t.id <= :last_id
  UNION ALL
  SELECT m.id, m.at, m.sign FROM (
    SELECT t.id, {_at(":after_date_id")} AS before, {_at(":last_date_id")} AS after
      FROM ledger_transactions t
     WHERE t.id <= :after_id AND t.id IN (
       SELECT d.transaction_id FROM effect_dates d WHERE d.id > :after_date_id AND d.id <= :last_date_id)
  ) AS c CROSS JOIN LATERAL (VALUES (c.id, c.before, -1), (c.id, c.after, 1)) AS m(id, at, sign)
)
INSERT INTO ledger_sums AS s (account_id, grain, starts_at, debits, credits)
SELECT e.account_id, g.grain, date_trunc(g.grain, m.at, 'UTC'),
       coalesce(sum(m.sign * e.amount) FILTER (WHERE e.direction = 1), 0),
       coalesce(sum(m.sign * e.amount) FILTER (WHERE e.direction = -1), 0)
  FROM moved m JOIN ledger_entries e ON e.transaction_id = m.id
 CROSS JOIN (VALUES ('day'), ('hour')) AS g(grain)
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (account_id, grain, starts_at) DO UPDATE SET
  debits = s.debits + excluded.debits, credits = s.credits + excluded.credits
""")

_ACCOUNT: Final = text("SELECT id, type FROM ledger_accounts WHERE name = :name AND currency = :currency")

_SIDES: Final = """
         CASE WHEN e.direction = 1 THEN e.amount ELSE 0 END,
         CASE WHEN e.direction = -1 THEN e.amount ELSE 0 END"""

_SUM_AT: Final = text(f"""
WITH sealed AS (
  SELECT coalesce(max(last_id), 0) AS last_id, coalesce(max(last_date_id), 0) AS last_date_id
    FROM ledger_seals
), bounds AS (
  SELECT date_trunc('day', CAST(:at AS timestamptz), 'UTC') AS day,
         date_trunc('hour', CAST(:at AS timestamptz), 'UTC') AS hour
), candidates AS (
  -- sealed, and of the hour at hand by the dates that were sealed
  SELECT t.id, {_at("s.last_date_id")} AS at FROM ledger_transactions t, sealed s, bounds b
   WHERE t.occurred_at >= b.hour AND t.occurred_at < b.hour + interval '1 hour' AND t.id <= s.last_id
  UNION
  SELECT t.id, {_at("s.last_date_id")} FROM sealed s, bounds b, effect_dates h
    JOIN ledger_transactions t ON t.id = h.transaction_id
   WHERE h.occurred_at >= b.hour AND h.occurred_at < b.hour + interval '1 hour' AND h.id <= s.last_date_id
     AND t.id <= s.last_id
), parts AS (
  SELECT u.debits, u.credits FROM ledger_sums u, bounds b
   WHERE u.account_id = :account
     AND ((u.grain = 'day' AND u.starts_at < b.day)
       OR (u.grain = 'hour' AND u.starts_at >= b.day AND u.starts_at < b.hour))
  UNION ALL
  SELECT {_SIDES}
    FROM candidates c JOIN ledger_entries e ON e.transaction_id = c.id, bounds b
   WHERE e.account_id = :account AND c.at >= b.hour AND c.at <= :at
  UNION ALL
  -- not sealed yet
  SELECT {_SIDES}
    FROM sealed s, ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
   WHERE t.id > s.last_id AND e.account_id = :account AND {_at("9223372036854775807")} <= :at
  UNION ALL
  -- sealed, but moved across the instant by a date that is not
  SELECT {_SIDES}
    FROM sealed s, ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
   WHERE t.id IN (SELECT d.transaction_id FROM effect_dates d, sealed z WHERE d.id > z.last_date_id)
     AND t.id <= s.last_id AND e.account_id = :account
     AND {_at("9223372036854775807")} <= :at AND {_at("s.last_date_id")} > :at
)
SELECT CAST(coalesce(sum(debits), 0) AS bigint) AS debits,
       CAST(coalesce(sum(credits), 0) AS bigint) AS credits
  FROM parts
""")


async def fold(connection: AsyncConnection, block: Mapping[str, Any]) -> None:
    """Add a block that was just sealed to the sums; ``block`` has its bounds."""
    names = ("after_id", "last_id", "after_date_id", "last_date_id")
    await connection.execute(_FOLD, {name: block[name] for name in names})


async def balance_at(
    connection: AsyncConnection, account: str, currency: str, at: datetime
) -> AccountBalance:
    """What stood on an account at an instant, that instant included. Raises NotFoundError."""
    found = (await connection.execute(_ACCOUNT, {"name": account, "currency": currency})).first()
    if found is None:
        raise NotFoundError(f"There is no account {account!r} in {currency!r}.", param="account")
    row = (await connection.execute(_SUM_AT, {"account": found.id, "at": at})).one()
    return AccountBalance(account, AccountType(found.type), currency, row.debits, row.credits)
