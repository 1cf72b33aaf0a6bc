"""Metadata edited at Stripe, where anybody may: no row stands for two objects, no object in two rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.road import Road

OURS = "pay_" + "0" * 26
PAYMENTS = "SELECT id, stripe_payment_intent, amount, status FROM payments ORDER BY id"
REFUNDS = "SELECT id, stripe_refund, amount, status FROM refunds ORDER BY id"


async def read(engine: AsyncEngine, query: str) -> list[tuple[Any, ...]]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


def of_type(events: Sequence[Json], *types: str) -> list[Json]:
    return [event for event in events if event["type"] in types]


def cut(events: list[Json], how: str) -> list[list[Json]]:
    return {"batch": [events], "reversed": [events[::-1]], "apart": [[event] for event in events]}[how]


@pytest.mark.parametrize("how", ["batch", "reversed", "apart"])
async def test_a_copy_of_a_payments_metadata_is_another_payment(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    ours, copy = story.intent(1000, ours=OURS), story.intent(2000, ours=OURS)
    road = Road(engine, story)
    for batch in cut(story.events, how):
        await road.deliver(batch)
    open_ = "requires_payment_method"
    assert await read(engine, PAYMENTS) == [
        (OURS, ours["id"], 1000, open_), (f"pay_{copy['id']}", copy["id"], 2000, open_),
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["batch", "reversed", "apart"])
async def test_a_payment_whose_metadata_is_removed_stays_the_same(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    intent = story.intent(1000, ours=OURS)
    intent["metadata"] = {}
    story.cancel(intent)
    road = Road(engine, story)
    for batch in cut(story.events, how):
        await road.deliver(batch)
    assert await read(engine, PAYMENTS) == [(OURS, intent["id"], 1000, "canceled")]
    assert await read(engine, "SELECT DISTINCT status FROM webhook_events") == [("processed",)]


@pytest.mark.parametrize("how", ["batch", "reversed", "apart"])
async def test_a_refund_whose_metadata_is_removed_stays_the_same(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours=OURS))
    refund = story.refund(charge, 500, status="pending", ours=True)
    name = refund["metadata"]["tallystick_refund"]
    refund["metadata"] = {"tallystick_payment": OURS}
    story.update_refund(charge, refund, "failed")
    road = Road(engine, story)
    for batch in cut(story.events, how):
        await road.deliver(batch)
    await road.finish()
    assert await read(engine, REFUNDS) == [(name, refund["id"], 500, "failed")]
    assert await read(engine, "SELECT DISTINCT status FROM webhook_events") == [("processed",)]


@pytest.mark.parametrize("how", ["batch", "reversed", "apart"])
async def test_a_copy_of_a_refunds_metadata_is_another_refund(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours=OURS))
    first = story.refund(charge, 300, ours=True)
    copy = story.refund(charge, 400, ours=True)
    name = first["metadata"]["tallystick_refund"]
    copy["metadata"]["tallystick_refund"] = name  # a dict that the events share
    road = Road(engine, story)
    for batch in cut(story.events, how):
        await road.deliver(batch)
    await road.finish()
    assert await read(engine, REFUNDS) == [
        (name, first["id"], 300, "succeeded"), (f"ref_{copy['id']}", copy["id"], 400, "succeeded"),
    ]  # fmt: skip


async def test_a_reservation_is_taken_by_the_refund_created_first(engine: AsyncEngine) -> None:
    """The answer was lost and the metadata copied: our row goes to the refund that was made for it."""
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours=OURS))
    first = story.refund(charge, 300, ours=True)
    copy = story.refund(charge, 400, ours=True)
    name = first["metadata"]["tallystick_refund"]
    copy["metadata"]["tallystick_refund"] = name
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO refunds (id, payment_id, status, amount, currency, created_at)"
                " VALUES (:id, :payment, 'unknown', 300, 'usd', now())"
            ),
            {"id": name, "payment": OURS},
        )
    await Road(engine, story).deliver(of_type(story.events, "refund.created")[::-1])
    assert [row[:2] for row in await read(engine, REFUNDS)] == [
        (name, first["id"]), (f"ref_{copy['id']}", copy["id"]),
    ]  # fmt: skip
