"""The ledger built again from its inputs and compared: as a company does at the end of a month."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.road import Road

from bench.events import acknowledge, process, settle, story_of
from bench.machine import Machine, measured, say
from tallystick.pipeline import archives
from tallystick.pipeline.rebuild.check import check
from tallystick.pipeline.rebuild.explanation import explain

_EVENTS_A_PAYMENT = 4


async def run(machine: Machine) -> None:
    """Fill a ledger by the road of an event, then rebuild it from rows, and from archives."""
    payments = max(1, machine.events // _EVENTS_A_PAYMENT)
    story = story_of(payments)
    # what the benchmark holds is none of what a rebuild has to walk through
    gc.freeze()
    async with machine.database("bench_rebuild") as engine:
        road = Road(engine, story)
        await acknowledge(road, story.events)
        await process(road, story.events)
        await settle(road)
        await _rebuild(engine, "bodies in their rows", len(story.events))
        await _memory(machine.postgres.url("bench_rebuild"))
        async with engine.begin() as connection:
            await connection.execute(
                text("UPDATE webhook_events SET received_at = now() - interval '40 days'")
            )
        await archives.archive(engine, after_days=30)
        await _rebuild(engine, "bodies in archives", len(story.events))
        await _memory(machine.postgres.url("bench_rebuild"))
        key = f"charge:{next(iter(story.charges))}:captured"

        async def explained() -> None:
            assert len((await explain(engine, key)).implied_by) == _EVENTS_A_PAYMENT

        await measured("events searched to explain an effect, in archives", len(story.events), explained)


async def _rebuild(engine: AsyncEngine, which: str, events: int) -> None:
    begun = {"wall": time.perf_counter(), "cpu": time.process_time()}
    marks: dict[str, float] = {}
    found = await check(engine, watch=lambda doing, _done, _total: marks.update({doing: time.perf_counter()}))
    ended = {"wall": time.perf_counter(), "cpu": time.process_time()}
    assert found.equal
    assert found.ledger_transactions
    wall = ended["wall"] - begun["wall"]
    say(f"events rebuilt and compared, {which}", f"{events / wall:,.0f} /s")
    say("  ledger transactions", f"{found.ledger_transactions / wall:,.0f} /s")
    say("  processor time of Python", f"{1e6 * (ended['cpu'] - begun['cpu']) / events:,.0f} µs an event")
    parts = zip(("wall", *marks), marks, strict=False)
    times = {"wall": begun["wall"], **marks}
    shares = {after: times[after] - times[before] for before, after in parts}
    shares["comparing"] = ended["wall"] - times["comparing"]
    say("  seconds", ", ".join(f"{name} {seconds:.1f}" for name, seconds in shares.items()))


async def _memory(url: str) -> None:
    """What the command needs in a process of its own; it must not grow with the ledger."""
    rebuild = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PEAK, stdout=asyncio.subprocess.PIPE, env={**os.environ, "DATABASE_URL": url}
    )
    out, _ = await rebuild.communicate()
    assert rebuild.returncode == 0
    say("  memory of the command, at most", f"{int(out.splitlines()[-1]) / 1024:,.0f} MB")


_PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "tallystick", "ledger", "rebuild", "--check", "--json"])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
"""A process that waits for the command alone, so that the peak is the command's."""
