"""What a large inbox costs: events processed beside few stored ones, and beside ``--rows`` of them."""

from __future__ import annotations

import itertools
from statistics import median

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.road import Road

from bench.events import acknowledge, process, story_of
from bench.machine import Machine, measured, ratio, say

_FEW = 10_000
_STEP = 500_000
_EVENTS_A_PAYMENT = 4
_TURNS = 3
_stories = itertools.count(1)

_ARCHIVE = text("""
INSERT INTO event_archives (last_seq, events, offsets, body) VALUES (0, 1, '{2}', '\\x789cabae050000f900f9')
RETURNING id
""")

# As the inbox is after some years: processed, the bodies in archives, ids that grow with time as Stripe's do.
_FILL = text("""
INSERT INTO webhook_events (
  id, type, api_version, livemode, status, created_at, received_at, ring_at, finished_at,
  archive_id, archive_position
)
SELECT 'evt_0' || lpad(to_hex(n), 14, '0') || substr(md5(n::text), 1, 8), 'charge.succeeded',
       '2026-10-28.endive', true, 'processed', t, t, t, t, :archive, 1
  FROM (SELECT n, timestamptz '2024-01-01' + n * interval '6 seconds' AS t
          FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n) AS s
""")


async def run(machine: Machine) -> None:
    """The same work before and after, on one database."""
    async with machine.database("bench_growth") as engine:
        async with engine.begin() as connection:
            archive = (await connection.execute(_ARCHIVE)).scalar_one()
        await _fill(engine, archive, 0, _FEW)
        few = await _works(engine, machine)
        await _fill(engine, archive, _FEW, machine.rows)
        await _vacuum(engine)
        many = await _works(engine, machine)
        async with engine.connect() as connection:
            size = await connection.execute(text("SELECT pg_total_relation_size('webhook_events')"))
            say("size of a row, indexes too", f"{size.scalar_one() / machine.rows:,.0f} bytes")
    ratio(f"acknowledged beside {machine.rows:,} rows : beside {_FEW:,}", many[0] / few[0])
    ratio(f"processed beside {machine.rows:,} rows : beside {_FEW:,}", many[1] / few[1])


async def _works(engine: AsyncEngine, machine: Machine) -> tuple[float, float]:
    """The median rates of a few turns, after one for connections, plans and caches."""
    turns = [await _work(engine, machine) for _ in range(1 + _TURNS)][1:]
    return median(turn[0] for turn in turns), median(turn[1] for turn in turns)


async def _work(engine: AsyncEngine, machine: Machine) -> tuple[float, float]:
    payments = max(1, machine.events // _EVENTS_A_PAYMENT)
    story = story_of(payments, next(_stories) * 10_000_000)
    road = Road(engine, story)
    count = len(story.events)
    acknowledged = await measured("events acknowledged", count, lambda: acknowledge(road, story.events))
    return acknowledged, await measured("events processed", count, lambda: process(road, story.events))


async def _fill(engine: AsyncEngine, archive: int, first: int, end: int) -> None:
    for start in range(first, end, _STEP):
        last = min(start + _STEP, end) - 1
        async with engine.begin() as connection:
            await connection.execute(_FILL, {"archive": archive, "first": start, "last": last})
    say("stored rows", f"{end:,}")


async def _vacuum(engine: AsyncEngine) -> None:
    """What autovacuum does in years, and a checkpoint, so that neither falls into what is measured."""
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in ("VACUUM (ANALYZE) webhook_events", "CHECKPOINT"):
            await autocommit.execute(text(statement))
