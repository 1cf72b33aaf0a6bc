"""Books opened when they hold something already come to what they would be, opened before anything."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests import billing_builders as billing
from tests.builders import START, StripeStory
from tests.conftest import Databases
from tests.road import Road

from tallystick.db.session import open_engine
from tallystick.ledger.book import Book
from tallystick.ledger.corrections import Draft, propose
from tallystick.ledger.entries import credit, debit
from tallystick.ledger.journal import Person
from tallystick.ledger.opening import Opening, OpeningBalance
from tallystick.ledger.suspense import open_items
from tallystick.ledger.trial_balances import period_balance, trial_balance
from tallystick.pipeline.pulls import adoption
from tallystick.pipeline.rebuild.check import check
from tallystick.pipeline.rebuild.explanation import explain
from tallystick.settings import load_settings

OURS = "pay_" + "0" * 26


def a_story() -> StripeStory:
    """Something of everything; each stretches over a part of the seconds in which it happens."""
    story = StripeStory(settlement="usd")
    held = story.intent(9000, "eur")
    authorised = story.authorise(held)
    sold = story.succeed(story.intent(5000, "eur", ours=OURS))
    story.payout(700, "usd", ["in_transit", "paid", "failed"])
    failing = story.refund(sold, 800)
    story.balance_transaction("adjustment", {"id": "adj_1", "object": "x", "currency": "usd"}, -77, 0, [])
    story.capture(held, authorised, 4000)
    of = billing.invoice(story, 1000)
    intent = story.intent(1000)
    row = billing.attach(story, of, intent, 1000)
    story.succeed(intent)
    story.dispute(story.succeed(story.intent(3000)), ["needs_response", "under_review", "won"])
    story.payout(600, "usd", ["paid"])
    billing.paid(story, row)
    story.update_refund(sold, failing, "failed")
    story.refund(sold, 300, ours=True)
    return story


LAST = max(event["created"] for event in a_story().events) - START


async def open_at(engine: AsyncEngine, story: StripeStory, cut_over: datetime) -> None:
    """With the position that Stripe's balance transactions of before come to."""
    before = [each for each in story.balance_transactions if each["created"] < cut_over.timestamp()]
    held = sum(each["net"] for each in before)
    balances = (OpeningBalance("assets:stripe:balance", "usd", held),) if held else ()
    await adoption.adopt(engine, adoption.Derived(Opening(cut_over, balances), {}), "Ada")


async def balances(engine: AsyncEngine, since: datetime | None = None) -> dict[tuple[str, str], int]:
    """What stands on each account, or what moved on it since a time."""
    async with engine.connect() as connection:
        if since is None:
            rows = [(row.account, row.currency, row.balance) for row in await trial_balance(connection)]
        else:
            until = datetime(2100, 1, 1, tzinfo=UTC)
            moved = await period_balance(connection, since, until)
            rows = [(row.account, row.currency, row.closing - row.opening) for row in moved]
    return {(account, currency): balance for account, currency, balance in rows if balance}


@pytest.mark.parametrize(
    ("quarters", "heard"),
    [
        (2, 0.5), (1, 1.0), (5, 1.0),
        *(pytest.param(*each, marks=pytest.mark.long) for each in ((0, 0.5), (1, 0.5), (3, 0.5), (5, 0.5))),
        *(pytest.param(*each, marks=pytest.mark.long) for each in ((0, 1.0), (2, 1.0), (3, 1.0))),
    ],
)  # fmt: skip
async def test_opened_late_or_in_time_the_books_are_the_same(
    databases: Databases, engine: AsyncEngine, quarters: int, heard: float
) -> None:
    """Whatever part was heard before, and whatever was under way at the cut-over."""
    story, cut_over = a_story(), datetime.fromtimestamp(START + LAST * quarters // 4, UTC)
    first, then = Road(engine, story), Road(engine, story)
    part = int(len(story.events) * heard)
    await first.deliver(story.events[:part])
    await first.finish()
    await open_at(engine, story, cut_over)
    await first.deliver(story.events[part:])  # by a worker that was there before the opening
    await then.deliver(story.events)
    await then.finish()
    late = await check(engine)
    assert late.equal, late
    url = await databases.create()
    in_time = open_engine(load_settings({}, require=(), database_url=url))
    try:
        await open_at(in_time, story, cut_over)
        road = Road(in_time, story)
        await road.deliver(story.events)
        await road.finish()
        assert await balances(engine) == await balances(in_time)
        assert await balances(engine, cut_over) == await balances(in_time, cut_over)
    finally:
        await in_time.dispose()
        await databases.drop(url)


async def test_what_was_posted_before_is_taken_back_and_explained(engine: AsyncEngine) -> None:
    story = a_story()
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    await open_at(engine, story, datetime.fromtimestamp(START + LAST // 2, UTC))
    async with engine.connect() as connection:
        query = text("SELECT effect_key FROM ledger_transactions WHERE effect_key ~ '(superseded|opening)$'")
        keys = list((await connection.execute(query)).scalars())
    assert {key.rpartition(":")[2] for key in keys} == {"opening", "superseded", "since_opening"}
    for key in keys:
        told = (await explain(engine, key)).implied_by
        assert told, key
        assert all(each.agrees for each in told), key


async def test_suspense_of_before_is_in_the_opening_and_what_an_operator_wrote_stays(
    engine: AsyncEngine,
) -> None:
    story, book = a_story(), Book()
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    legs = (debit("assets:bank", 5, "usd"), credit("revenue:shipping", 5, "usd"))
    async with engine.begin() as connection:
        draft = Draft("Interest", "statement", legs)
        _, posted = await propose(connection, book, draft, Person("Ada"), {"*": None})
        await book.settle_balances(connection, posted)
    async with engine.connect() as connection:
        assert [each.left for each in await open_items(connection)] == [77]
    await open_at(engine, story, datetime.fromtimestamp(START + LAST + 10, UTC))
    async with engine.connect() as connection:
        assert await open_items(connection) == []
    assert (await balances(engine))["revenue:shipping", "usd"] == 5
    assert (await check(engine)).equal
