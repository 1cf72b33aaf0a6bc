"""The pipeline under bad input and bad luck: only the event at fault fails, and nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.conftest import Databases
from tests.pipeline_support import attempts_of, book_balances, effect_keys, event_states
from tests.road import FakeClock, Road, StoryStripe, incoming, picture

from tallystick.db.session import open_engine
from tallystick.errors import PayloadError, StripeUnavailableError
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Facts, Rule
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.lookups import Lookups
from tallystick.pipeline.process import Outcome
from tallystick.settings import load_settings
from tallystick.stripe_gateway.answers import RefusedError

AT_ONCE: dict[str, Any] = {"retry_base_s": 1e-6}
"""Retries are due at once."""


def payments(count: int) -> StripeStory:
    """So many payments of ours that succeeded."""
    story = StripeStory()
    for number in range(count):
        story.succeed(story.intent(1000 + number, ours=f"pay_{number:026d}"))
    return story


def breaking(event_id: str, error: Exception) -> tuple[Rule, Rule]:
    """The rule for charge.succeeded, broken for one event; and the rule as it was."""
    rule = EVENTS["charge.succeeded"].rule

    def broken(event: Event, facts: Facts) -> Effects:
        if event.id == event_id:
            raise error
        return rule(event, facts)

    return broken, rule


def careless(event_id: str, part: str, change: Json) -> Rule:
    """The rule for charge.succeeded, for one event with something in its effects that no table can hold."""
    rule = EVENTS["charge.succeeded"].rule

    def changed(event: Event, facts: Facts) -> Effects:
        effects = rule(event, facts)
        if event.id != event_id:
            return effects
        made = tuple(replace(each, **change) for each in getattr(effects, part))
        return replace(effects, **{part: made})

    return changed


def set_rule(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> None:
    spec = EVENTS["charge.succeeded"]
    monkeypatch.setitem(EVENTS, spec.type, replace(spec, rule=rule))


def some_charge(story: StripeStory, number: int) -> Json:
    """The charge.succeeded of the ``number``-th payment."""
    return of_type(story, "charge.succeeded")[number]


def of_type(story: StripeStory, event_type: str) -> list[Json]:
    return [event for event in story.events if event["type"] == event_type]


async def test_poison_is_a_dead_letter_at_once_and_the_others_are_processed(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = payments(25)
    poison = some_charge(story, 12)["id"]
    set_rule(monkeypatch, breaking(poison, PayloadError("charge.amount is\0missing."))[0])
    road = Road(engine, story)
    outcome = await road.deliver(story.events)
    assert outcome.counts == {"processed": 99, "dead": 1}
    states = await event_states(engine)
    assert states.pop(poison) == ("dead", 1)
    assert set(states.values()) == {("processed", 0)}
    (attempt,) = await attempts_of(engine, poison)
    assert (attempt.attempt, attempt.error_code) == (1, "invalid_payload")
    assert attempt.error == "PayloadError: charge.amount is\\0missing."
    assert attempt.traceback.startswith("Traceback")
    assert "in broken\n    raise error" in attempt.traceback
    assert (await road.process([poison])).counts == {}, "a dead letter is passed over"


async def test_an_error_of_ours_is_retried_until_the_limit_and_replayed_when_mended(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = payments(3)
    event = some_charge(story, 1)["id"]
    broken, mended = breaking(event, ZeroDivisionError("a bug"))
    set_rule(monkeypatch, broken)
    road = Road(engine, story, retry_limit=3, **AT_ONCE)
    assert (await road.deliver(story.events)).counts == {"processed": 11, "failed": 1}
    assert (await road.process([event])).counts == {"failed": 1}
    assert (await event_states(engine))[event] == ("pending", 2)
    assert (await road.process([event])).counts == {"dead": 1}
    assert (await event_states(engine))[event] == ("dead", 3)
    attempts = await attempts_of(engine, event)
    assert [(each.attempt, each.error_code, each.error) for each in attempts] == [
        (number, "unexpected", "ZeroDivisionError: a bug") for number in (1, 2, 3)
    ]
    set_rule(monkeypatch, mended)
    async with engine.begin() as connection:  # what a replay does
        await connection.execute(
            text("UPDATE webhook_events SET status = 'pending', attempts = 0 WHERE status = 'dead'")
        )
    assert (await road.process([event])).counts == {"processed": 1}
    assert (await event_states(engine))[event] == ("processed", 0)


async def test_a_rule_mended_between_two_attempts_needs_no_replay(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = payments(3)
    event = some_charge(story, 1)
    broken, mended = breaking(event["id"], ZeroDivisionError("a bug"))
    set_rule(monkeypatch, broken)
    road = Road(engine, story, **AT_ONCE)
    await road.deliver([event])
    key = f"charge:{event['data']['object']['id']}:captured"
    assert key not in await effect_keys(engine)
    set_rule(monkeypatch, mended)
    assert (await road.process([event["id"]])).counts == {"processed": 1}
    assert key in await effect_keys(engine)


async def test_retries_back_off_with_jitter_up_to_the_cap(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th wait lies below base × 4^(n-1), and is not the same for events that failed together."""
    story = payments(30)

    def broken(_event: Event, _facts: Facts) -> Effects:
        raise ZeroDivisionError

    set_rule(monkeypatch, broken)
    charges = [some_charge(story, number) for number in range(30)]
    road = Road(engine, story, retry_base_s=10.0, retry_cap_s=100.0)
    await road.deliver(charges)
    for ceiling in (10, 40, 100, 100):
        waits = await _waits(engine)
        assert len(waits) == 30
        assert -1 <= min(waits) <= max(waits) <= ceiling
        assert max(waits) > ceiling / 2, "with 30 events one waits long"
        assert len({round(wait, 3) for wait in waits}) > 20
        await road.process([event["id"] for event in charges])


