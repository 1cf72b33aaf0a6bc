"""A rebuild beside everything else: workers under load, other runs, its own death."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.house import House, house
from tests.integration.test_rebuild import equal, posted

from tallystick.embedded import EmbeddedValkey


async def _shop(running: House, closed: asyncio.Event) -> None:
    """Payments and refunds made by others, one after the other, in several currencies."""
    for currency in itertools.cycle(("usd", "eur", "jpy")):
        paid = await running.stripe(
            "/v1/payment_intents",
            **{
                "amount": 2000,
                "currency": currency,
                "confirm": "true",
                "payment_method": "pm_card_visa",
                "automatic_payment_methods[enabled]": "true",
                "automatic_payment_methods[allow_redirects]": "never",
            },
        )
        await running.stripe("/v1/refunds", payment_intent=paid["id"], amount=500)
        if closed.is_set():
            return


async def test_beside_working_workers_nothing_differs(database_url: str, valkey: EmbeddedValkey) -> None:
    """Looked at until it was seen to grow, with inputs not done yet."""
    async with house(database_url, valkey) as running:
        closed = asyncio.Event()
        shops = [asyncio.create_task(_shop(running, closed)) for _ in range(3)]
        sizes, left_open = [0], 0
        while len(set(sizes)) < 5 or not left_open:
            found = await equal(running.app.engine)
            sizes.append(found.ledger_transactions)
            left_open += found.read.open
        closed.set()
        await asyncio.gather(*shops)
        await running.until_settled()
        sizes.append((await equal(running.app.engine)).ledger_transactions)
    assert sizes == sorted(sizes)


@asynccontextmanager
async def _held_up(engine: AsyncEngine) -> AsyncIterator[None]:
    """Nobody gets to the stored facts, so whoever reads the inbox waits in the middle of it."""
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE fetched_objects IN ACCESS EXCLUSIVE MODE"))
        yield


_SCRATCH = "SELECT count(*) FROM pg_class WHERE relname LIKE 'rebuild%'"
_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def _count(engine: AsyncEngine, query: str) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(query))).scalar_one())


async def _until(engine: AsyncEngine, query: str, *, some: bool) -> None:
    """Wait until a query counts something, or nothing any more."""
    deadline = time.monotonic() + 60
    while True:
        if (await _count(engine, query) > 0) is some:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("end", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
async def test_a_run_that_is_ended_leaves_nothing(
    engine: AsyncEngine, database_url: str, end: signal.Signals, code: int
) -> None:
    await posted(engine)
    async with _held_up(engine):
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tallystick", "ledger", "rebuild", "--check",
            env={"PATH": os.environ["PATH"], "DATABASE_URL": database_url},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await _until(engine, _WAITING, some=True)
        assert await _count(engine, _SCRATCH) > 0
        run.send_signal(end)
        await asyncio.wait_for(run.communicate(), 60)
        assert run.returncode == code
    await _until(engine, _SCRATCH, some=False)
    await equal(engine)
    assert await _count(engine, _SCRATCH) == 0
