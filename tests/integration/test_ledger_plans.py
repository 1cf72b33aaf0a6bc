"""Whatever is asked of a large ledger: some spans are read and the rows in them, and no table whole."""

from __future__ import annotations

from typing import Any, Final

import orjson
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.test_list_plans import nodes
from tests.large_ledger import BEGIN, GAP, HALF, HOT, SPARSE, fill, vacuum

from tallystick.db.session import snapshot
from tallystick.ledger.balances import balance_at
from tallystick.ledger.history import Among, TransactionFilter, list_transactions
from tallystick.ledger.seals import horizon, seal
from tallystick.ledger.statements import read_statement
from tallystick.ledger.trial_balances import period_balance, trial_balance

pytestmark = pytest.mark.long

ROWS: Final = 200_000
MOST: Final = 10_000
"""Rows of one node: some spans of 256, for each of the accounts."""
LARGE: Final = {"ledger_transactions", "ledger_entries"}
MIDDLE: Final = BEGIN + ROWS * 3 // 5 * GAP
PAYMENT: Final = "pay_" + "77".zfill(26)
KEY: Final = "balance_transaction:txn_" + "4d".zfill(24)

QUESTIONS: Final[dict[str, Any]] = {
    "balance of the busiest account": lambda c: balance_at(c, HOT, "usd", MIDDLE),
    "balance of a quiet one": lambda c: balance_at(c, SPARSE, "usd", MIDDLE),
    "statement of the busiest account": lambda c: read_statement(c, HOT, "usd", since=MIDDLE),
    "statement from the beginning": lambda c: read_statement(c, HALF, "usd"),
    "statement of a quiet account": lambda c: read_statement(c, SPARSE, "usd", since=MIDDLE),
    "statement at the end": lambda c: read_statement(c, HOT, "usd", since=BEGIN + ROWS * GAP),
    "all transactions": lambda c: list_transactions(c, TransactionFilter(), limit=20),
    "before a time": lambda c: list_transactions(c, TransactionFilter(until=MIDDLE), limit=20),
    "of a rare kind": lambda c: list_transactions(
        c, TransactionFilter(kind="balance_transaction_dispute"), limit=20
    ),
    "of a kind that nothing has": lambda c: list_transactions(c, TransactionFilter(kind="none"), limit=20),
    "of a payment": lambda c: list_transactions(
        c, TransactionFilter(among=(Among(payments=(PAYMENT,)),)), limit=20
    ),
    "of an object": lambda c: list_transactions(
        c, TransactionFilter(among=(Among((KEY,), (KEY,)), Among(payments=(PAYMENT,)))), limit=20
    ),
    "trial balance": lambda c: trial_balance(c, MIDDLE),
    "trial balance over a period": lambda c: period_balance(c, BEGIN, MIDDLE),
}


@pytest.fixture
async def large(engine: AsyncEngine) -> AsyncEngine:
    """600,000 entries; all but the last few hundred transactions are sealed."""
    await fill(engine, ROWS)
    await seal(engine, await horizon(engine))
    await fill(engine, ROWS + 300, first=ROWS)
    await vacuum(engine)
    return engine


@pytest.mark.timeout(1800)
async def test_no_question_reads_a_whole_table(large: AsyncEngine) -> None:
    for name, question in QUESTIONS.items():
        statements: list[tuple[str, Any]] = []

        def note(*args: Any, seen: list[tuple[str, Any]] = statements) -> None:
            seen.append((args[2], args[3]))

        event.listen(large.sync_engine, "before_cursor_execute", note)
        async with snapshot(large) as connection:
            answer = await question(connection)
            event.remove(large.sync_engine, "before_cursor_execute", note)
            assert answer is not None
            for statement, parameters in statements:
                await _check(connection, name, statement, parameters)


async def _check(connection: Any, name: str, statement: str, parameters: Any) -> None:
    explained = await connection.exec_driver_sql(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters
    )
    told = explained.scalar_one()
    plan = (orjson.loads(told) if isinstance(told, str) else told)[0]
    found = [node for node in nodes(plan["Plan"]) if node["Actual Loops"]]
    whole = [node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"]
    assert not LARGE.intersection(whole), f"{name}: {plan}"
    read = max(node["Actual Rows"] * node["Actual Loops"] for node in found)
    assert read <= MOST, f"{name} reads {read} rows: {plan}"


async def test_the_ledger_that_is_asked_balances(engine: AsyncEngine) -> None:
    """What is filled in past the triggers is a ledger like any other."""
    await fill(engine, 2_000)
    await seal(engine, await horizon(engine))
    async with snapshot(engine) as connection:
        now = await trial_balance(connection)
        assert now == await trial_balance(connection, BEGIN + 5_000 * GAP)
        query = text("SELECT count(*) FROM ledger_entries")
        entries = (await connection.execute(query)).scalar_one()
        assert entries == 3 * 2_000 + 8
