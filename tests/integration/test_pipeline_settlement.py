"""Settlement: balance transactions come in late, wrong, in other currencies, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.builders import Json, StripeStory
from tests.pipeline_support import book_balances, wait_until_blocked
from tests.road import Road, StoryStripe, picture

from tallystick.errors import StripeRefusedError, StripeUnavailableError
from tallystick.events.balance_transactions import balance_transaction_effects
from tallystick.events.spec import Effects, Facts
from tallystick.ledger.book import Book, Posted
from tallystick.ledger.entries import LedgerTransaction
from tallystick.pipeline import reading
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.lookups import Lookups
from tallystick.pipeline.pulls.settlement import Settlement
from tallystick.pipeline.rebuild.check import check
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.fields import JsonObject

QUICK: dict[str, Any] = {"retry_base_s": 0.001, "settlement_interval_s": 0.0001}
"""A retry is due at once, so that a test can ask for it."""
OURS = "pay_00000000000000000000000001"


def paid(amount: int = 1000, currency: str = "usd") -> StripeStory:
    """One payment of ours that succeeded."""
    story = StripeStory()
    story.succeed(story.intent(amount, currency, ours=OURS))
    return story


async def states(engine: AsyncEngine) -> dict[str, tuple[str, int]]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT id, status, attempts FROM balance_transactions"))
        return {row.id: (row.status, row.attempts) for row in rows}


async def error_of(engine: AsyncEngine, txn: str) -> str:
    async with engine.connect() as connection:
        query = text("SELECT error FROM balance_transactions WHERE id = :id")
        return str((await connection.execute(query, {"id": txn})).scalar_one())


class MoodyStripe(StoryStripe):
    """Raises what it is told to, for the ids it is told (or for every call)."""

    def __init__(self, story: StripeStory) -> None:
        super().__init__(story)
        self.error: Exception | None = None
        self.only: frozenset[str] | None = None
        self.lists = True
        self.unknown: set[str] = set()

    def _check(self, ident: str | None) -> None:
        if self.error is not None and (self.only is None or ident in self.only):
            raise self.error

    async def retrieve_balance_transaction(self, txn: str) -> Json | None:
        self._check(txn)
        return None if txn in self.unknown else await super().retrieve_balance_transaction(txn)

    async def retrieve_settled_charge(self, charge: str) -> Json | None:
        self._check(charge)
        return await super().retrieve_settled_charge(charge)

    async def list_balance_transactions(self, **_: Any) -> Json:
        self._check(None)
        return await super().list_balance_transactions() if self.lists else {"data": [], "has_more": False}


def with_moods(road: Road, story: StripeStory) -> MoodyStripe:
    stripe = MoodyStripe(story)
    gateway = cast("StripeGateway", stripe)
    lookups = Lookups(road.engine, gateway, Failures(road.engine, road.settings))
    road.settlement = Settlement(road.engine, gateway, Book(), road.settings, lookups)
    return stripe


async def test_an_unknown_type_is_posted_to_suspense(engine: AsyncEngine) -> None:
    story = paid()
    txn = story.balance_transactions[0]
    txn.update(type="climate_surprise", reporting_category="climate_surprise")
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    assert await states(engine) == {txn["id"]: ("posted", 0)}
    balances = await book_balances(engine)
    assert balances["suspense:stripe", "usd"] == -1000
    assert balances["assets:stripe:balance", "usd"] == txn["net"]


async def test_another_settlement_currency_goes_through_fx_and_clearing_drains(engine: AsyncEngine) -> None:
    """A charge of 10.00 EUR that settles as 11.50 USD; 4.00 EUR of it go back for 4.70 USD: 0.10 lost."""
    story = StripeStory()
    charge = story.succeed(story.intent(1000, "eur", ours=OURS))
    refund = story.refund(charge, 400, ours=True)
    for txn, source, amount in zip(story.balance_transactions, (charge, refund), (1150, -470), strict=True):
        fee = 63 if amount > 0 else 0
        details = [{"type": "stripe_fee", "amount": fee, "currency": "usd"}] if fee else []
        txn.update(
            currency="usd", amount=amount, fee=fee, net=amount - fee, source=source, fee_details=details
        )
    road = Road(engine, story)
    await road.deliver(story.events)
    assert (await book_balances(engine))["assets:stripe:clearing", "eur"] == 600
    await road.finish()
    assert await book_balances(engine) == {
        ("assets:stripe:balance", "usd"): 1150 - 63 - 470,
        ("expenses:stripe_fees", "usd"): 63,
        ("equity:fx", "usd"): -(1150 - 460),  # of the 600 that stayed, at the rate at which they came
        ("expenses:fx_losses", "usd"): 10,
        ("equity:fx", "eur"): 1000 - 400,
        ("assets:stripe:clearing", "eur"): 0,
        ("liabilities:unapplied", "eur"): 0,
        ("revenue:payments", "eur"): -1000,
        ("revenue:refunds", "eur"): 400,
    }


async def test_one_that_stripe_does_not_know_is_missing_after_the_limit(engine: AsyncEngine) -> None:
    story = paid()
    road = Road(engine, story, **QUICK)
    stripe = with_moods(road, story)
    txn = story.balance_transactions[0]["id"]
    stripe.unknown, stripe.lists = {txn}, False
    await road.deliver(story.events)
    async with asyncio.timeout(10):
        while (await states(engine))[txn][0] == "wanted":
            await road.settlement.fetch_and_post()
    assert await states(engine) == {txn: ("missing", 8)}
    assert "knows no such" in await error_of(engine, txn)
    assert (await book_balances(engine))["assets:stripe:clearing", "usd"] == 1000, "it shows in clearing"

    stripe.lists = True  # and when it turns up in a list after all, it is posted
    await road.settlement.pull()
    assert (await states(engine))[txn][0] == "posted"
    assert (await book_balances(engine))["assets:stripe:clearing", "usd"] == 0


async def test_stripe_away_counts_no_attempts_and_heals(engine: AsyncEngine) -> None:
    story = paid()
    road = Road(engine, story, **QUICK)
    stripe = with_moods(road, story)
    await road.deliver(story.events)
    before = await picture(engine)
    stripe.error = StripeUnavailableError("Stripe cannot be reached.")
    txn = story.balance_transactions[0]["id"]
    for work in (road.settlement.pull, road.settlement.fetch_and_post):
        for _ in range(10):
            with pytest.raises(StripeUnavailableError):
                await work()
    assert await states(engine) == {txn: ("wanted", 0)}
    assert await picture(engine) == before
    stripe.error = None
    await road.settlement.fetch_and_post()
    assert await states(engine) == {txn: ("posted", 0)}
    assert (await book_balances(engine))["assets:stripe:clearing", "usd"] == 0


async def test_what_is_stored_is_posted_also_while_stripe_is_away(engine: AsyncEngine) -> None:
    """An event brought one balance transaction along; for the other one Stripe would have to be asked."""
    story = StripeStory(api_version="2019-01-01")
    for _ in range(2):
        story.succeed(story.intent(1000))
    first, second = story.balance_transactions
    for event in story.events:
        if event["data"]["object"].get("balance_transaction") == first["id"]:
            event["data"]["object"]["balance_transaction"] = {**first, "source": first["source"]["id"]}
    road = Road(engine, story)
    with_moods(road, story).error = StripeUnavailableError("Stripe cannot be reached.")
    await road.deliver(story.events)
    for work in (road.settlement.pull, road.settlement.fetch_and_post):
        with pytest.raises(StripeUnavailableError):
            await work()
    assert await states(engine) == {first["id"]: ("posted", 0), second["id"]: ("wanted", 0)}


async def test_one_that_stripe_refuses_does_not_hold_back_the_others(engine: AsyncEngine) -> None:
    story = StripeStory()
    for number in range(5):
        story.succeed(story.intent(1000 + number))
    road = Road(engine, story, **QUICK)
    stripe = with_moods(road, story)
    stripe.lists = False
    refused, *others = [txn["id"] for txn in story.balance_transactions]
    stripe.error, stripe.only = StripeRefusedError("No."), frozenset({refused})
    await road.deliver(story.events)
    await road.settlement.fetch_and_post()
    found = await states(engine)
    assert {found[txn] for txn in others} == {("posted", 0)}
    assert found[refused][0] != "posted"
    assert "No." in await error_of(engine, refused)


async def test_what_the_database_refuses_is_put_off_and_the_others_are_posted(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = StripeStory()
    for number in range(9):
        story.succeed(story.intent(1000 + number))
    bad = story.balance_transactions[4]

    def careless(body: JsonObject, facts: Facts) -> Effects:
        effects = balance_transaction_effects(body, facts)
        if body["id"] != bad["id"]:
            return effects
        made = tuple(replace(each, description="\0") for each in effects.transactions)
        return replace(effects, transactions=made)

    monkeypatch.setattr(reading, "balance_transaction_effects", careless)
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.settlement.pull()
    found = await states(engine)
    status, attempts = found.pop(bad["id"])
    assert (status, attempts > 0) == ("fetched", True), "put off; a short delay may be over in the same pull"
    assert set(found.values()) == {("posted", 0)}
    assert "DBAPIError" in (error := await error_of(engine, bad["id"])) or "DataError" in error


async def test_what_cannot_be_read_is_dead_and_the_others_are_posted(engine: AsyncEngine) -> None:
    story = StripeStory()
    for number in range(3):
        story.succeed(story.intent(1000 + number))
    bad = story.balance_transactions[1]
    del bad["amount"]
    road = Road(engine, story)
    await road.settlement.pull()
    found = await states(engine)
    assert found.pop(bad["id"]) == ("dead", 1)
    assert set(found.values()) == {("posted", 0)}
    assert "PayloadError" in await error_of(engine, bad["id"])


async def test_one_that_differs_from_what_stands_is_dead(engine: AsyncEngine) -> None:
    """Its capture says another amount than the one that was posted."""
    story = paid(1000)
    road = Road(engine, story)
    await road.deliver(story.events)
    txn = story.balance_transactions[0]
    txn["source"] = {**txn["source"], "amount_captured": 999}
    await road.settlement.pull()
    assert await states(engine) == {txn["id"]: ("dead", 1)}
    error = await error_of(engine, txn["id"])
    assert error.startswith("EffectDiffersError: ")
    assert f"charge:{txn['source']['id']}:captured" in error
    assert (await book_balances(engine))["revenue:payments", "usd"] == -1000, "the sale stands as it was"


class GatedBook(Book):
    """Stops before it posts, until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def post(self, connection: AsyncConnection, transactions: Iterable[LedgerTransaction]) -> Posted:
        self.reached.set()
        await self.go_on.wait()
        return await super().post(connection, transactions)


