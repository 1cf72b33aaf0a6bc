"""The road of an event: acknowledged, processed to a committed ledger, its balance transactions posted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final

from tests.builders import Json, StripeStory
from tests.road import Road, incoming

from bench.machine import Machine, bare_inserts, measured, ratio

_BATCH: Final = 200
_CONNECTIONS: Final = 32
_EVENTS_A_PAYMENT: Final = 4


async def run(machine: Machine) -> None:
    """All measurements on one database."""
    payments = max(1, machine.events // _EVENTS_A_PAYMENT)
    story = story_of(payments)
    count = len(story.events)
    async with machine.database("bench_events") as engine:
        road = Road(engine, story)
        bare = await measured(
            f"bare rows inserted, committed by {_BATCH}",
            count,
            lambda: bare_inserts(engine, count, batch=_BATCH),
        )
        await measured(
            f"events acknowledged durably ({_CONNECTIONS} at once)",
            count,
            lambda: acknowledge(road, story.events),
        )
        processed = await measured(
            "events processed to committed ledger and status", count, lambda: process(road, story.events)
        )
        await measured("balance transactions stored and posted", payments, lambda: settle(road))
    ratio("events processed : bare rows", processed / bare)


def story_of(payments: int, first: int = 0) -> StripeStory:
    """Payments that succeed: four events each, as Stripe sends them; numbered from ``first``."""
    story = StripeStory(_numbers=itertools.count(10 * first))
    for number in range(first, first + payments):
        intent = story.intent(1000 + number % 5000, "usd", ours=f"pay_{number:026d}")
        story.succeed(intent)
    return story


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
