"""The ledger alone: posting in bulk with hot accounts, one by one, sealed and verified, and beside millions.

``--pgledger FILE`` gives the SQL of pgledger, which is not ours to keep here, to measure its transfers on a
hot account in the same PostgreSQL.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.ledger_rows import LEGS, bookings, fill
from bench.machine import Machine, bare_inserts, measured, ratio, say
from tallystick.ledger.book import Book
from tallystick.ledger.entries import LedgerTransaction
from tallystick.ledger.seals import horizon, seal
from tallystick.ledger.verification import verify

_BATCH: Final = 200
_WRITERS: Final = 4
_CLIENTS: Final = 20
_FEW: Final = 100_000
_TURNS: Final = 3
_ALONE: Final = 500
_numbers = itertools.count(0, 10_000_000)


async def run(machine: Machine) -> None:
    """All measurements on one database, pgledger's on one beside it."""
    count = machine.events
    async with machine.database("bench_ledger") as engine:
        bare = await measured(
            f"bare rows inserted, committed by {_BATCH}",
            count,
            lambda: bare_inserts(engine, count, batch=_BATCH),
        )
        few_rate = await _rate(engine, count)
        ratio("  : bare rows", few_rate / bare)
        await _alone(engine)
        single = await _by_clients(engine, machine.seconds)
        if machine.pgledger is not None:
            theirs = await _pgledger(machine, machine.pgledger)
            ratio("posted in bulk : pgledger's transfers", few_rate / theirs)
            ratio("committed one by one : pgledger's transfers", single / theirs)
        await _size(engine)
        await _verify(engine)
        await _growth(engine, machine)


async def _rate(engine: AsyncEngine, count: int) -> float:
    """Ledger transactions a second: the median of some turns, after one for connections and plans."""
    turns = []
    for _ in range(1 + _TURNS):
        batch = bookings(count, next(_numbers))
        name = f"ledger transactions of {LEGS} entries posted, all on three accounts"
        turns.append(await measured(name, count, lambda batch=batch: _post(engine, batch)))  # type: ignore[misc]
    return median(turns[1:])


async def _post(engine: AsyncEngine, batch: Sequence[LedgerTransaction]) -> None:
    """As the worker does: batches, some of them at the same time."""
    book = Book()
    chunks = iter([batch[at : at + _BATCH] for at in range(0, len(batch), _BATCH)])

    async def write() -> None:
        for chunk in chunks:
            await _commit(engine, book, chunk)

    await asyncio.gather(*(write() for _ in range(_WRITERS)))


async def _commit(engine: AsyncEngine, book: Book, batch: Sequence[LedgerTransaction]) -> None:
    async with engine.begin() as connection:
        await book.settle_balances(connection, await book.post(connection, batch))


async def _alone(engine: AsyncEngine) -> None:
    """How long one takes from the call to the commit, when nothing else is written."""
    book, times = Book(), []
    for item in bookings(_ALONE, next(_numbers)):
        begun = time.perf_counter()
        await _commit(engine, book, [item])
        times.append(1000 * (time.perf_counter() - begun))
    cuts = quantiles(times, n=100)
    say("one alone, to its commit: p50, p99", f"{cuts[49]:.1f}, {cuts[98]:.1f} ms")


async def _by_clients(engine: AsyncEngine, seconds: float) -> float:
    """One database transaction for each ledger transaction, by many clients on the same accounts."""
    book, deadline, done = Book(), time.perf_counter() + seconds, 0

    async def client(first: int) -> None:
        nonlocal done
        for number in itertools.count(first):
            if time.perf_counter() > deadline:
                return
            await _commit(engine, book, bookings(1, number))
            done += 1

    await asyncio.gather(*(client(next(_numbers)) for _ in range(_CLIENTS)))
    say(f"committed one by one by {_CLIENTS} clients, all on three accounts", f"{done / seconds:,.0f} /s")
    return done / seconds


async def _pgledger(machine: Machine, sql: Path) -> float:
    """Its transfers from one hot account to others, by as many clients."""
    url = machine.postgres.url("bench_pgledger")
    pool = await asyncpg.create_pool(url, min_size=_CLIENTS, max_size=_CLIENTS)
    async with pool:
        await pool.execute(await asyncio.to_thread(sql.read_text, "utf-8"))
        make = "SELECT id FROM pgledger_create_account($1, 'usd')"
        hot, *others = [await pool.fetchval(make, f"account {number}") for number in range(_CLIENTS + 1)]
        deadline, done = time.perf_counter() + machine.seconds, 0

        async def client(other: str) -> None:
            nonlocal done
            while time.perf_counter() < deadline:
                await pool.fetch("SELECT * FROM pgledger_create_transfer($1, $2, '10')", hot, other)
                done += 1

        await asyncio.gather(*(client(other) for other in others))
    rate = done / machine.seconds
    say(f"pgledger: transfers by {_CLIENTS} clients, one account in all", f"{rate:,.0f} /s")
    return rate


async def _size(engine: AsyncEngine) -> None:
    sizes = text("""
        SELECT pg_total_relation_size('ledger_transactions') / (SELECT count(*) FROM ledger_transactions),
               pg_total_relation_size('ledger_entries') / (SELECT count(*) FROM ledger_entries)
    """)
    async with engine.connect() as connection:
        header, entry = (await connection.execute(sizes)).one()
    say("size of a header and of an entry, indexes too", f"{header}, {entry} bytes")


async def _verify(engine: AsyncEngine) -> None:
    begun = time.perf_counter()
    await seal(engine, await horizon(engine))
    sealed = time.perf_counter() - begun
    begun = time.perf_counter()
    verdict = await verify(engine)
    if not verdict.sound:
        raise RuntimeError(f"the ledger is not sound: {verdict.findings[:3]}")
    say("entries sealed", f"{verdict.entries / sealed:,.0f} /s")
    say("entries verified", f"{verdict.entries / (time.perf_counter() - begun):,.0f} /s")


async def _growth(engine: AsyncEngine, machine: Machine) -> None:
    """The same posting beside few entries, and beside ``--rows`` of them."""
    await fill(engine, 0, _FEW // LEGS)
    few = await _rate(engine, machine.events)
    await fill(engine, _FEW // LEGS, machine.rows // LEGS)
    many = await _rate(engine, machine.events)
    ratio(f"posted beside {machine.rows:,} entries : beside {_FEW:,}", many / few)
    await _verify(engine)
