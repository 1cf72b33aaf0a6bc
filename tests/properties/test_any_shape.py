"""Whatever shape an event's object has: it is processed, ignored, or refused by the name of a field."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import START, Json, StripeStory
from tests.pipeline_support import effect_keys, event_states
from tests.road import Road
from tests.shapes import ANSWERS, VERSIONS, shapes_of, spoil

from tallystick.errors import PayloadError
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Question

ROUNDS = 5
"""Questions may lead to questions, but not for ever."""


def event_of(event_type: str, obj: Any, number: int = 0, version: str | None = None) -> Json:
    return {
        "id": f"evt_any_{number}",
        "object": "event",
        "type": event_type,
        "created": START + number,
        "api_version": version,
        "livemode": False,
        "data": {"object": obj},
        "request": "iar_1" if number % 2 else None,
    }


def answered(chance: random.Random, event: Json) -> Effects:
    """What an event means when Stripe has answered all that its rule asks."""
    facts: dict[Question, Any] = {}
    for _ in range(ROUNDS):
        effects = EVENTS[event["type"]].rule(Event.read(event), facts)
        asked = set(effects.waiting_for) - set(facts)
        if not asked:
            return effects
        facts |= {
            question: chance.choice((None, ANSWERS[question.kind])) for question in sorted(asked, key=str)
        }
    raise AssertionError(f"it goes on asking: {effects.waiting_for}")


def refused_field(chance: random.Random, event: Json) -> str | None:
    """The field that an event is refused for, None when it is not; raises whatever else went wrong."""
    try:
        answered(chance, event)
    except PayloadError as error:
        return error.param or ""
    return None


@pytest.mark.parametrize("event_type", EVENTS)
def test_every_shape_that_stripe_sent_is_understood(event_type: str) -> None:
    for number, obj in enumerate(shapes_of(event_type)):
        for version in VERSIONS:
            for seed in range(3):
                answered(random.Random(seed), event_of(event_type, obj, number, version))


@settings(max_examples=1500)
@given(
    chance=st.randoms(use_true_random=False),
    event_type=st.sampled_from(sorted(EVENTS)),
    changes=st.integers(1, 6),
    version=st.sampled_from(VERSIONS),
)
def test_what_cannot_be_read_is_refused_by_name(
    chance: random.Random, event_type: str, changes: int, version: str | None
) -> None:
    spoiled = spoil(chance, chance.choice(shapes_of(event_type)), changes)
    assert refused_field(chance, event_of(event_type, spoiled, version=version)) != ""


@pytest.mark.parametrize("obj", [None, [], "ch_1", 7, {}, {"id": "ch_1"}])
def test_an_event_about_nothing_is_refused_by_name(obj: Any) -> None:
    for event_type in EVENTS:
        assert refused_field(random.Random(1), event_of(event_type, obj)) != ""


async def test_odd_neighbours_hold_up_nobody(engine: AsyncEngine) -> None:
    """Through the pipeline, in batches of good and odd ones: no attempt ends in anything unexpected."""
    chance = random.Random(20261124)
    story = StripeStory()
    good = [story.succeed(story.intent(1000 + n, ours=f"pay_{n:026d}")) for n in range(8)]
    road = Road(engine, story)
    odd = []
    for number in range(400):
        event_type = chance.choice(sorted(EVENTS))
        obj = _named(copy.deepcopy(chance.choice(shapes_of(event_type))), number)
        odd.append(
            event_of(event_type, spoil(chance, obj, chance.randint(1, 4)), number, chance.choice(VERSIONS))
        )
    events = [*story.events, *odd]
    chance.shuffle(events)
    for start in range(0, len(events), 60):
        await road.deliver(events[start : start + 60])
    for _ in range(3):  # what waited for an answer
        await road.process([event["id"] for event in odd])
    states = await event_states(engine)
    assert {states[event["id"]] for event in story.events} == {("processed", 0)}
    assert {status for status, _ in states.values()} <= {"processed", "ignored", "dead"}
    assert await _error_codes(engine) <= {"invalid_payload"}
    assert {f"charge:{charge['id']}:captured" for charge in good} <= await effect_keys(engine)
    assert {f"payment:{charge['payment_intent']}:sale" for charge in good} <= await effect_keys(engine)


def _named(value: Any, number: int) -> Any:
    """With ids of its own, so that no two odd ones are about the same object."""
    if isinstance(value, dict):
        return {
            key: f"{item}_{number}" if key == "id" and isinstance(item, str) else _named(item, number)
            for key, item in value.items()
        }
    return [_named(item, number) for item in value] if isinstance(value, list) else value


async def _error_codes(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT error_code FROM event_attempts")
        return set(rows.scalars())
