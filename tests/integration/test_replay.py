"""Replay: whatever is put back, and however it ends, the books stay as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.conftest import Databases
from tests.pipeline_support import effect_keys, event_states
from tests.road import Road, incoming, picture

from tallystick.db.session import open_engine
from tallystick.errors import PayloadError
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Facts
from tallystick.pipeline.operations.audit import Order, list_replays
from tallystick.pipeline.operations.preview import Standing, Tally, preview
from tallystick.pipeline.operations.replay import Progress, replay_events, replayable, walk
from tallystick.pipeline.pace import Pace
from tallystick.pipeline.views.selection import EventStatus, Selection
from tallystick.settings import load_settings

ORDER = Order("somebody", "to see")
AT_ONCE: dict[str, Any] = {"per_second": 0.0, "wait_s": 0.0}


def long_story(rounds: int = 12) -> StripeStory:
    """Every kind of course that a payment takes, several times over, with an unknown type among them."""
    story = StripeStory()
    for number in range(rounds):
        ours = f"pay_{number:026d}" if number % 3 else None
        charge = story.succeed(story.intent(5000 + number, "eur" if number % 2 else "usd", ours=ours))
        story.refund(charge, 1000, ours=number % 2 == 0)
        failing = story.refund(charge, 500, status="pending")
        story.update_refund(charge, failing, "failed" if number % 2 else "succeeded")
        later = story.intent(9000, ours=f"pay_1{number:025d}")
        story.decline(later)
        story.require_action(later)
        held = story.authorise(later)
        if number % 2:
            story.capture(later, held, 4000)
        else:
            story.cancel(later, held)
        story.event("climate.surprised", {"id": f"clm_{number}", "object": "climate"})
    return story


async def told(engine: AsyncEngine, story: StripeStory, **settings: Any) -> Road:
    road = Road(engine, story, **settings)
    await road.deliver(story.events)
    await road.finish()
    return road


@asynccontextmanager
async def worked_off(road: Road) -> AsyncIterator[None]:
    """A worker that processes whatever becomes pending."""

    async def work() -> None:
        while True:
            async with road.engine.connect() as connection:
                now = (await connection.execute(text("SELECT now()"))).scalar_one()
            await road.process_due(now)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_replaying_everything_changes_nothing(engine: AsyncEngine) -> None:
    story = long_story()
    road = await told(engine, story)
    before = await picture(engine)
    async with worked_off(road):
        found = await replay_events(engine, Selection(), ORDER, per_second=0, wait_s=60)
    assert found.outcome == "finished"
    states = [status for _, status in before["events"]]
    assert found.counts == {
        "put_back": len(story.events),
        "processed": states.count("processed"),
        "ignored": states.count("ignored"),
    }
    assert await picture(engine) == before


async def test_a_replay_that_is_killed_in_the_middle_leaves_events_to_the_worker(engine: AsyncEngine) -> None:
    """Put back are only those before; what a worker then makes of them is what it was."""
    story = long_story()
    road = await told(engine, story)
    before = await picture(engine)

    def die(progress: Progress) -> None:
        if progress.counts["put_back"] >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await replay_events(engine, Selection(), ORDER, watch=die, **AT_ONCE)
    states = [status for status, _ in (await event_states(engine)).values()]
    assert states.count("pending") == 200 < len(states)
    async with engine.connect() as connection:
        ((found,), _) = await list_replays(connection, limit=5)
    assert (found.outcome, found.counts) == ("interrupted", {"put_back": 200})
    await road.finish()
    assert await picture(engine) == before


async def test_two_versions_of_the_worker_at_once_lose_nothing_and_a_replay_brings_what_the_old_one_ignored(
    engine: AsyncEngine, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches go by turns to a version that does not know a type and to one that does."""
    story = long_story(6)
    known = EVENTS["charge.succeeded"]
    road = Road(engine, story)
    for number, batch in enumerate(story.events[n : n + 7] for n in range(0, len(story.events), 7)):
        with monkeypatch.context() as version:
            if number % 2:
                version.delitem(EVENTS, known.type)
            await road.deliver(batch)
    await road.finish()
    states = await event_states(engine)
    charges = [event["id"] for event in story.events if event["type"] == known.type]
    ignored = [each for each in charges if states[each] == ("ignored", 0)]
    assert 0 < len(ignored) < len(charges)
    async with worked_off(road):
        selection = Selection(types=("charge.s*",), statuses=(EventStatus.IGNORED,))
        found = await replay_events(engine, selection, ORDER, per_second=0, wait_s=60)
    assert found.counts == {"put_back": len(ignored), "processed": len(ignored)}
    await road.finish()
    url = await databases.create()
    other = open_engine(load_settings({}, require=(), database_url=url))
    try:
        await told(other, story)
        assert await picture(engine) == await picture(other)
    finally:
        await other.dispose()
        await databases.drop(url)


