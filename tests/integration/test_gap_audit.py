"""The gap audit: what Stripe knows and the inbox does not is found, once, whatever comes between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.faults.installation import until
from tests.house import house

from tallystick.embedded import EmbeddedValkey
from tallystick.events.catalog import EVENTS
from tallystick.pipeline.inbox import Inbox
from tallystick.pipeline.incoming import read_event
from tallystick.pipeline.pulls.gap_audit import NAME, GapAudit
from tallystick.pipeline.pulls.listings import Pulled, read_at_once
from tallystick.settings import load_settings
from tallystick.stripe_gateway.answers import RefusedError, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway

PAGE = 4
NO_REDIRECT = {
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


class ListingStripe:
    """Lists a story's events, newest first, a few a page; does at each call what it is told to."""

    def __init__(self, events: list[Json]) -> None:
        self.events = events
        self.calls: list[Mapping[str, Any]] = []
        self.errors: dict[int, Exception] = {}
        self.called = asyncio.Event()
        self.hang: asyncio.Event | None = None

    async def list_events(self, **window: Any) -> Json:
        self.calls.append(window)
        self.called.set()
        if self.hang is not None:
            await self.hang.wait()
        if error := self.errors.pop(len(self.calls), None):
            raise error
        listed = self.events[::-1]
        if after := window["starting_after"]:
            listed = listed[[event["id"] for event in listed].index(after) + 1 :]
        return {"data": listed[:PAGE], "has_more": len(listed) > PAGE}


def story() -> StripeStory:
    told = StripeStory()
    for _ in range(3):
        told.succeed(told.intent(1000, "usd"))
    told.event("product.created", {"id": "prod_1", "object": "product"})
    return told


def auditing(engine: AsyncEngine, stripe: ListingStripe, **settings: Any) -> tuple[GapAudit, list[str]]:
    rung: list[str] = []
    inbox = Inbox(engine, rung.extend, ring_grace_s=5, timeout_s=10)
    given = load_settings({}, require=(), **settings)
    return GapAudit(engine, cast("StripeGateway", stripe), inbox, given), rung


async def found_by(engine: AsyncEngine) -> dict[str, str]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT id, found_by FROM webhook_events"))
        return {row.id: row.found_by for row in rows}


async def change(engine: AsyncEngine, assignment: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(f"UPDATE stripe_listings SET {assignment}"))


async def test_only_what_is_missing_is_stored_and_rung_and_counted(engine: AsyncEngine) -> None:
    told = story()
    audit, rung = auditing(engine, ListingStripe(told.events))
    for event in told.events[::2]:
        await audit._inbox.receive(read_event(orjson.dumps(event)))
    before, missing = await found_by(engine), [event["id"] for event in told.events[1::2]]
    rung.clear()
    assert await audit.run() == Pulled(seen=len(told.events), found=len(missing))
    assert await found_by(engine) == before | dict.fromkeys(missing, "gap_audit")
    assert sorted(rung) == sorted(missing)
    assert "product.created" not in {event["type"] for event in told.events if event["id"] in missing}
    assert await audit.run() is None, "the next one is due in an hour"


async def test_the_first_audit_reaches_back_30_days_and_none_looks_at_the_last_minutes(
    engine: AsyncEngine,
) -> None:
    stripe = ListingStripe([])
    audit, _ = auditing(engine, stripe)
    now = datetime.now(UTC).timestamp()
    await audit.run()
    assert stripe.calls[0]["created_gte"] == pytest.approx(now - 30 * 86400, abs=5)
    assert stripe.calls[0]["created_lt"] == pytest.approx(now - 600, abs=5)


async def test_a_window_overlaps_the_last_one_whatever_the_outage(engine: AsyncEngine) -> None:
    stripe = ListingStripe([])
    audit, _ = auditing(engine, stripe)
    await audit.run()
    for ago in (timedelta(hours=1), timedelta(days=12)):
        through = datetime.now(UTC) - ago
        await change(engine, f"through = '{through.isoformat()}', finished_at = '{through.isoformat()}'")
        assert await audit.run() is not None
        assert stripe.calls[-1]["created_gte"] == int((through - timedelta(hours=2)).timestamp())


