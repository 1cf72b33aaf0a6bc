"""The database itself keeps the ledger append-only and balanced, whoever writes to it and how."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.ledger_guards import APPEND_ONLY
from tallystick.ledger.book import Book
from tallystick.ledger.entries import LedgerTransaction, credit, debit
from tallystick.ledger.seals import horizon, seal

CHECK, RESTRICT, FOREIGN_KEY = "23514", "23001", "23503"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CASH, SALES, CASH_EUR = (
    "(SELECT id FROM ledger_accounts WHERE name = 'assets:stripe:balance' AND currency = 'usd')",
    "(SELECT id FROM ledger_accounts WHERE name = 'revenue:payments' AND currency = 'usd')",
    "(SELECT id FROM ledger_accounts WHERE name = 'assets:stripe:balance' AND currency = 'eur')",
)


def sale(key: str, amount: int, currency: str, at: datetime = NOON) -> LedgerTransaction:
    legs = (
        debit("assets:stripe:balance", amount, currency),
        credit("revenue:payments", amount, currency),
    )
    return LedgerTransaction(key, "sale", "A sale", at, legs, "evt_1")


@pytest.fixture
async def ledger(engine: AsyncEngine) -> AsyncEngine:
    """A ledger in which each append-only table has rows."""
    book = Book()
    for at in (NOON, NOON - timedelta(hours=1)):
        async with engine.begin() as connection:
            await book.post(connection, [sale("one", 500, "usd", at), sale("two", 700, "eur", at)])
    await seal(engine, await horizon(engine))
    held = await rows(engine)
    assert all(held[table] for table in APPEND_ONLY)
    return engine


async def rows(engine: AsyncEngine) -> dict[str, list[Any]]:
    """All that the append-only tables hold."""
    async with engine.connect() as connection:
        return {
            table: list((await connection.execute(text(f"SELECT to_jsonb(t) FROM {table} t"))).scalars())
            for table in APPEND_ONLY
        }


async def assert_refused(engine: AsyncEngine, *statements: str, sqlstate: str, says: str) -> None:
    """The last statement is refused with this SQLSTATE and message, and nothing is left of any of them."""
    before = await rows(engine)
    *earlier, last = statements
    async with engine.connect() as connection:
        for statement in earlier:
            await connection.execute(text(statement))
        with pytest.raises(DBAPIError, match=says) as caught:
            await connection.execute(text(last))
        await connection.commit()
    assert getattr(caught.value.orig, "sqlstate", None) == sqlstate
    assert await rows(engine) == before


def inserting(*transactions: tuple[str, list[tuple[str, int, int, str]]]) -> str:
    """One statement that inserts headers (by key) with legs (account, direction, amount, currency)."""
    headers = ", ".join(
        f"('{key}', 'sale', 'A sale', now(), current_date, 'evt_9', CAST(1 AS smallint), sha256('x'))"
        for key, _ in transactions
    )
    legs = ", ".join(
        f"('{key}', {position}, {account}, {direction}, CAST({amount} AS bigint), '{currency}')"
        for key, entries in transactions
        for position, (account, direction, amount, currency) in enumerate(entries)
    )
    return f"""
        WITH new AS (
          INSERT INTO ledger_transactions
            (effect_key, kind, description, occurred_at, accounting_on, source, rule_version, digest)
          VALUES {headers} RETURNING id, effect_key
        )
        INSERT INTO ledger_entries (transaction_id, position, account_id, direction, amount, currency)
        SELECT new.id, position, account, direction, amount, currency
          FROM (VALUES {legs}) AS l(effect_key, position, account, direction, amount, currency)
          JOIN new USING (effect_key)"""


_UPDATES = {
    "ledger_accounts": "name = 'assets:elsewhere'",
    "ledger_transactions": "description = 'Something else'",
    "ledger_entries": "amount = amount + 1",
    "effect_dates": "source = 'evt_other'",
    "ledger_seals": "hash = sha256(hash)",
}


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("operation", ["UPDATE", "UPDATE of none", "DELETE", "DELETE of none", "TRUNCATE"])
async def test_no_row_is_ever_changed_or_removed(ledger: AsyncEngine, table: str, operation: str) -> None:
    verb = operation.split(maxsplit=1)[0]
    where = " WHERE false" if operation.endswith("of none") else ""
    statement = {
        "UPDATE": f"UPDATE {table} SET {_UPDATES[table]}{where}",
        "DELETE": f"DELETE FROM {table}{where}",
        "TRUNCATE": f"TRUNCATE {table} CASCADE",
    }[verb]
    says = f"is append-only: {verb} refused; post a reversal instead"
    await assert_refused(ledger, statement, sqlstate=RESTRICT, says=says)


async def test_the_ways_around_an_update_are_closed(ledger: AsyncEngine) -> None:
    upsert = """
        INSERT INTO ledger_accounts (name, currency, type) VALUES ('revenue:payments', 'usd', 'asset')
        ON CONFLICT (name, currency) DO UPDATE SET type = excluded.type"""
    merge = """
        MERGE INTO ledger_entries e USING ledger_entries s
           ON s.transaction_id = e.transaction_id AND s.position = e.position
         WHEN MATCHED THEN UPDATE SET amount = 1"""
    for statement in (upsert, merge):
        await assert_refused(ledger, statement, sqlstate=RESTRICT, says="append-only: UPDATE refused")


async def test_what_balances_is_taken(ledger: AsyncEngine) -> None:
    """The statement that the refusals below vary is a good one."""
    async with ledger.begin() as connection:
        await connection.execute(text(inserting(("three", [(CASH, 1, 900, "usd"), (SALES, -1, 900, "usd")]))))
    assert len((await rows(ledger))["ledger_transactions"]) == 3


async def test_each_transaction_must_balance_for_itself(ledger: AsyncEngine) -> None:
    """Two that are wrong by the same amount do not make up for each other."""
    statement = inserting(
        ("three", [(CASH, 1, 900, "usd"), (SALES, -1, 800, "usd")]),
        ("four", [(CASH, 1, 800, "usd"), (SALES, -1, 900, "usd")]),
    )
    await assert_refused(ledger, statement, sqlstate=CHECK, says="does not balance")


async def test_each_currency_must_balance_for_itself(ledger: AsyncEngine) -> None:
    statement = inserting(("three", [(CASH_EUR, 1, 900, "eur"), (SALES, -1, 900, "usd")]))
    await assert_refused(ledger, statement, sqlstate=CHECK, says="does not balance")


async def test_one_leg_is_not_enough(ledger: AsyncEngine) -> None:
    statement = inserting(("three", [(CASH, 1, 900, "usd")]))
    await assert_refused(ledger, statement, sqlstate=CHECK, says="does not balance")


async def test_a_header_comes_with_its_legs(ledger: AsyncEngine) -> None:
    statement = """
        INSERT INTO ledger_transactions
          (effect_key, kind, description, occurred_at, accounting_on, source, rule_version, digest)
        VALUES ('three', 'sale', 'A sale', now(), current_date, 'evt_9', 1, sha256('x'))"""
    says = "ledger transaction three has no entries"
    await assert_refused(ledger, statement, sqlstate=CHECK, says=says)


async def test_a_header_names_its_own_database_transaction(ledger: AsyncEngine) -> None:
    """Otherwise it could stay open for further legs."""
    statement = inserting(("three", [(CASH, 1, 900, "usd"), (SALES, -1, 900, "usd")]))
    forged = statement.replace("rule_version, digest)", "rule_version, digest, xact)", 1).replace(
        "sha256('x'))", "sha256('x'), CAST('99999999' AS xid8))"
    )
    assert forged.count("xact") == 1
    await assert_refused(ledger, forged, sqlstate=CHECK, says="names another database transaction")


async def test_a_committed_transaction_takes_no_more_legs(ledger: AsyncEngine) -> None:
    statement = f"""
        INSERT INTO ledger_entries (transaction_id, position, account_id, direction, amount, currency)
        SELECT id, position, account, direction, 100, 'usd' FROM ledger_transactions,
               (VALUES (8, {CASH}, 1), (9, {SALES}, -1)) AS l(position, account, direction)
         WHERE effect_key = 'one'"""
    says = "is closed: its entries came with it"
    await assert_refused(ledger, statement, sqlstate=RESTRICT, says=says)


async def test_legs_need_a_header(ledger: AsyncEngine) -> None:
    statement = f"""
        INSERT INTO ledger_entries (transaction_id, position, account_id, direction, amount, currency)
        VALUES (999, 1, {CASH}, 1, 100, 'usd'), (999, 2, {SALES}, -1, 100, 'usd')"""
    await assert_refused(ledger, statement, sqlstate=FOREIGN_KEY, says="fk_ledger_entries_transaction_id")


async def test_a_leg_has_the_currency_of_its_account(ledger: AsyncEngine) -> None:
    statement = inserting(("three", [(CASH_EUR, 1, 900, "usd"), (SALES, -1, 900, "usd")]))
    await assert_refused(ledger, statement, sqlstate=FOREIGN_KEY, says="fk_ledger_entries_account_id")


@pytest.mark.parametrize("amount", [0, -900])
async def test_an_amount_is_positive(ledger: AsyncEngine, amount: int) -> None:
    statement = inserting(("three", [(CASH, 1, amount, "usd"), (SALES, -1, amount, "usd")]))
    await assert_refused(ledger, statement, sqlstate=CHECK, says="ck_ledger_entries_amount")


@pytest.mark.parametrize("direction", [0, 2])
async def test_a_direction_is_debit_or_credit(ledger: AsyncEngine, direction: int) -> None:
    statement = inserting(("three", [(CASH, direction, 900, "usd"), (SALES, -direction, 900, "usd")]))
    await assert_refused(ledger, statement, sqlstate=CHECK, says="ck_ledger_entries_direction")


async def test_a_refusal_takes_the_good_ones_of_the_same_commit_with_it(ledger: AsyncEngine) -> None:
    good = inserting(("three", [(CASH, 1, 900, "usd"), (SALES, -1, 900, "usd")]))
    bad = inserting(("four", [(CASH, 1, 900, "usd"), (SALES, -1, 901, "usd")]))
    await assert_refused(ledger, good, bad, sqlstate=CHECK, says="does not balance")