async def _waits(engine: AsyncEngine) -> list[float]:
    query = text("""
        SELECT CAST(extract(epoch FROM ring_at - (SELECT max(failed_at) FROM event_attempts)) AS float8)
          FROM webhook_events WHERE status = 'pending'""")
    async with engine.connect() as connection:
        return list((await connection.execute(query)).scalars())


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [("payments", {"amount_captured": 2**63}, "bigint"), ("notices", {"key": "\0"}, "Unicode")],
    ids=["amount past bigint", "NUL in a text"],
)
async def test_an_event_that_the_database_refuses_fails_alone(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, part: str, change: Json, says: str
) -> None:
    """The batch is split by halves until it stands alone; every other one of the 100 is processed."""
    story = payments(25)
    bad = of_type(story, "charge.succeeded")[7]
    set_rule(monkeypatch, careless(bad["id"], part, change))
    road = Road(engine, story, retry_limit=2, **AT_ONCE)
    outcome = await road.deliver(story.events)
    assert outcome.counts == {"processed": 99, "failed": 1}
    states = await event_states(engine)
    assert states.pop(bad["id"]) == ("pending", 1)
    assert set(states.values()) == {("processed", 0)}
    (attempt,) = await attempts_of(engine, bad["id"])
    assert says in attempt.error
    assert "_secret_" not in attempt.error + attempt.traceback, "an error quotes no client secrets"
    assert (await road.process([bad["id"]])).counts == {"dead": 1}


