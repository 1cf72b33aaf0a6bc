"""What reading the ledger costs beside ``--rows`` entries: balances, statements, lists, trial balances.

The ledger is that of ``tests/large_ledger.py``: 20,000 ledger transactions an hour, some of them late.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.large_ledger import BEGIN, GAP, HALF, HOT, SPARSE, fill, vacuum

from bench.machine import Machine, measured, say
from tallystick.db.session import snapshot
from tallystick.ledger.balances import balance_at
from tallystick.ledger.history import TransactionFilter, list_transactions
from tallystick.ledger.seals import horizon, seal
from tallystick.ledger.statements import read_statement
from tallystick.ledger.trial_balances import period_balance, trial_balance

_LEGS: Final = 3
_TURNS: Final = 200


async def run(machine: Machine) -> None:
    """Fill, seal, and ask each question at random times."""
    async with machine.database("bench_reading") as engine:
        count = machine.rows // _LEGS
        await measured("ledger transactions filled in", count, lambda: fill(engine, count))
        await measured("ledger transactions sealed", count, lambda: _seal(engine))
        await _sizes(engine)
        await _ask(engine, count)


async def _seal(engine: AsyncEngine) -> None:
    await seal(engine, await horizon(engine))
    await vacuum(engine)


async def _sizes(engine: AsyncEngine) -> None:
    query = text("""
        SELECT (SELECT count(*) FROM entry_spans), pg_total_relation_size('entry_spans'),
               pg_total_relation_size('transaction_spans'), pg_total_relation_size('ledger_sums'),
               pg_total_relation_size('ledger_entries')
    """)
    async with engine.connect() as connection:
        count, spans, of_kinds, sums, entries = (await connection.execute(query)).one()
    say("spans of entries", f"{count:,}")
    say("size of spans and sums : of entries", f"{(spans + of_kinds + sums) / entries:.3f}    ")


Question = Callable[[AsyncConnection, datetime], Awaitable[Any]]


async def _ask(engine: AsyncEngine, count: int) -> None:
    end = BEGIN + count * GAP
    questions: dict[str, Question] = {
        "a bare question and its answer": lambda c, _: c.execute(text("SELECT 1")),
        "balance at an instant, account in all": lambda c, at: balance_at(c, HOT, "usd", at),
        "balance at an instant, account in a thousandth": lambda c, at: balance_at(c, SPARSE, "usd", at),
        "statement, 100 lines, account in all": lambda c, at: read_statement(c, HOT, "usd", since=at),
        "statement, 100 lines, account in half": lambda c, at: read_statement(c, HALF, "usd", since=at),
        "statement, 100 lines, account in a thousandth": lambda c, at: read_statement(
            c, SPARSE, "usd", since=at
        ),
        "statement, from its cursor": _next_page,
        "transactions, 20, before an instant": lambda c, at: list_transactions(
            c, TransactionFilter(until=at), limit=20
        ),
        "transactions, 20, of a rare kind": lambda c, at: list_transactions(
            c, TransactionFilter(until=at, kind="balance_transaction_dispute"), limit=20
        ),
        "trial balance at an instant": trial_balance,
        "trial balance over a period": lambda c, at: period_balance(c, at - timedelta(days=1), at),
    }
    for name, question in questions.items():
        times = await _times(engine, question, end)
        cuts = quantiles(times, n=100)
        say(f"{name}: p50, p95", f"{cuts[49]:.1f}, {cuts[94]:.1f} ms")


async def _next_page(connection: AsyncConnection, at: datetime) -> None:
    page = await read_statement(connection, HOT, "usd", since=at, limit=1)
    await read_statement(connection, HOT, "usd", since=at, cursor=page.next_cursor)


async def _times(engine: AsyncEngine, question: Question, end: datetime) -> list[float]:
    """Milliseconds of each of some answers, at times drawn alike in every run, in a snapshot of its own."""
    chance, times = random.Random(20261124), []
    for _ in range(_TURNS):
        at = BEGIN + (end - BEGIN) * chance.random()
        begun = time.perf_counter()
        async with snapshot(engine) as connection:
            await question(connection, at)
        times.append(1000 * (time.perf_counter() - begun))
    return times
