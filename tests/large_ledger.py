"""A large ledger, filled in by SQL: 20,000 ledger transactions an hour, three entries each.

Two accounts are in all of them, one in half, one in every thousandth. One in a hundred arrived three days
late; of one in a thousand an earlier date was heard.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.ledger.book import Book
from tallystick.ledger.entries import LedgerTransaction, credit, debit

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
GAP: Final = timedelta(microseconds=180_000)
HOT, HALF, SPARSE = "assets:stripe:balance", "assets:stripe:clearing", "assets:stripe:disputed"
_STEP: Final = 200_000

_FILL: Final = text("""
WITH header AS (
  INSERT INTO ledger_transactions
    (effect_key, kind, description, occurred_at, accounting_on, source, payment_id, rule_version, digest)
  SELECT 'balance_transaction:txn_' || lpad(to_hex(n), 24, '0'),
         CASE WHEN n % 1000 = 0 THEN 'balance_transaction_dispute' ELSE 'balance_transaction_charge' END,
         'Order ' || n, t, (t AT TIME ZONE 'UTC')::date, 'txn_' || lpad(to_hex(n), 24, '0'),
         'pay_' || lpad(n::text, 26, '0'), 1, sha256(n::text::bytea)
    FROM (SELECT n, CAST(:begin AS timestamptz) + n * CAST(:gap AS interval)
                    - CASE WHEN n % 100 = 7 THEN interval '3 days' ELSE interval '0' END AS t
            FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n) AS s
  RETURNING id, effect_key, occurred_at, substr(payment_id, 5)::bigint AS n
), dated AS (
  INSERT INTO effect_dates (transaction_id, occurred_at, source)
  SELECT id, occurred_at - interval '2 hours', 'evt_earlier' FROM header WHERE n % 1000 = 13
)
INSERT INTO ledger_entries (transaction_id, position, account_id, direction, amount, currency)
SELECT h.id, l.position, a.id, l.direction, l.amount, 'usd'
  FROM header h
 CROSS JOIN LATERAL (VALUES
    (1, :hot, 1, 900 + h.n % 9000), (2, 'expenses:stripe_fees', 1, 100),
    (3, CASE WHEN h.n % 1000 = 0 THEN :sparse WHEN h.n % 2 = 0 THEN :half ELSE 'liabilities:unapplied' END,
     -1, 1000 + h.n % 9000)) AS l (position, account, direction, amount)
  JOIN ledger_accounts a ON a.name = l.account AND a.currency = 'usd'
""")

_BALANCES: Final = text("""
INSERT INTO account_balances AS b (account_id, debits, credits)
SELECT account_id, coalesce(sum(amount) FILTER (WHERE direction = 1), 0),
       coalesce(sum(amount) FILTER (WHERE direction = -1), 0)
  FROM ledger_entries GROUP BY account_id
ON CONFLICT (account_id) DO UPDATE SET debits = excluded.debits, credits = excluded.credits
""")


async def fill(engine: AsyncEngine, count: int, *, first: int = 0) -> None:
    """Ledger transactions from ``first`` up to ``count`` by SQL alone, with balances that agree."""
    async with engine.begin() as connection:
        await Book().post(
            connection, [_first(HOT), _first(HALF), _first(SPARSE), _first("liabilities:unapplied")]
        )
    for start in range(first, count, _STEP):
        async with engine.begin() as connection:
            # The rows balance: triggers and foreign keys have nothing to find.
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            where = {"first": start, "last": min(start + _STEP, count) - 1, "begin": BEGIN, "gap": GAP}
            await connection.execute(_FILL, {**where, "hot": HOT, "half": HALF, "sparse": SPARSE})
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(_BALANCES)
    await vacuum(engine)


def _first(account: str) -> LedgerTransaction:
    """A transaction that makes an account, and the one of the fees."""
    legs = (debit("expenses:stripe_fees", 1, "usd"), credit(account, 1, "usd"))
    return LedgerTransaction(f"first:{account}", "first", "First", BEGIN, legs, "bench")


async def vacuum(engine: AsyncEngine) -> None:
    """What autovacuum does in years, and a checkpoint, so that neither falls into what is measured."""
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in (
            "SET statement_timeout = 0",
            "VACUUM ANALYZE",
            "CHECKPOINT",
            "RESET statement_timeout",
        ):
            await autocommit.execute(text(statement))