async def test_poison_among_a_thousand_costs_twenty_more_batches(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halving finds it in two batches for each doubling of their number; the others are processed once."""
    story = payments(250)
    bad = some_charge(story, 123)
    set_rule(monkeypatch, careless(bad["id"], "payments", {"amount_captured": 2**63}))
    road = Road(engine, story)
    sizes: list[int] = []
    whole = road.processor._batch

    async def counted(ids: Sequence[str]) -> tuple[Outcome, dict[str, Exception]]:
        sizes.append(len(ids))
        return await whole(ids)

    monkeypatch.setattr(road.processor, "_batch", counted)
    outcome = await road.deliver(story.events)
    assert outcome.counts == {"processed": 999, "failed": 1}
    assert sizes[0] == 1000
    assert len(sizes) <= 1 + 2 * 10
    assert (await book_balances(engine))["revenue:payments", "usd"] == -sum(range(1000, 1250)), (
        "the payment's own event tells of its capture too"
    )


async def test_a_handler_that_raises_for_an_hour_and_is_mended_loses_nothing(
    engine: AsyncEngine, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All charges of 100 payments fail for an hour of the clock; the other events go by them."""
    story = payments(100)
    mended = EVENTS["charge.succeeded"].rule

    def broken(_event: Event, _facts: Facts) -> Effects:
        raise ZeroDivisionError("a bug")

    set_rule(monkeypatch, broken)
    clock = FakeClock()
    road = Road(engine, story, clock=clock)
    assert (await road.deliver(story.events)).counts == {"processed": 300, "failed": 100}
    start = clock.now
    while clock.now - start < timedelta(hours=1):
        await road.process_due(clock.now)
        clock.pass_by(timedelta(minutes=1))
    states = await event_states(engine)
    failed = {state for state in states.values() if state != ("processed", 0)}
    assert {status for status, _ in failed} == {"pending"}, "an hour makes no dead letters"
    assert max(attempts for _, attempts in failed) < road.settings.retry_limit
    set_rule(monkeypatch, mended)
    due = 0
    for _ in range(60):  # within two and a half days of the clock each had its next attempt
        due += await road.process_due(clock.now)
        clock.pass_by(timedelta(hours=1))
    assert due == 100
    await road.finish()
    assert {status for status, _ in (await event_states(engine)).values()} == {"processed"}
    other_url = await databases.create()
    other = open_engine(load_settings({}, require=(), database_url=other_url))
    try:
        calm = Road(other, story)
        await calm.deliver(story.events)
        await calm.finish()
        assert await picture(engine) == await picture(other)
    finally:
        await other.dispose()
        await databases.drop(other_url)


async def test_an_unknown_type_is_kept_and_ignored(engine: AsyncEngine) -> None:
    story = payments(1)
    story.event("climate.surprised", {"id": "clm_1", "object": "climate"})
    road = Road(engine, story)
    assert (await road.deliver(story.events)).counts == {"processed": 4, "ignored": 1}
    assert (await event_states(engine))[story.events[-1]["id"]] == ("ignored", 0)
    async with engine.connect() as connection:
        body = text("SELECT body FROM webhook_events WHERE type = 'climate.surprised'")
        assert (await connection.execute(body)).scalar_one() == incoming(story.events[-1]).body


async def test_an_effect_that_differs_is_a_dead_letter_and_what_stands_is_untouched(
    engine: AsyncEngine,
) -> None:
    story = payments(2)
    road = Road(engine, story)
    await road.deliver(story.events)
    before = await picture(engine)
    told_otherwise = some_charge(story, 0)
    again = {**told_otherwise, "id": "evt_other", "data": {"object": {**told_otherwise["data"]["object"]}}}
    again["data"]["object"]["amount_captured"] = 999
    assert (await road.deliver([again])).counts == {"dead": 1}
    after = await picture(engine)
    assert after.pop("events") == [*before.pop("events"), ["evt_other", "dead"]]
    assert after == before
    (attempt,) = await attempts_of(engine, "evt_other")
    charge = told_otherwise["data"]["object"]
    assert attempt.error_code == "effect_differs"
    for key in (f"charge:{charge['id']}:captured", f"payment:{charge['payment_intent']}:sale"):
        assert key in attempt.error


async def test_of_two_in_a_batch_that_contradict_each_other_the_later_is_dead_and_leaves_no_trace(
    engine: AsyncEngine,
) -> None:
    story = payments(2)
    first = some_charge(story, 0)
    second = {
        **first,
        "id": "evt_other",
        "data": {
            "object": {**first["data"]["object"], "amount_captured": 9, "description": "from evt_other"}
        },
    }
    rest = story.events[4:]
    road = Road(engine, story)
    assert (await road.deliver([second, first, *rest])).counts == {"processed": 5, "dead": 1}
    assert f"charge:{first['data']['object']['id']}:captured" in await effect_keys(engine)
    assert "evt_other" not in str((await picture(engine))["payments"])


class TimidStripe(StoryStripe):
    """Stripe that can be away."""

    away = False

    async def retrieve_charge(self, charge: str) -> Json | None:
        if self.away:
            raise StripeUnavailableError("Stripe cannot be reached.")
        return await super().retrieve_charge(charge)


async def test_a_refund_from_the_dashboard_waits_only_with_its_application(engine: AsyncEngine) -> None:
    """Its movement is posted at once; whether it was of a sale, the charge says, when Stripe is back."""
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours="pay_00000000000000000000000001"))
    refund = story.refund(charge, 300)
    event = next(event for event in story.events if event["type"] == "refund.created")
    stripe = TimidStripe(story)
    road = Road(engine, story, stripe)
    stripe.away = True
    outcome = await road.deliver([event])
    for _ in range(road.settings.retry_limit + 1):
        assert outcome.counts == {"waiting": 1}
        assert await event_states(engine) == {event["id"]: ("pending", 0)}, "it counts no attempt"
        outcome = await road.process([event["id"]])
    assert await effect_keys(engine) == {f"refund:{refund['id']}"}
    stripe.away = False
    assert len(await road.lookups.answer(outcome.questions)) == 1
    assert (await road.process([event["id"]])).counts == {"processed": 1}
    assert await effect_keys(engine) == {f"refund:{refund['id']}", f"refund:{refund['id']}:applied"}
    assert (await book_balances(engine))["revenue:refunds", "usd"] == 300


