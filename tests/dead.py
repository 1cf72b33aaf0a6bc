"""A story with one dead letter of each kind, for the tests that show, replay and discard them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Facts
from tests.builders import Json, StripeStory
from tests.road import Road, StoryStripe


@dataclass
class Dead:
    """What is dead: an event whose rule raised, and a balance transaction that Stripe would not show."""

    road: Road
    story: StripeStory
    event: str
    charge: str
    balance_transaction: str
    stripe: ForgetfulStripe
    monkeypatch: pytest.MonkeyPatch

    def mend(self) -> None:
        """The rule works again, and Stripe knows the balance transaction."""
        self.monkeypatch.undo()
        self.stripe.knows = True


class ForgetfulStripe(StoryStripe):
    """Stripe that knows no balance transaction until it is told to."""

    knows = False

    async def retrieve_balance_transaction(self, txn: str) -> Json | None:
        return await super().retrieve_balance_transaction(txn) if self.knows else None

    async def list_balance_transactions(self, **window: Any) -> Json:
        return (
            await super().list_balance_transactions(**window)
            if self.knows
            else {"data": [], "has_more": False}
        )


async def bury(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> Dead:
    """Tell the story of one payment whose capture and whose balance transaction fail for good."""
    story = StripeStory()
    intent = story.intent(2500, "eur", ours="pay_" + "0" * 26)
    charge = story.succeed(intent)
    event = next(each for each in story.events if each["type"] == "charge.updated")
    event["data"]["object"]["client_secret"] = "ch_1_secret_VerySecret"
    event["data"]["object"]["payment_method_details"] = {"card": {"exp_month": 4, "fingerprint": "Xt5EWLL"}}
    rule = EVENTS[event["type"]].rule

    def broken(told: Event, facts: Facts) -> Effects:
        if told.id == event["id"]:
            raise ZeroDivisionError("a bug, seen with pi_1_secret_VerySecret")
        return rule(told, facts)

    monkeypatch.setitem(EVENTS, event["type"], replace(EVENTS[event["type"]], rule=broken))
    stripe = ForgetfulStripe(story)
    road = Road(engine, story, stripe, retry_limit=2, retry_base_s=1e-6)
    await road.deliver(story.events)
    await road.process([event["id"]])
    txn = charge["balance_transaction"]
    async with engine.begin() as connection:
        note = text("INSERT INTO balance_transactions (id, status) VALUES (:id, 'wanted')")
        await connection.execute(note, {"id": txn})
    for _ in range(8):
        await road.settlement.fetch_and_post()
        await _all_due(engine)
    return Dead(road, story, event["id"], charge["id"], txn, stripe, monkeypatch)


async def _all_due(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE balance_transactions SET due_at = now()"))


async def died_at(engine: AsyncEngine, letter: str, moment: datetime) -> None:
    """Set when a letter died."""
    async with engine.begin() as connection:
        for statement in (
            "UPDATE webhook_events SET finished_at = :at WHERE id = :id",
            "UPDATE balance_transactions SET dead_at = :at WHERE id = :id",
        ):
            await connection.execute(text(statement), {"id": letter, "at": moment})


async def more_dead(engine: AsyncEngine, count: int, since: datetime) -> list[str]:
    """So many more dead events, the first the oldest, each a second after the other."""
    ids = [f"evt_more_{number:03}" for number in range(count)]
    async with engine.begin() as connection:
        for number, each in enumerate(ids):
            await connection.execute(
                text("""
                INSERT INTO webhook_events
                  (id, type, livemode, body, status, attempts, created_at, ring_at, finished_at)
                VALUES (:id, 'refund.created', false, :body, 'dead', 1, :at, :at, :at)"""),
                {"id": each, "body": orjson.dumps({"id": each}), "at": since + timedelta(seconds=number)},
            )
    return ids
