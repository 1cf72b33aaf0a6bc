"""Archived and redacted bodies: read as before, and what they mean is what they meant."""

from __future__ import annotations

import asyncio
import hashlib

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.road import Road, picture

from tallystick.errors import NotFoundError
from tallystick.monitoring.redaction import shown
from tallystick.pipeline import archives
from tallystick.pipeline.operations.audit import Order
from tallystick.pipeline.operations.dead_letters import get_dead_letter
from tallystick.pipeline.operations.erasure import erase
from tallystick.pipeline.operations.replay import replay_event
from tallystick.pipeline.views.events import get_event

WHY = Order("ada", "a request under article 17")
ADA = {"email": "ada@example.com", "name": "Ada Lovelace", "address": {"line1": "1 Analytical Way"}}


def told() -> StripeStory:
    story = StripeStory()
    for number in range(6):
        ours = f"pay_{number:026d}"
        customer = "cus_ada" if number % 2 else "cus_grace"
        charge = story.succeed(
            story.intent(1000 + number, "usd", ours=ours, customer=customer, receipt_email="ada@example.com")
        )
        charge["billing_details"] = ADA
        story.refund(charge, 100, ours=True)
    story.event(
        "customer.discount.created", {"id": "di_1", "object": "discount", "customer": "cus_ada", **ADA}
    )
    return story


async def aged(engine: AsyncEngine, condition: str = "true") -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(f"UPDATE webhook_events SET received_at = now() - interval '40 days' WHERE {condition}")
        )


async def stored(engine: AsyncEngine) -> dict[str, tuple[bytes | None, bytes]]:
    """Of each event the body in its row, and the body as it is read."""
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT id, body FROM webhook_events"))).all()
        return {row.id: (row.body, await archives.body_of(connection, row.id) or b"") for row in rows}


async def names_ada(engine: AsyncEngine, body: bytes) -> bool:
    """Whether a body is about her, or about a payment of hers."""
    async with engine.connect() as connection:
        query = "SELECT stripe_payment_intent, id FROM payments WHERE customer = 'cus_ada'"
        rows = await connection.execute(text(query))
        names = {"cus_ada", *(name for row in rows for name in row)}
    return any(f'"{name}"'.encode() in body for name in names)


async def processed(engine: AsyncEngine) -> tuple[Road, StripeStory]:
    story = told()
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    return road, story


async def test_old_bodies_move_and_are_read_as_before(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "BLOCK", 7)
    await processed(engine)
    before = await stored(engine)
    assert await archives.archive(engine, after_days=30) == 0, "none is old enough"
    ids = sorted(before)
    await aged(engine, f"id <= '{ids[20]}'")
    async with engine.begin() as connection:
        await connection.execute(text(f"UPDATE webhook_events SET status = 'dead' WHERE id = '{ids[3]}'"))
    assert await archives.archive(engine, after_days=30) == 20
    after = await stored(engine)
    assert {event for event in ids if after[event][0] is None} == {*ids[:21]} - {ids[3]}
    assert {event: body for event, (_, body) in after.items()} == {
        event: body for event, (_, body) in before.items()
    }
    await aged(engine)
    assert await archives.archive(engine, after_days=30) == len(ids) - 21
    assert await archives.archive(engine, after_days=30) == 0
    async with engine.connect() as connection:
        assert (await get_event(connection, ids[0])).payload == shown(orjson.loads(before[ids[0]][1]))


async def test_archived_events_are_replayed_and_can_be_dead_letters(engine: AsyncEngine) -> None:
    road, story = await processed(engine)
    await aged(engine)
    assert await archives.archive(engine, after_days=30) == len(story.events)
    before = await picture(engine)
    async with engine.begin() as connection:
        for event in story.events:
            await replay_event(connection, event["id"], WHY)
    await road.process([event["id"] for event in story.events])
    assert await picture(engine) == before
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE webhook_events SET status = 'dead', finished_at = now()"))
    async with engine.connect() as connection:
        letter = await get_dead_letter(connection, story.events[0]["id"])
    assert letter.payload is not None


async def test_two_workers_archive_each_body_once(engine: AsyncEngine) -> None:
    _, story = await processed(engine)
    await aged(engine)
    moved = await asyncio.gather(*(archives.archive(engine, after_days=30) for _ in range(4)))
    assert sum(moved) == len(story.events)


@pytest.mark.parametrize("archived", [False, True])
async def test_a_person_is_erased_and_the_books_stay(engine: AsyncEngine, archived: bool) -> None:
    road, _ = await processed(engine)
    if archived:
        await aged(engine)
        await archives.archive(engine, after_days=30)
    before, books = await stored(engine), await picture(engine)
    about = {event for event, (_, body) in before.items() if await names_ada(engine, body)}
    assert len(about) == 3 * 6 + 1, "six events a payment of hers, and she herself"
    counts = await erase(engine, "cus_ada", WHY)
    assert counts["webhook_events"] == len(about)
    after = await stored(engine)
    assert {event for event in before if after[event][1] != before[event][1]} <= about
    assert not [event for event in about if b"ada@example.com" in after[event][1]]
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT id, original_sha256 FROM webhook_events WHERE original_sha256 IS NOT NULL")
        )
        kept = {row.id: row.original_sha256 for row in rows}
    assert kept == {event: hashlib.sha256(before[event][1]).digest() for event in about}
    await erase(engine, "cus_ada", WHY)  # again: the digests stay those of what was signed
    async with engine.begin() as connection:
        again = await connection.execute(text("SELECT id, original_sha256 FROM webhook_events"))
        assert {row.id: row.original_sha256 for row in again if row.original_sha256} == kept
        for event_id in before:
            await replay_event(connection, event_id, WHY)
    await road.process(list(before))
    assert (await picture(engine))["balances"] == books["balances"]
    async with engine.connect() as connection:
        for query in (
            "SELECT receipt_email FROM payments WHERE customer = 'cus_ada'",
            "SELECT data->>'receipt_email' FROM outbox WHERE data->>'customer' = 'cus_ada'",
        ):
            assert set((await connection.execute(text(query))).scalars()) == {None}


async def test_a_payment_of_ours_is_erased_by_its_id(engine: AsyncEngine) -> None:
    await processed(engine)
    counts = await erase(engine, f"pay_{0:026d}", WHY)
    assert counts["payments"] == 1
    assert counts["webhook_events"] == 6
    with pytest.raises(NotFoundError):
        await erase(engine, "cus_nobody", WHY)
