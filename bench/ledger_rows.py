"""Ledger transactions for the benchmarks: made in Python to be posted, or filled in by the million in SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.machine import say
from tallystick.ledger import chart
from tallystick.ledger.entries import LedgerTransaction, credit, debit

LEGS: Final = 3
_STEP: Final = 100_000
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)

# Years of bookings of Stripe's, twenty seconds apart: the same three accounts in all of them, since two of
# the three are always hot.
_FILL: Final = text("""
WITH header AS (
  INSERT INTO ledger_transactions
    (effect_key, kind, description, occurred_at, accounting_on, source, payment_id, rule_version, digest)
  SELECT 'balance_transaction:txn_0' || lpad(to_hex(n), 14, '0') || substr(md5(n::text), 1, 8),
         'balance_transaction_charge', 'Order ' || n, t, (t AT TIME ZONE 'UTC')::date,
         'txn_0' || lpad(to_hex(n), 14, '0') || substr(md5(n::text), 1, 8),
         'pay_' || lpad(n::text, 26, '0'), 1, sha256(n::text::bytea)
    FROM (SELECT n, timestamptz '2019-01-01 00:00Z' + n * interval '20 seconds' AS t
            FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n) AS s
  RETURNING id, 1000 + id % 9000 AS gross
)
INSERT INTO ledger_entries (transaction_id, position, account_id, direction, amount, currency)
SELECT h.id, l.position, a.id, l.direction, h.gross - l.less, 'usd'
  FROM header h
 CROSS JOIN LATERAL (VALUES
    (1, 'assets:stripe:balance', 1, h.gross / 20),
    (2, 'expenses:stripe_fees', 1, h.gross - h.gross / 20),
    (3, 'assets:stripe:clearing', -1, 0)) AS l (position, account, direction, less)
  JOIN ledger_accounts a ON a.name = l.account AND a.currency = 'usd'
""")

_BALANCES: Final = text("""
INSERT INTO account_balances AS b (account_id, debits, credits)
SELECT account_id, coalesce(sum(amount) FILTER (WHERE direction = 1), 0),
       coalesce(sum(amount) FILTER (WHERE direction = -1), 0)
  FROM ledger_entries GROUP BY account_id
ON CONFLICT (account_id) DO UPDATE SET debits = excluded.debits, credits = excluded.credits
""")


def bookings(count: int, first: int) -> list[LedgerTransaction]:
    """Bookings of charges with their fees, three entries each; all touch the same three accounts."""
    made = []
    for number in range(first, first + count):
        gross = 1000 + number % 9000
        fee = gross // 20
        txn = f"txn_1{number:014x}{number * 2654435761 % 2**32:08x}"
        legs = (
            debit(chart.STRIPE_BALANCE, gross - fee, "usd"),
            debit(chart.STRIPE_FEES, fee, "usd"),
            credit(chart.CLEARING, gross, "usd"),
        )
        made.append(
            LedgerTransaction(
                f"balance_transaction:{txn}", "balance_transaction_charge", f"Order {number}",
                _BEGIN + timedelta(seconds=number), legs, txn, f"pay_{number:026d}",
            )
        )  # fmt: skip
    return made


async def fill(engine: AsyncEngine, first: int, end: int) -> None:
    """Ledger transactions ``first`` to ``end`` by SQL alone, and balances that agree; accounts exist."""
    for start in range(first, end, _STEP):
        async with engine.begin() as connection:
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(_FILL, {"first": start, "last": min(start + _STEP, end) - 1})
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(_BALANCES)
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in (
            "SET statement_timeout = 0",
            "VACUUM (ANALYZE) ledger_transactions",
            "VACUUM (ANALYZE) ledger_entries",
            "CHECKPOINT",
            "RESET statement_timeout",
        ):
            await autocommit.execute(text(statement))
    say("stored entries", f"{end * LEGS:,}")