async def test_settlement_and_events_of_one_payment_do_not_deadlock(engine: AsyncEngine) -> None:
    """Both write the payment and name its balance transaction, which settlement holds while it posts."""
    story = paid()
    road = Road(engine, story)
    await road.deliver(story.events[:1])
    book = GatedBook()
    settlement = Settlement(engine, road.stripe, book, road.settings, road.lookups)
    settling = asyncio.create_task(settlement.pull())
    async with asyncio.timeout(20):
        await book.reached.wait()
        events = asyncio.create_task(road.deliver(story.events[1:]))
        await wait_until_blocked(engine, events)
        book.go_on.set()
        await settling
        outcome = await events
    assert outcome.counts == {"processed": 3}
    assert set((await states(engine)).values()) == {("posted", 0)}
    async with engine.connect() as connection:
        deadlocks = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert (await connection.execute(deadlocks)).scalar_one() == 0


class UnsettledStripe(StoryStripe):
    """Has no balance transaction for any charge until it is told to."""

    settled = False

    async def retrieve_settled_charge(self, charge: str) -> Json | None:
        found = await super().retrieve_settled_charge(charge)
        return found if self.settled or found is None else {**found, "balance_transaction": None}


async def test_an_exchange_difference_is_posted_once_the_charge_is_settled(engine: AsyncEngine) -> None:
    """The refund itself does not wait for it."""
    story = StripeStory(settlement="usd")
    charge = story.succeed(story.intent(1000, "eur", ours=OURS))
    refund = story.refund(charge, 1000, ours=True)
    stripe = UnsettledStripe(story)
    road = Road(engine, story, stripe)
    await road.deliver(story.events)
    await road.finish()
    txn = refund["balance_transaction"]
    assert (await states(engine))[txn] == ("fetched", 0)
    balances = await book_balances(engine)
    assert balances["assets:stripe:clearing", "eur"] == 0
    lost = -sum(each["amount"] for each in story.balance_transactions)
    assert balances["equity:fx", "usd"] == lost != 0

    stripe.settled = True
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE balance_transactions SET due_at = now()"))
    await road.settlement.fetch_and_post()
    assert (await states(engine))[txn] == ("posted", 0)
    balances = await book_balances(engine)
    assert balances["equity:fx", "usd"] == balances["equity:fx", "eur"] == 0
    assert balances["expenses:fx_losses" if lost > 0 else "revenue:fx_gains", "usd"] == lost
    assert (await check(engine)).equal  # what was asked is a stored input


async def test_an_exchange_difference_waits_while_stripe_is_away(engine: AsyncEngine) -> None:
    story = StripeStory(settlement="usd")
    charge = story.succeed(story.intent(1000, "eur", ours=OURS))
    story.refund(charge, 400, ours=True)
    road = Road(engine, story)
    await road.deliver(story.events)
    stripe = with_moods(road, story)
    stripe.lists = True
    stripe.error, stripe.only = StripeUnavailableError("away"), frozenset({charge["id"]})
    await road.settlement.pull()
    assert sorted((await states(engine)).values()) == [("fetched", 0), ("posted", 0)]
