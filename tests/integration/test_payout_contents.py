"""Which payments went out with a payout: Stripe's list of it, kept page by page."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.house import house
from tests.road import Road, StoryStripe

from tallystick.db.session import snapshot
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import InvalidRequestError, NotFoundError, StripeUnavailableError
from tallystick.ledger.seals import horizon, seal
from tallystick.pipeline.pulls.payout_contents import (
    ListingStatus,
    PayoutContents,
    PayoutListings,
    read_contents,
)

OURS = "pay_" + "7".zfill(26)
Json = dict[str, Any]


class PayingStripe(StoryStripe):
    """Answers about one payout; two balance transactions a page."""

    def __init__(self, story: StripeStory, payout: Json, contents: list[Json]) -> None:
        super().__init__(story)
        self.payout: Json | None = payout
        self.contents = contents
        self.calls: list[str | None] = []
        self.away_after: int | None = None

    async def find_payout(self, payout: str) -> Json | None:
        return self.payout if self.payout is None or self.payout["id"] == payout else None

    async def list_payout_transactions(self, payout: str, starting_after: str | None) -> Json:
        if self.away_after is not None and len(self.calls) >= self.away_after:
            raise StripeUnavailableError("Stripe is away.")
        self.calls.append(starting_after)
        assert self.payout is not None
        assert payout == self.payout["id"]
        ids = [txn["id"] for txn in self.contents]
        begin = ids.index(starting_after) + 1 if starting_after else 0
        page = self.contents[begin : begin + 2]
        return {"data": page, "has_more": begin + 2 < len(self.contents)}


class Paid:
    """A payout with a payment and a refund of ours in it, known to the ledger and sealed there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.story = StripeStory()
        charge = self.story.succeed(self.story.intent(2500, "usd", ours=OURS))
        self.story.refund(charge, 700, status="succeeded", ours=True)
        self.amount = sum(txn["net"] for txn in self.story.balance_transactions)
        self.payout = self.story.payout(self.amount, "usd", ["paid"])
        self.payout |= {"automatic": True, "reconciliation_status": "completed"}
        self.payout["arrival_date"] = int(time.time()) - 86_400
        for event in self.story.events:
            if event["type"].startswith("payout."):
                event["data"]["object"]["arrival_date"] = self.payout["arrival_date"]
        self.stripe = PayingStripe(self.story, self.payout, list(reversed(self.story.balance_transactions)))
        self.listings = PayoutListings(engine, self.stripe)  # type: ignore[arg-type]

    async def post(self) -> None:
        road = Road(self.engine, self.story)
        await road.deliver(self.story.events)
        await road.finish()
        await seal(self.engine, await horizon(self.engine))

    async def due(self) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text("UPDATE payout_listings SET due_at = now()"))

    async def read(self, **page: Any) -> PayoutContents:
        async with snapshot(self.engine) as connection:
            return await read_contents(connection, self.payout["id"], **{"limit": 100, **page})


@pytest.fixture
async def paid(engine: AsyncEngine) -> Paid:
    made = Paid(engine)
    await made.post()
    return made


async def test_what_went_out_comes_to_the_payout(paid: Paid) -> None:
    await paid.listings.step()
    found = await paid.read()
    assert (found.status, found.transactions, found.net) == (ListingStatus.LISTED, 2, paid.amount)
    assert {(line.type, line.payment) for line in found.lines} == {("charge", OURS), ("refund", OURS)}
    first = await paid.read(limit=1)
    rest = await paid.read(limit=1, cursor=first.next_cursor)
    assert (first.lines + rest.lines, rest.next_cursor) == (found.lines, None)
    calls = len(paid.stripe.calls)
    await paid.due()
    await paid.listings.step()
    assert len(paid.stripe.calls) == calls, "what is listed is not asked for again"


async def test_a_list_that_is_cut_short_goes_on_at_its_page(paid: Paid) -> None:
    paid.stripe.away_after = 1
    with pytest.raises(StripeUnavailableError):
        await paid.listings.step()
    assert (await paid.read()).status is ListingStatus.PENDING
    paid.stripe.away_after = None
    await paid.listings.step()
    assert len(paid.stripe.calls) == 1, "it is in hand, perhaps of another worker"
    await paid.due()
    await paid.listings.step()
    assert paid.stripe.calls == [None, paid.stripe.contents[1]["id"]]
    assert (await paid.read()).net == paid.amount


async def test_a_list_that_stripe_has_not_put_together_is_asked_for_later(paid: Paid) -> None:
    paid.payout["reconciliation_status"] = "in_progress"
    await paid.listings.step()
    assert (await paid.read()).status is ListingStatus.PENDING
    assert paid.stripe.calls == []
    paid.payout["reconciliation_status"] = "completed"
    await paid.due()
    await paid.listings.step()
    assert (await paid.read()).status is ListingStatus.LISTED


async def test_payouts_without_a_list(paid: Paid) -> None:
    paid.payout["automatic"] = False
    await paid.listings.step()
    assert (await paid.read()).status is ListingStatus.NOT_AUTOMATIC
    async with snapshot(paid.engine) as connection:
        with pytest.raises(NotFoundError):
            await read_contents(connection, "po_none", limit=1)
        with pytest.raises(InvalidRequestError):
            await read_contents(connection, paid.payout["id"], limit=1, cursor="x")


async def test_the_way_from_stripe_to_the_api(database_url: str, valkey: EmbeddedValkey) -> None:
    """Payments, a refund and a fee are paid out by the sandbox; the worker asks for the list."""
    order = {
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "confirm": "true",
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
    }
    async with house(database_url, valkey) as running:
        intents = [
            (await running.stripe("/v1/payment_intents", amount=amount, **order))["id"]
            for amount in (3000, 4500)
        ]
        await running.stripe("/v1/refunds", payment_intent=intents[0], amount=500)
        await running.control("settle", funds=True)
        [payout] = (await running.control("payouts/run"))["payouts"]
        for _ in range(2):
            await running.control(f"payouts/{payout}/advance")
        deadline = time.monotonic() + 30
        while True:
            try:
                async with snapshot(running.app.engine) as connection:
                    found = await read_contents(connection, payout, limit=100)
                if found.status is ListingStatus.LISTED:
                    break
            except NotFoundError:
                pass  # not known as paid yet
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert await running.ours("assets:bank") == {"usd": found.net}
    assert found.transactions == len(found.lines) == 3
    assert {line.payment for line in found.lines} == {f"pay_{intent}" for intent in intents}


async def test_two_workers_beside_each_other_keep_each_line_once(paid: Paid) -> None:
    await asyncio.gather(*(paid.listings.step() for _ in range(4)))
    found = await paid.read()
    assert (found.transactions, found.net) == (2, paid.amount)