class RefusingStripe(StoryStripe):
    """Stripe that refuses to show a charge, whoever asks."""

    async def retrieve_charge(self, charge: str) -> Json | None:
        raise RefusedError(f"This API key may not read {charge}.", stripe_code="forbidden", intent=None)


async def test_what_stripe_knows_a_moment_later_is_its_answer(engine: AsyncEngine) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours=f"pay_{7:026d}"))
    refund = story.refund(charge, 300)

    class Late(StoryStripe):
        asked = 0

        async def retrieve_charge(self, charge: str) -> Json | None:
            self.asked += 1
            return await super().retrieve_charge(charge) if self.asked == 3 else None

    stripe = Late(story)
    road = Road(engine, story, stripe)
    lookups = Lookups(engine, road.stripe, Failures(engine, road.settings), again_after_s=(0, 0))
    await asyncio.gather(*(road.inbox.receive(incoming(event)) for event in story.events))
    outcome = await road.processor.process([event["id"] for event in story.events])
    assert await lookups.answer(outcome.questions) == set(outcome.questions)
    assert stripe.asked == 3
    await road.processor.process([event["id"] for event in story.events])
    assert f"refund:{refund['id']}:applied" in await effect_keys(engine)


async def test_a_list_of_something_that_stripe_does_not_know_is_empty(engine: AsyncEngine) -> None:
    story = payments(1)
    story.event("customer.updated", {"id": "cus_gone", "object": "customer", "created": 1})
    refused = RefusedError("No such customer: 'cus_gone'", stripe_code="resource_missing", intent=None)

    class Strict(StoryStripe):
        async def list_customer_balance_transactions(self, customer: str) -> Json:
            assert customer == "cus_gone"
            raise refused

    road = Road(engine, story, Strict(story))
    await road.deliver(story.events)
    await road.finish()
    assert set((await event_states(engine)).values()) == {("processed", 0)}


