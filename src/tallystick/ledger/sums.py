"""Sums and spans of sealed entries: a balance or a page at any time is cheap, whatever the ledger holds.

The sealer makes them of each block, in its transaction, so that no posting pays for them. Sums stand by day
and by hour. A span says where the entries of an account in one hour lie, for each run of 256 transaction ids:
how many they are, what they come to, and the first and last of their times and ids. Who wants the entries of
a time reads the spans that meet it, and of the entries only those. A span may reach too far, never too short.

A time is that of the fact: the earliest that was ever heard for it (``effect_dates``), so a date that is
heard later moves entries to another hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

ALL_DATES: Final = "9223372036854775807"
"""As the last id for ``occurred``: every date that was heard, sealed or not."""


def occurred(upto: str) -> str:
    """SQL: when transaction t happened, by the effect dates up to an id."""
    return f"""least(t.occurred_at, (
      SELECT min(d.occurred_at) FROM effect_dates d WHERE d.transaction_id = t.id AND d.id <= {upto}))"""


SEALED: Final = """
sealed AS MATERIALIZED (
  SELECT coalesce(max(last_id), 0) AS last_id, coalesce(max(last_date_id), 0) AS last_date_id
    FROM (SELECT last_id, last_date_id FROM ledger_seals ORDER BY id DESC LIMIT 1) AS head
), redated AS MATERIALIZED (
  -- sealed, but with a date that is not: the sums and spans have them at another time
  SELECT DISTINCT d.transaction_id AS id
    FROM sealed s CROSS JOIN LATERAL (
      SELECT * FROM effect_dates WHERE id > s.last_date_id ORDER BY id OFFSET 0) AS d
   WHERE d.transaction_id <= s.last_id
)"""
"""Two common table expressions: how far the sums and spans reach, and what they have at another time."""

UNSEALED: Final = f"""
(SELECT t.id, t.kind, {occurred(ALL_DATES)} AS at FROM ledger_transactions t
  WHERE t.id > s.last_id ORDER BY t.id OFFSET 0)"""
"""What is not sealed yet, of a lateral join behind ``sealed AS s``.

Here and elsewhere OFFSET 0 and the order keep PostgreSQL on the primary key: it cannot know how few rows are
meant, and would read whole tables to be safe.
"""

IN_SPAN: Final = f"""
(SELECT t.id, t.at, e.position, e.direction, e.amount
   FROM (SELECT * FROM ledger_entries
          WHERE transaction_id BETWEEN u.first_id AND u.last_id AND account_id = u.account_id
          ORDER BY transaction_id OFFSET 0) AS e
  CROSS JOIN LATERAL (
    SELECT t.id, {occurred("s.last_date_id")} AS at FROM ledger_transactions t
     WHERE t.id = e.transaction_id OFFSET 0) AS t)"""
"""The account's entries in a span and around it, of a lateral join behind ``sealed AS s``, spans ``AS u``."""

_RUN: Final = "(m.id >> 8)"
"""The run of 256 ids that a transaction is in."""

_FOLD: Final = text(f"""
WITH moved AS MATERIALIZED (
  SELECT t.id, t.kind, {occurred(":last_date_id")} AS at, 1 AS sign
    FROM ledger_transactions t WHERE t.id > :after_id AND t.id <= :last_id
  UNION ALL
  SELECT m.id, c.kind, m.at, m.sign FROM (
    SELECT t.id, t.kind, {occurred(":after_date_id")} AS before, {occurred(":last_date_id")} AS after
      FROM ledger_transactions t
     WHERE t.id <= :after_id AND t.id IN (
       SELECT d.transaction_id FROM effect_dates d WHERE d.id > :after_date_id AND d.id <= :last_date_id)
  ) AS c CROSS JOIN LATERAL (VALUES (c.id, c.before, -1), (c.id, c.after, 1)) AS m(id, at, sign)
), spans AS MATERIALIZED (
  SELECT e.account_id, date_trunc('hour', m.at, 'UTC') AS hour, {_RUN} AS run,
         min(m.at) AS first_at, max(m.at) AS last_at, min(m.id) AS first_id, max(m.id) AS last_id,
         sum(m.sign) AS entries,
         coalesce(sum(m.sign * e.amount) FILTER (WHERE e.direction = 1), 0) AS debits,
         coalesce(sum(m.sign * e.amount) FILTER (WHERE e.direction = -1), 0) AS credits
    FROM moved m JOIN ledger_entries e ON e.transaction_id = m.id
   GROUP BY 1, 2, 3
), sums AS (
  INSERT INTO ledger_sums AS s (account_id, grain, starts_at, debits, credits)
  SELECT account_id, g.grain, date_trunc(g.grain, hour, 'UTC'), sum(debits), sum(credits)
    FROM spans CROSS JOIN (VALUES ('day'), ('hour')) AS g(grain)
   GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ON CONFLICT (account_id, grain, starts_at) DO UPDATE SET
    debits = s.debits + excluded.debits, credits = s.credits + excluded.credits
), transactions AS (
  INSERT INTO transaction_spans AS s (kind, hour, run, first_at, last_at, first_id, last_id, transactions)
  SELECT m.kind, date_trunc('hour', m.at, 'UTC'), {_RUN}, min(m.at), max(m.at), min(m.id), max(m.id),
         sum(m.sign)
    FROM moved m GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ON CONFLICT (kind, hour, run) DO UPDATE SET
    first_at = least(s.first_at, excluded.first_at), last_at = greatest(s.last_at, excluded.last_at),
    first_id = least(s.first_id, excluded.first_id), last_id = greatest(s.last_id, excluded.last_id),
    transactions = s.transactions + excluded.transactions
)
INSERT INTO entry_spans AS s (
  account_id, hour, run, first_at, last_at, first_id, last_id, entries, debits, credits
)
SELECT * FROM spans ORDER BY 1, 2, 3
ON CONFLICT (account_id, hour, run) DO UPDATE SET
  first_at = least(s.first_at, excluded.first_at), last_at = greatest(s.last_at, excluded.last_at),
  first_id = least(s.first_id, excluded.first_id), last_id = greatest(s.last_id, excluded.last_id),
  entries = s.entries + excluded.entries, debits = s.debits + excluded.debits,
  credits = s.credits + excluded.credits
""")


async def fold(connection: AsyncConnection, block: Mapping[str, Any]) -> None:
    """Add a block that was just sealed to the sums and spans; ``block`` has its bounds."""
    names = ("after_id", "last_id", "after_date_id", "last_date_id")
    await connection.execute(_FOLD, {name: block[name] for name in names})