async def test_an_operator_has_it_done_at_once_from_any_day_on(engine: AsyncEngine) -> None:
    stripe = ListingStripe([])
    audit, _ = auditing(engine, stripe)
    for since, begins in ((None, timedelta(minutes=10)), (timedelta(days=20), timedelta(days=20))):
        await audit.run()
        assert await audit.run() is None
        now = datetime.now(UTC)
        async with engine.begin() as connection:
            await read_at_once(connection, NAME, since=None if since is None else now - since)
        assert await audit.run() is not None
        begun = (now - begins - timedelta(hours=2)).timestamp()
        assert stripe.calls[-1]["created_gte"] == pytest.approx(begun, abs=30)


async def test_what_an_outage_cut_short_is_taken_up_where_it_stood(engine: AsyncEngine) -> None:
    told = story()
    stripe = ListingStripe(told.events)
    stripe.errors = {3: UnavailableError("Too many requests.", outcome_unknown=False)}
    audit, _ = auditing(engine, stripe)
    with pytest.raises(UnavailableError):
        await audit.run()
    assert len(await found_by(engine)) == 2 * PAGE - 1, "product.created is not ours to store"
    another, _ = auditing(engine, stripe)
    assert await another.run() == Pulled(seen=len(told.events), found=len(told.events) - 1)
    cursors = [call["starting_after"] for call in stripe.calls]
    assert cursors == [
        None,
        told.events[-PAGE]["id"],
        *2 * [told.events[-2 * PAGE]["id"]],
        told.events[-3 * PAGE]["id"],
    ]
    assert len({(call["created_gte"], call["created_lt"]) for call in stripe.calls}) == 1, "one window"


async def test_a_cursor_that_stripe_no_longer_knows_starts_the_window_over(engine: AsyncEngine) -> None:
    told = story()
    stripe = ListingStripe(told.events)
    stripe.errors = {2: RefusedError("No such event", stripe_code="resource_missing", intent=None)}
    audit, _ = auditing(engine, stripe)
    pulled = await audit.run()
    assert pulled is not None
    assert pulled.found == len(told.events) - 1
    assert stripe.calls[2]["starting_after"] is None


async def test_one_worker_audits_and_another_takes_over_when_it_died(engine: AsyncEngine) -> None:
    stripe = ListingStripe(story().events)
    stripe.hang = asyncio.Event()
    audit, _ = auditing(engine, stripe)
    first = asyncio.create_task(audit.run())
    await stripe.called.wait()
    another, _ = auditing(engine, ListingStripe(story().events))
    assert await another.run() is None
    await change(engine, "leased_until = now() - interval '1 second'")  # as after kill -9, a while later
    taken = await another.run()
    assert taken is not None
    assert taken.found == len(stripe.events) - 1
    stripe.hang.set()
    assert await first is None, "it was not dead after all: it steps back, and nothing is stored twice"


async def test_long_before_stripe_forgets_it_is_said_aloud(engine: AsyncEngine) -> None:
    stripe = ListingStripe([])
    audit, _ = auditing(engine, stripe)
    await audit.run()
    await change(engine, "through = now() - interval '9 days', finished_at = now() - interval '9 days'")
    with structlog.testing.capture_logs() as logs:
        await audit.run()
        await audit.run()
    said = [line for line in logs if line["event"] == "gap_audit_behind"]
    assert [
        (line["log_level"], line["days_behind"], line["days_until_events_are_lost"]) for line in said
    ] == [("error", 9, 20)]


@pytest.mark.parametrize("dropped", [0.2, 1.0])
async def test_deliveries_that_are_dropped_are_brought_by_the_audit(
    database_url: str, valkey: EmbeddedValkey, dropped: float
) -> None:
    """Stripe's books and ours are the same, with every event processed."""
    async with house(database_url, valkey, audit_interval_s=0.3, audit_lag_s=0.0) as running:
        await running.control("deliveries/policy", seed=5, rules=[{"share": dropped, "drop": True}])
        for amount in range(1000, 1600, 100):
            paid = await running.stripe(
                "/v1/payment_intents",
                amount=amount,
                currency="usd",
                confirm="true",
                payment_method="pm_card_visa",
                **NO_REDIRECT,
            )
            await running.stripe("/v1/refunds", payment_intent=paid["id"], amount=300)
        await running.until("liabilities:unapplied", {"usd": sum(range(1000, 1600, 100)) - 6 * 300})
        await running.until_settled()
        page = (await running.client.get("/v1/events", params={"limit": 100})).json()
        at_stripe = {event["id"] for event in page["data"] if event["type"] in EVENTS}

        async def complete() -> bool:
            return at_stripe <= set(await found_by(running.app.engine))

        await until(complete)
        found = list((await found_by(running.app.engine)).values())
        assert "gap_audit" in found
        assert ("delivery" in found) is (dropped < 1)
