"""What the worker counts is what happened: each fact once, whatever comes twice."""

from __future__ import annotations

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.counted import counted
from tests.integration.test_pipeline import breaking, payments
from tests.road import Road

from tallystick.errors import PayloadError
from tallystick.events.catalog import EVENTS
from tallystick.monitoring import metrics
from tallystick.pipeline.loops import Loops
from tallystick.pipeline.queue import QueueUnavailableError

FACTS = "tallystick_facts_total"


async def test_events_are_counted_by_type_and_what_became_of_them(engine: AsyncEngine) -> None:
    story = payments(3)
    story.event("a.type_of_tomorrow", {"object": "thing", "id": "x"})
    with counted() as moved:
        await Road(engine, story).deliver(story.events)
    of_intents = moved.by("tallystick_events_total", type="payment_intent.succeeded", outcome="processed")
    assert of_intents == 3
    assert moved.by("tallystick_events_total", type=metrics.OTHER, outcome="ignored") == 1
    assert sum(moved.family("tallystick_events_total", "type").values()) == len(story.events)
    assert moved.by("tallystick_event_latency_seconds_count") == len(story.events)
    assert moved.by("tallystick_batch_duration_seconds_count") == 1
    assert moved.by("tallystick_ledger_transactions_total") == 6  # captured, and a sale, each


async def test_a_fact_is_counted_once_however_often_it_is_told(engine: AsyncEngine) -> None:
    story = payments(2)
    failed = story.intent(500, ours="pay_" + "7" * 26)
    story.decline(failed)
    road = Road(engine, story)
    with counted() as moved:
        await road.deliver(story.events)
        async with engine.begin() as connection:  # all of them once more, as a replay does
            await connection.execute(text("UPDATE webhook_events SET status = 'pending'"))
        for event in story.events:
            await road.process([event["id"]])
    assert moved.family(FACTS, "type") == {"payment.succeeded": 2, "payment.failed": 1}
    why = moved.family("tallystick_payment_failures_total", "code")
    assert why == {failed["last_payment_error"]["decline_code"]: 1}


async def test_a_code_that_nobody_knows_makes_no_series_of_its_own(engine: AsyncEngine) -> None:
    story = StripeStory()
    failed = story.intent(500, ours="pay_" + "7" * 26)
    story.decline(failed)
    told = orjson.dumps(story.events).replace(
        failed["last_payment_error"]["decline_code"].encode(), b"a_reason_of_tomorrow"
    )
    told = told.replace(b"card_declined", b"a_code_of_tomorrow")
    with counted() as moved:
        await Road(engine, story).deliver(orjson.loads(told))
    assert moved.family("tallystick_payment_failures_total", "code") == {metrics.OTHER: 1}


async def test_what_failed_is_counted_by_its_code(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = payments(2)
    bad = next(event["id"] for event in story.events if event["type"] == "charge.succeeded")
    broken, _ = breaking(bad, PayloadError("no"))
    spec = EVENTS["charge.succeeded"]
    monkeypatch.setitem(EVENTS, spec.type, type(spec)(spec.type, broken, spec.meaning))
    with counted() as moved:
        await Road(engine, story).deliver(story.events)
    assert moved.by("tallystick_event_failures_total", code="invalid_payload", outcome="dead") == 1
    assert sum(moved.family("tallystick_events_total", "type").values()) == len(story.events) - 1


async def test_a_key_that_comes_back_with_other_amounts_is_counted(engine: AsyncEngine) -> None:
    story = payments(1)
    road = Road(engine, story)
    await road.deliver(story.events)
    (charge,) = (event for event in story.events if event["type"] == "charge.succeeded")
    other = orjson.loads(orjson.dumps(charge).replace(b"1000", b"1001"))
    other["id"] = "evt_other"
    with counted() as moved:
        await road.deliver([other])
    assert moved.by("tallystick_key_conflicts_total") >= 1
    assert moved.by("tallystick_event_failures_total", code="effect_differs", outcome="dead") == 1


async def test_a_step_of_a_loop_that_failed_is_counted_by_what_was_away() -> None:
    async def step() -> None:
        raise QueueUnavailableError("no")

    with counted() as moved:
        assert not await Loops().attempt("read", step)
    assert moved.by("tallystick_loop_failures_total", loop="read", cause="queue_unavailable") == 1
