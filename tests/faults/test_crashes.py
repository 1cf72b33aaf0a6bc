"""Killed in the middle of a burst, again and again: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import pytest
from tests.builders import Json
from tests.conftest import Databases
from tests.faults.burst import deliveries, tell_burst
from tests.faults.comparison import assert_as_if_nothing_happened, undisturbed
from tests.faults.conftest import Install
from tests.faults.installation import Installation, Process, note, until
from tests.faults.sender import NO_ANSWER, Sender

SEED = 20261124


def portions(events: list[Json], count: int) -> list[list[Json]]:
    size = -(-len(events) // count)
    return [events[start : start + size] for start in range(0, len(events), size)]


async def kill_within_the_burst(
    installation: Installation, worker: Process, chance: random.Random, spread: int
) -> str:
    """Kill the worker somewhere in a batch, when it has done something; asserts that it had work left."""
    before = (await installation.progress()).done
    await installation.until_done(before + chance.randint(1, spread))
    await asyncio.sleep(chance.uniform(0, 0.02))  # a batch takes about so long
    await installation.kill(worker)
    then = await installation.progress()
    assert then.pending > 0, f"the kill came after the burst: {then}"
    assert then.done > before, f"nothing was done since the last kill: {then}"
    assert then.half_done == 0
    return f"{then.done - before} done, {then.pending} left"


@pytest.mark.parametrize(
    ("events", "kills"),
    [pytest.param(400, 4, id="short"), pytest.param(5000, 50, id="long", marks=pytest.mark.long)],
)
@pytest.mark.timeout(1200)
async def test_a_worker_killed_in_the_middle_of_a_burst(
    install: Install, databases: Databases, events: int, kills: int
) -> None:
    """Portions of the burst keep coming in while the worker is killed and started again."""
    chance = random.Random(SEED)
    story = tell_burst(events, SEED)
    expected = await undisturbed(databases, story)
    spread = len(story.events) // kills // 3
    note(f"seed {SEED}, {len(story.events)} events")
    async with install(story) as (installation, stripe):
        await installation.start_api()
        async with Sender(installation.api_url, stripe) as sender, asyncio.TaskGroup() as group:
            first, *rest = portions(deliveries(story, SEED), kills + 1)
            await sender.deliver(first)
            for portion in rest:
                group.create_task(sender.deliver(portion))
                note(await kill_within_the_burst(installation, installation.start_worker(), chance, spread))
        assert set(sender.answers) == {200}, "nobody but the worker was hurt"
        worker = installation.start_worker()
        await assert_as_if_nothing_happened(installation, story, expected)
        assert await installation.stop(worker) == 0


async def test_a_worker_asked_to_stop_finishes_what_it_has_in_hand(
    install: Install, databases: Databases
) -> None:
    """Also while Stripe hangs. What is left is left whole, and the next worker goes on with it."""
    story = tell_burst(300, SEED)
    expected = await undisturbed(databases, story)
    async with install(story) as (installation, stripe):
        await installation.start_api()
        async with Sender(installation.api_url, stripe) as sender:
            await sender.deliver(deliveries(story, SEED))
        stripe.hang()
        worker = installation.start_worker()
        await installation.until_done(50)
        began = time.monotonic()
        assert await installation.stop(worker) == 0
        took = time.monotonic() - began
        note(f"stopped in {took:.2f} s")
        assert took < 5
        then = await installation.progress()
        assert then.pending > 0
        assert then.half_done == 0
        assert await installation.unacknowledged_rings() == 0, "the batch in hand was acknowledged"
        stripe.answer()
        worker = installation.start_worker()
        await assert_as_if_nothing_happened(installation, story, expected)
        assert await installation.stop(worker) == 0


async def _acknowledged(sender: Sender, enough: int) -> bool:
    return len(sender.acknowledged) >= enough


async def test_an_api_killed_while_it_acknowledges_has_stored_all_that_it_acknowledged(
    install: Install,
) -> None:
    chance = random.Random(SEED)
    story = tell_burst(900, SEED)
    async with install(story) as (installation, stripe):
        for portion in portions(story.events, 3):
            async with Sender(installation.api_url, stripe) as sender:
                api = await installation.start_api()
                sending = asyncio.create_task(sender.deliver(portion, tries=1))
                enough = chance.randint(20, 150)
                await until(partial(_acknowledged, sender, enough))
                await installation.kill(api)
                sending.cancel()  # the socket lives on: what connects now would wait for the next API
                await asyncio.gather(sending, return_exceptions=True)
            assert 0 < len(sender.acknowledged) < len(portion), "the kill came in the middle"
            stored = await installation.scalar("SELECT array_agg(id) FROM webhook_events")
            assert sender.acknowledged <= set(stored)
            note(
                f"{len(sender.acknowledged)} acknowledged, {len(stored)} stored, {sender.answers[NO_ANSWER]}"
            )
