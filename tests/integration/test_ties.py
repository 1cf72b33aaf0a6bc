"""Two events of one object in one second, equal in rank, different in content: Stripe says which is later."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.pipeline_support import event_states
from tests.road import Road, StoryStripe

from tallystick.errors import StripeUnavailableError

HOW = ["batch", "reversed", "apart", "apart reversed"]


def cut(events: Sequence[Json], how: str) -> list[list[Json]]:
    ordered = list(events)[:: -1 if "reversed" in how else 1]
    return [[event] for event in ordered] if "apart" in how else [ordered]


def failing_twice(second: int = 1_790_000_100) -> tuple[StripeStory, list[Json], Json]:
    """A PaymentIntent that failed twice in a second, for other reasons; the later event has the lesser id."""
    story = StripeStory()
    intent = story.intent(2000, ours="pay_" + "0" * 26)
    for code in ("insufficient_funds", "expired_card"):
        intent["last_payment_error"] = {"code": code, "message": f"No: {code}."}
        story.event("payment_intent.payment_failed", intent)
    first, second_event = story.events[-2:]
    first["id"], second_event["id"] = second_event["id"], first["id"]
    for event in (first, second_event):
        event["created"] = second
    return story, [first, second_event], intent


async def payment(engine: AsyncEngine) -> dict[str, Any]:
    async with engine.connect() as connection:
        query = text("SELECT status, last_error ->> 'code' AS code, description FROM payments")
        return dict((await connection.execute(query)).mappings().one())


@pytest.mark.parametrize("how", HOW)
async def test_a_tie_is_decided_by_what_stripe_says(engine: AsyncEngine, how: str) -> None:
    story, tied, _ = failing_twice()
    road = Road(engine, story)
    await road.deliver(story.events[:1])
    waiting = 0
    for batch in cut(tied, how):
        waiting += (await road.deliver(batch)).counts["waiting"]
    assert waiting == 1, "the one that came first is in the row; the other is held"
    await road.finish()
    assert await payment(engine) == {
        "status": "requires_payment_method", "code": "expired_card", "description": None,
    }  # fmt: skip
    assert set((await event_states(engine)).values()) == {("processed", 0)}
    for events in itertools.permutations(story.events):  # and told again in any order, it stays
        await replayed(engine, road, events)
        assert (await payment(engine))["code"] == "expired_card"


async def replayed(engine: AsyncEngine, road: Road, events: Sequence[Json]) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE webhook_events SET status = 'pending'"))
    for event in events:
        outcome = await road.process([event["id"]])
        assert outcome.counts == {"processed": 1}


class AwayStripe(StoryStripe):
    """Stripe that is away until it is back."""

    away = True

    async def find_payment_intent(self, intent: str) -> Json | None:
        if self.away:
            raise StripeUnavailableError("Stripe cannot be reached.")
        return await super().find_payment_intent(intent)


async def test_while_stripe_is_away_a_tie_waits_and_counts_nothing(engine: AsyncEngine) -> None:
    story, tied, _ = failing_twice()
    stripe = AwayStripe(story)
    road = Road(engine, story, stripe)
    await road.deliver(tied)
    for _ in range(road.settings.retry_limit + 1):
        assert (await road.process([event["id"] for event in tied])).counts == {"waiting": 1}
    assert sorted((await event_states(engine)).values()) == [("pending", 0), ("processed", 0)]
    stripe.away = False
    await road.finish()
    assert (await payment(engine))["code"] == "expired_card"


@pytest.mark.parametrize("how", HOW)
async def test_where_stripe_knows_no_such_object_the_ids_decide(engine: AsyncEngine, how: str) -> None:
    story, tied, intent = failing_twice()
    del story.intents[intent["id"]]
    road = Road(engine, story)
    for batch in cut(tied, how):
        await road.deliver(batch)
    await road.finish()
    assert (await payment(engine))["code"] == "insufficient_funds", "the greater id"


@pytest.mark.parametrize("how", HOW)
async def test_what_a_later_event_settles_is_not_asked(engine: AsyncEngine, how: str) -> None:
    story, tied, intent = failing_twice()
    intent.update(status="succeeded", amount_received=2000, last_payment_error=None, description="the end")
    story.charge(intent)
    story.event("payment_intent.succeeded", intent)
    road = Road(engine, story)
    await road.deliver([story.events[-1]])
    for batch in cut(tied, how):
        assert (await road.deliver(batch)).counts == {"processed": len(batch)}
    assert (await payment(engine))["description"] == "the end"
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM fetched_objects"))).scalar_one() == 0


async def test_equal_contents_are_no_tie(engine: AsyncEngine) -> None:
    story, tied, _ = failing_twice()
    tied[1]["data"]["object"] = tied[0]["data"]["object"]
    assert (await Road(engine, story).deliver(story.events)).counts == {"processed": 3}


@pytest.mark.parametrize("how", HOW)
async def test_a_tie_of_a_refund_is_decided_too(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(3000, ours="pay_" + "0" * 26))
    refund = story.refund(charge, 1000, ours=True)
    tied = []
    for note in ("first", "second"):
        refund["metadata"] = {**refund["metadata"], "note": note}
        tied.append(story.event("refund.updated", refund))
    tied[0]["id"], tied[1]["id"] = tied[1]["id"], tied[0]["id"]
    for event in tied:
        event["created"] = 1_790_000_100
    road = Road(engine, story)
    for batch in cut(story.events, how):
        await road.deliver(batch)
    await road.finish()
    async with engine.connect() as connection:
        query = text("SELECT metadata ->> 'note' FROM refunds")
        assert (await connection.execute(query)).scalar_one() == "second"
    assert {status for status, _ in (await event_states(engine)).values()} == {"processed"}


CREATED = 1_790_000_000
CUSTOMER: Json = {"id": "cus_1", "object": "customer", "created": CREATED, "livemode": False}
CARD: Json = {
    "id": "pm_1", "object": "payment_method", "type": "card", "created": CREATED, "livemode": False,
    "customer": "cus_1", "card": {"brand": "visa", "last4": "4242", "exp_year": 2027},
}  # fmt: skip


class CopyStripe(StoryStripe):
    """Stripe that says of a customer and a payment method what they are told to be."""

    def __init__(self, story: StripeStory, said: Json | None) -> None:
        super().__init__(story)
        self.said = said

    async def find_customer(self, _customer: str) -> Json | None:
        return self.said

    async def find_payment_method(self, _method: str) -> Json | None:
        return self.said


def two_changes(story: StripeStory, kind: str, first: Json, second: Json) -> list[Json]:
    """Two changes of one second, of which the later has the lesser id."""
    tied = [story.event(kind, first), story.event(kind, second)]
    tied[0]["id"], tied[1]["id"] = tied[1]["id"], tied[0]["id"]
    for event in tied:
        event["created"] = CREATED + 100
    return tied


async def scalar(engine: AsyncEngine, query: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(query))).scalar_one()


@pytest.mark.parametrize("how", HOW)
async def test_a_tie_of_a_customer_is_decided_too(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    later = {**CUSTOMER, "email": "second@example.com"}
    tied = two_changes(story, "customer.updated", {**CUSTOMER, "email": "first@example.com"}, later)
    road = Road(engine, story, CopyStripe(story, later))
    for batch in cut(tied, how):
        await road.deliver(batch)
    await road.finish()
    assert await scalar(engine, "SELECT email FROM customers") == "second@example.com"
    assert {status for status, _ in (await event_states(engine)).values()} == {"processed"}


@pytest.mark.parametrize("how", HOW)
async def test_a_tie_of_a_customer_that_is_gone_ends(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    tied = two_changes(
        story, "customer.updated", {**CUSTOMER, "name": "first"}, {**CUSTOMER, "name": "second"}
    )
    gone = story.event("customer.deleted", CUSTOMER)
    gone["created"] = CREATED + 200
    road = Road(engine, story, CopyStripe(story, {"id": "cus_1", "object": "customer", "deleted": True}))
    for batch in cut(tied, how):
        await road.deliver(batch)
    await road.finish()
    await road.deliver([gone])
    assert await scalar(engine, "SELECT deleted FROM customers") is True
    assert {status for status, _ in (await event_states(engine)).values()} == {"processed"}


@pytest.mark.parametrize("how", HOW)
async def test_a_tie_of_a_payment_method_is_decided_too(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    later = {**CARD, "card": {**CARD["card"], "exp_year": 2031}}
    tied = two_changes(story, "payment_method.automatically_updated", CARD, later)
    road = Road(engine, story, CopyStripe(story, later))
    for batch in cut(tied, how):
        await road.deliver(batch)
    await road.finish()
    assert await scalar(engine, "SELECT details ->> 'exp_year' FROM payment_methods") == "2031"


@pytest.mark.parametrize("how", HOW)
async def test_a_tie_of_a_dispute_is_decided_too(engine: AsyncEngine, how: str) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(3000, ours="pay_" + "0" * 26))
    dispute = story.dispute(charge, ["needs_response"])
    due = CREATED + 86_400
    told = {**dispute, "evidence_details": {"due_by": due, "has_evidence": False, "submission_count": 0}}
    later = {**told, "evidence_details": {"due_by": due, "has_evidence": True, "submission_count": 1}}
    tied = two_changes(story, "charge.dispute.updated", told, later)
    story.disputes[dispute["id"]] = later
    road = Road(engine, story)
    await road.deliver([event for event in story.events if event not in tied])
    await road.finish()
    for batch in cut(tied, how):
        await road.deliver(batch)
    await road.finish()
    assert await scalar(engine, "SELECT submission_count FROM disputes") == 1
    assert {status for status, _ in (await event_states(engine)).values()} == {"processed"}
