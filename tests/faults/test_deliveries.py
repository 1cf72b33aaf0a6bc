"""Deliveries in any order, again and again, by workers of two versions, while Stripe is away."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.conftest import Databases
from tests.faults.burst import deliveries, tell_burst
from tests.faults.comparison import assert_as_if_nothing_happened, undisturbed
from tests.faults.conftest import Install
from tests.faults.installation import until
from tests.faults.sender import Sender

from tallystick.pipeline.operations.audit import Order
from tallystick.pipeline.operations.replay import replay_events
from tallystick.pipeline.views.selection import EventStatus, Selection

SEED = 77
SIZES = [pytest.param(200, id="short"), pytest.param(2000, id="long", marks=pytest.mark.long)]


@pytest.mark.parametrize("events", SIZES)
@pytest.mark.timeout(600)
async def test_every_event_ten_times_in_any_order_is_processed_once(
    install: Install, databases: Databases, events: int
) -> None:
    story = tell_burst(events, SEED)
    expected = await undisturbed(databases, story)
    shuffled = story.events * 10
    random.Random(SEED).shuffle(shuffled)
    async with install(story) as (installation, stripe):
        await installation.start_api()
        workers = [installation.start_worker(), installation.start_worker()]
        async with Sender(installation.api_url, stripe) as sender:
            await sender.deliver(shuffled)
        assert dict(sender.answers) == {200: len(shuffled)}
        await assert_as_if_nothing_happened(installation, story, expected)
        for worker in workers:
            assert await installation.stop(worker) == 0


@pytest.mark.parametrize("events", SIZES)
@pytest.mark.timeout(300)
async def test_stripe_away_in_the_middle_of_a_burst_delays_and_loses_nothing(
    install: Install, databases: Databases, events: int
) -> None:
    """No attempt is counted while it is away; what needs nothing of it is processed meanwhile."""
    story = tell_burst(events, SEED)
    expected = await undisturbed(databases, story)
    async with install(story) as (installation, stripe):
        await installation.start_api()
        worker = installation.start_worker()
        sending = deliveries(story, SEED)
        half = len(sending) // 2
        async with Sender(installation.api_url, stripe) as sender:
            await sender.deliver(sending[:half])
            stripe.hang()
            await sender.deliver(sending[half:])
        await installation.until_done(half)
        then = await installation.progress()
        assert then.pending > 0 or then.movements_open > 0, "something waits for Stripe"
        stripe.answer()
        await assert_as_if_nothing_happened(installation, story, expected)
        assert await installation.stop(worker) == 0


@pytest.mark.parametrize("events", SIZES)
@pytest.mark.timeout(300)
async def test_a_rolling_upgrade_with_two_versions_at_work_loses_and_doubles_nothing(
    install: Install, databases: Databases, events: int
) -> None:
    """What the old version ignored is processed when the new one has it replayed."""
    learnt = ("refund.created", "refund.failed", "charge.captured", "payment_intent.succeeded")
    story = tell_burst(events, SEED)
    expected = await undisturbed(databases, story)
    async with install(story) as (installation, stripe):
        await installation.start_api()
        old = [installation.start_worker(unknown_types=learnt) for _ in range(2)]
        sending = deliveries(story, SEED)
        third = len(sending) // 3

        async def all_at_work() -> bool:
            return [line["event"] for line in installation.log("worker")].count("worker_started") == len(old)

        await until(all_at_work)
        async with Sender(installation.api_url, stripe) as sender, asyncio.TaskGroup() as group:
            await sender.deliver(sending[:third])
            await installation.until_done(third // 2)
            new = installation.start_worker()
            group.create_task(sender.deliver(sending[third : 2 * third]))
            assert await installation.stop(old.pop()) == 0
            group.create_task(sender.deliver(sending[2 * third :]))
            await installation.kill(old.pop())

        async def nothing_pending() -> bool:
            return (await installation.progress()).pending == 0

        await until(nothing_pending)
        ignored = "SELECT count(*) FROM webhook_events WHERE status = 'ignored'"
        assert await installation.scalar(ignored) > 0, "the old version has had its share"
        selection = Selection(types=learnt, statuses=(EventStatus.IGNORED,))
        order = Order("operator", "the new version knows them")
        await replay_events(installation.engine, selection, order, per_second=0, wait_s=60)
        await assert_as_if_nothing_happened(installation, story, expected)
        assert await installation.scalar(ignored) == 0
        assert await installation.stop(new) == 0