async def test_a_look_up_that_stripe_always_refuses_ends_in_a_dead_letter(engine: AsyncEngine) -> None:
    """It is counted and put off like any failure; what did not wait for it is in the books."""
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours="pay_00000000000000000000000001"))
    refund = story.refund(charge, 300)
    event = next(event for event in story.events if event["type"] == "refund.created")
    clock = FakeClock()
    road = Road(engine, story, RefusingStripe(story), clock=clock, retry_limit=3, retry_base_s=60.0)
    await road.deliver([event])
    assert (await event_states(engine))[event["id"]] == ("pending", 1)
    assert await road.process_due(clock.now - timedelta(seconds=1)) == 0, "it waits"
    for _ in range(2):
        clock.pass_by(timedelta(hours=1))
        assert await road.process_due(clock.now) == 1
    assert (await event_states(engine))[event["id"]] == ("dead", 3)
    attempts = await attempts_of(engine, event["id"])
    assert [each.error_code for each in attempts] == ["stripe_refused"] * 3
    assert f"This API key may not read {charge['id']}." in attempts[-1].error
    assert await effect_keys(engine) == {f"refund:{refund['id']}"}


async def test_secrets_and_card_numbers_in_an_error_are_not_kept(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = payments(1)
    event = some_charge(story, 0)
    quoted = "pi_1_secret_AbCdEf123 of 4242 4242 4242 4242 with sk_live_0123456789abcdef"
    set_rule(monkeypatch, breaking(event["id"], ZeroDivisionError(quoted))[0])
    await Road(engine, story).deliver([event])
    (attempt,) = await attempts_of(engine, event["id"])
    for kept in (attempt.error, attempt.traceback):
        assert "pi_1_secret_*** of ***4242 with sk_live_***" in kept
        assert "AbCdEf" not in kept


async def test_nul_in_free_text_does_not_hold_up_money(engine: AsyncEngine) -> None:
    """PostgreSQL's text cannot hold it; the books do not need it."""
    story = payments(1)
    for event in story.events:
        event["data"]["object"].update(description="a NUL \0 in a text", metadata={"note": "\0"})
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    assert {status for _, status in (await picture(engine))["events"]} == {"processed"}
    assert "\ufffd" in str((await picture(engine))["payments"])


async def test_the_money_of_a_connected_account_is_not_ours(engine: AsyncEngine) -> None:
    story = payments(1)
    theirs = [{**event, "account": "acct_1"} for event in story.events]
    assert (await Road(engine, story).deliver(theirs)).counts == {"ignored": 4}
    assert await effect_keys(engine) == set()


async def test_processors_on_overlapping_batches_do_each_event_once(engine: AsyncEngine) -> None:
    """Four at once, each with all the events in an order and in batches of its own."""
    story = payments(60)
    ids = [event["id"] for event in story.events]
    roads = [Road(engine, story) for _ in range(4)]
    await asyncio.gather(*(roads[0].inbox.receive(incoming(event)) for event in story.events))

    async def work(road: Road, seed: int) -> dict[str, int]:
        chance = random.Random(seed)
        mine = chance.sample(ids, len(ids))
        counts: dict[str, int] = {}
        while mine:
            size = chance.randint(1, 40)
            outcome = await road.process(mine[:size])
            mine = mine[size:]
            for status, number in outcome.counts.items():
                counts[status] = counts.get(status, 0) + number
        return counts

    done = await asyncio.gather(*(work(road, seed) for seed, road in enumerate(roads)))
    assert all(each.keys() <= {"processed"} for each in done)
    assert sum(each.get("processed", 0) for each in done) == len(ids), "none twice"
    assert set((await event_states(engine)).values()) == {("processed", 0)}
    total = sum(1000 + number for number in range(60))
    assert (await book_balances(engine))["revenue:payments", "usd"] == -total
