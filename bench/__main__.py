"""``make bench``: how fast the parts are on this machine, beside the machine's own limits in the same run.

    python -m bench [--events N]

Embedded PostgreSQL, fsync on; one process. Figures are for comparing within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.road import Road, incoming

from tallystick.db import migrate
from tallystick.db.session import open_engine
from tallystick.embedded import EmbeddedPostgres
from tallystick.settings import load_settings

_BATCH: Final = 200
_CONNECTIONS: Final = 32
_EVENTS_A_PAYMENT: Final = 4


def story_of(payments: int) -> StripeStory:
    """Payments that succeed: four events each, as Stripe sends them."""
    story = StripeStory()
    for number in range(payments):
        intent = story.intent(1000 + number % 5000, "usd", ours=f"pay_{number:026d}")
        story.succeed(intent)
    return story


async def measured(name: str, count: int, work: Callable[[], Awaitable[None]]) -> float:
    """Run once, print the rate, return it."""
    started = time.perf_counter()
    await work()
    rate = count / (time.perf_counter() - started)
    print(f"{name:<58} {rate:>10,.0f} /s")
    return rate


async def bare_inserts(engine: AsyncEngine, count: int) -> None:
    """The machine's limit: rows of two columns, inserted and committed in batches of the same size."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE bench_bare (id bigint PRIMARY KEY, body text)"))
    insert = text("INSERT INTO bench_bare SELECT i, 'x' FROM unnest(CAST(:ids AS bigint[])) AS i")
    for start in range(0, count, _BATCH):
        async with engine.begin() as connection:
            await connection.execute(insert, {"ids": list(range(start, start + _BATCH))})


async def acknowledge(road: Road, events: Sequence[Json]) -> None:
    """Receive events over as many connections as Stripe might hold."""
    waiting = iter([incoming(event) for event in events])

    async def connection() -> None:
        for event in waiting:
            await road.inbox.receive(event)

    await asyncio.gather(*(connection() for _ in range(_CONNECTIONS)))


async def process(road: Road, events: Sequence[Json]) -> None:
    """Work the inbox off in batches, as a worker does."""
    ids = [event["id"] for event in events]
    for start in range(0, len(ids), _BATCH):
        await road.processor.process(ids[start : start + _BATCH])


async def settle(road: Road) -> None:
    """Post all balance transactions that were listed."""
    await road.settlement.pull()


async def run(url: str, payments: int) -> None:
    """All measurements on one database."""
    engine = open_engine(load_settings({}, require=(), database_url=url, database_pool_size=20))
    await migrate.upgrade(engine)
    story = story_of(payments)
    road = Road(engine, story)
    count = len(story.events)
    bare = await measured("bare rows inserted, committed by 200", count, lambda: bare_inserts(engine, count))
    await measured(
        f"events acknowledged durably ({_CONNECTIONS} at once)",
        count,
        lambda: acknowledge(road, story.events),
    )
    processed = await measured(
        "events processed to committed ledger and status", count, lambda: process(road, story.events)
    )
    await measured("balance transactions stored and posted", payments, lambda: settle(road))
    print(f"{'events processed : bare rows':<58} {processed / bare:>10.3f}")
    await engine.dispose()


def main() -> None:
    """Parse, start PostgreSQL in a temporary folder, measure, remove it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000, help="events to take in (default: %(default)s)")
    count = parser.parse_args().events
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder)
    try:
        server.start()
        uvloop.run(run(server.url("bench"), max(1, count // _EVENTS_A_PAYMENT)))
    finally:
        server.erase()
        shutil.rmtree(folder, ignore_errors=True)


main()