_TWO = ("charge.captured", "climate.surprised")


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        (Selection(types=("refund.*",)), lambda event: event["type"].startswith("refund.")),
        (Selection(types=("charge.?aptured", "c[lx]imate.*")), lambda e: e["type"] in _TWO),
        (Selection(types=("charge",)), lambda _: False),
        (Selection(types=("*",), statuses=(EventStatus.IGNORED,)), lambda e: "climate" in e["type"]),
        (Selection(statuses=(EventStatus.DEAD,)), lambda _: False),
        (Selection(ids=("evt_000002", "evt_nowhere")), lambda event: event["id"] == "evt_000002"),
    ],
)
async def test_a_selection_puts_back_what_fits_and_nothing_else(
    engine: AsyncEngine, selection: Selection, fits: Any
) -> None:
    story = long_story(2)
    await told(engine, story)
    found = await replay_events(engine, selection, ORDER, **AT_ONCE)
    wanted = {event["id"] for event in story.events if fits(event)}
    pending = {name for name, (status, _) in (await event_states(engine)).items() if status == "pending"}
    assert pending == wanted
    assert found.counts == {"put_back": len(wanted)} | ({"pending": len(wanted)} if wanted else {})
    assert found.selection == replayable(selection).as_json()


async def test_time_and_error_select(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    story = long_story(2)
    bad = next(event for event in story.events if event["type"] == "refund.created")
    rule = EVENTS["refund.created"].rule

    def broken(event: Event, facts: Facts) -> Effects:
        if event.id == bad["id"]:
            raise PayloadError("refund.amount is Missing.")
        return rule(event, facts)

    monkeypatch.setitem(EVENTS, "refund.created", replace(EVENTS["refund.created"], rule=broken))
    await told(engine, story)
    middle = sorted(event["created"] for event in story.events)[len(story.events) // 2]
    async with engine.connect() as connection:
        (cut,) = (await connection.execute(text(f"SELECT to_timestamp({middle})"))).one()

    async def ids(selection: Selection) -> set[str]:
        return {each async for batch, _ in walk(engine, selection) for each in batch}

    early = {event["id"] for event in story.events if event["created"] < middle}
    every = {event["id"] for event in story.events}
    assert await ids(Selection(created_before=cut)) == early
    assert await ids(Selection(created_after=cut)) == every - early
    assert await ids(Selection(received_before=cut)) in (set(), every), "all came at once"
    assert await ids(Selection(error="IS missing")) == {bad["id"]}
    assert await ids(Selection(error="%")) == set()
    assert await ids(Selection(error="refund.amount", statuses=(EventStatus.PROCESSED,))) == set()


async def test_discarded_events_are_replayed_only_where_they_are_named(engine: AsyncEngine) -> None:
    story = long_story(1)
    await told(engine, story)
    gone = story.events[3]["id"]
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE webhook_events SET status = 'discarded' WHERE id = :id"), {"id": gone}
        )
    await replay_events(engine, Selection(types=("*",)), ORDER, **AT_ONCE)
    assert (await event_states(engine))[gone] == ("discarded", 0)
    await replay_events(engine, Selection(ids=(gone,)), ORDER, **AT_ONCE)
    assert (await event_states(engine))[gone] == ("pending", 0)


async def test_a_dry_run_over_what_was_processed_finds_all_of_it_there(engine: AsyncEngine) -> None:
    story = long_story(3)
    await told(engine, story)
    before = await picture(engine)
    tally = Tally()
    async with engine.connect() as connection:
        await connection.execute(text("SET TRANSACTION READ ONLY"))
        for each in await preview(connection, [event["id"] for event in story.events]):
            assert not tally.add(each), each
    states = [status for _, status in before["events"]]
    assert tally.events == {name: states.count(name) for name in ("processed", "ignored")}
    assert set(tally.effects) == {
        "ledger_transaction", "payment", "refund", "notice", "balance_transaction",
    }  # fmt: skip
    assert await picture(engine) == before


async def test_the_new_effects_of_a_dry_run_are_those_that_processing_then_makes(engine: AsyncEngine) -> None:
    story = long_story(3)
    every = [event["id"] for event in story.events]
    road = Road(engine, story)
    await asyncio.gather(*(road.inbox.receive(incoming(event)) for event in story.events))
    async with engine.connect() as connection:
        seen = await preview(connection, every)
    tally = Tally()
    fresh = [effect for each in seen for effect in tally.add(each)]
    assert {effect.standing for effect in fresh} == {Standing.NEW}
    asked = sum(1 for each in seen if each.questions)
    assert tally.events["waiting"] == asked > 0, "refunds from elsewhere ask for their charge"
    await road.process(every)
    posted = {effect.key for effect in fresh if effect.kind == "ledger_transaction"}
    assert posted == await effect_keys(engine)
    async with engine.connect() as connection:
        again = Tally()
        for each in await preview(connection, every):
            for effect in again.add(each):  # what waited for an answer is seen now
                assert ":applied" in effect.key or effect.kind in ("refund", "notice"), effect


async def test_a_dry_run_tells_what_would_be_a_dead_letter(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = long_story(1)
    await told(engine, story)
    charge = next(event for event in story.events if event["type"] == "charge.succeeded")
    rule = EVENTS["charge.succeeded"].rule

    def dearer(event: Event, facts: Facts) -> Effects:
        more = {**event.object, "amount_captured": event.object["amount_captured"] + 1}
        return rule(replace(event, object=more), facts)

    monkeypatch.setitem(EVENTS, "charge.succeeded", replace(EVENTS["charge.succeeded"], rule=dearer))
    async with engine.connect() as connection:
        (seen,) = await preview(connection, [charge["id"]])
    tally = Tally()
    differing = [effect for effect in tally.add(seen) if effect.standing is Standing.DIFFERS]
    about = charge["data"]["object"]
    assert [effect.key for effect in differing] == [
        f"charge:{about['id']}:captured",
        f"payment:{about['payment_intent']}:sale",
    ]
    assert tally.events == {"dead": 1}


async def test_the_record_of_replays_is_append_only(engine: AsyncEngine) -> None:
    await told(engine, long_story(1))
    found = await replay_events(engine, Selection(ids=("evt_000002",)), ORDER, **AT_ONCE)
    assert (found.actor, found.reason, found.selection) == ("somebody", "to see", {"ids": ["evt_000002"]})
    for change in ("UPDATE replays SET actor = 'x'", "DELETE FROM replay_results", "TRUNCATE discards"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(text(change))


async def test_the_pace_is_held() -> None:
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)

    pace = Pace(40, clock=lambda: now, sleep=sleep)
    assert pace.portion(200) == 10
    for _ in range(5):
        await pace.spend(10)
    assert slept == [0.25] * 4
    assert timedelta(seconds=now - 100) == timedelta(seconds=1)
    unheld = Pace(0, clock=lambda: now, sleep=sleep)
    await unheld.spend(10_000)
    assert len(slept) == 4
