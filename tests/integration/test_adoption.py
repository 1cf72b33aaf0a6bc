"""Books opened on an account in use, against the sandbox: a year goes by, we begin, and life goes on."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.house import House, house

from tallystick.db.session import open_engine
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import InvalidRequestError, InvalidStateError, UnsteadyBalanceError
from tallystick.ledger.book import Book
from tallystick.ledger.corrections import Draft, approve, propose
from tallystick.ledger.entries import LedgerEntry, credit, debit, post
from tallystick.ledger.journal import Person
from tallystick.ledger.opening import Opening, OpeningBalance, opening_transaction
from tallystick.ledger.openings import stored_opening
from tallystick.ledger.trial_balances import totals, trial_balance
from tallystick.pipeline.pulls import adoption
from tallystick.pipeline.rebuild.check import check as rebuild
from tallystick.sandbox.server import RunningSandbox
from tallystick.settings import load_settings
from tallystick.stripe_gateway.operator import OperatorGateway

Json = dict[str, Any]
DAY = 86_400
IN_TRANSIT = ("clearing", "disputed", "payouts_in_transit", "topups_in_transit")
NO_REDIRECT = {
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


class Shop:
    """Whatever a shop does at Stripe, at random; what is under way is ended later, in any phase."""

    def __init__(self, sandbox: RunningSandbox, stripe: httpx.AsyncClient, seed: int) -> None:
        self.sandbox = sandbox
        self.stripe = stripe
        self.dice = random.Random(seed)
        self.authorised: list[str] = []
        self.charged: list[str] = []
        self.payouts: list[str] = []

    async def post(self, path: str, **form: Any) -> Json:
        answer = await self.stripe.post(path, data=form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def control(self, path: str, **body: Any) -> Json:
        answer = await self.stripe.post(f"/_control/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def pass_by(self, seconds: float) -> None:
        await self.control("clock", advance_seconds=seconds)

    async def days(self, days: int, acts: int) -> None:
        """So many days with so many acts, at any time in them."""
        at = 0.0
        for moment in sorted(self.dice.uniform(0, days * DAY) for _ in range(acts)):
            await self.pass_by(moment - at)
            at = moment
            await self.act()
        await self.pass_by(days * DAY - at)

    async def act(self) -> None:
        """One thing, chosen at random among those that are possible."""
        act = self.dice.choice(
            [self.pay, self.pay, self.pay, self.authorise, self.capture, self.refund, self.refund_failing,
             self.dispute, self.decide, self.pay_out, self.end_payout, self.top_up]
        )  # fmt: skip
        await act()

    async def charge(self, method: str, **more: Any) -> Json:
        currency = self.dice.choice(["usd", "usd", "eur"])
        amount = self.dice.randrange(2000, 90_000)
        return await self.post(
            "/v1/payment_intents", amount=amount, currency=currency, confirm="true", payment_method=method,
            **NO_REDIRECT, **more,
        )  # fmt: skip

    async def pay(self) -> None:
        self.charged.append((await self.charge("pm_card_bypassPending"))["id"])

    async def authorise(self) -> None:
        self.authorised.append((await self.charge("pm_card_visa", capture_method="manual"))["id"])

    async def capture(self) -> None:
        if self.authorised:
            intent = self.authorised.pop(0)
            answer = await self.stripe.post(f"/v1/payment_intents/{intent}/capture")
            if answer.status_code == 200:  # else it is more than a week old
                self.charged.append(intent)

    async def refund(self) -> None:
        if self.charged:
            await self.post(
                "/v1/refunds", payment_intent=self.charged.pop(), amount=self.dice.randrange(1, 900)
            )

    async def refund_failing(self) -> None:
        paid = await self.charge("pm_card_refundFail")
        await self.post("/v1/refunds", payment_intent=paid["id"], amount=500)

    async def dispute(self) -> None:
        await self.charge("pm_card_createDispute")

    async def decide(self) -> None:
        for dispute in (await self.stripe.get("/v1/disputes", params={"limit": 100})).json()["data"]:
            if dispute["status"] == "needs_response":
                await self.control(f"disputes/{dispute['id']}/{self.dice.choice(['win', 'lose'])}")
                return

    async def pay_out(self) -> None:
        form = {"amount": self.dice.randrange(100, 900), "currency": "usd"}
        answer = await self.stripe.post("/v1/payouts", data=form)
        if answer.status_code == 200:  # else there is not enough
            self.payouts.append(answer.json()["id"])

    async def end_payout(self) -> None:
        if not self.payouts:
            return
        payout = self.payouts.pop(0)
        end = self.dice.choice(["arrive", "fail", "fail after it arrived", "cancel"])
        if end == "cancel" and (await self.stripe.post(f"/v1/payouts/{payout}/cancel")).status_code == 200:
            return
        if end != "fail":
            for _ in range(2):
                await self.stripe.post(f"/_control/payouts/{payout}/advance", json={})
        if end.startswith("fail"):
            await self.stripe.post(f"/_control/payouts/{payout}/fail", json={})

    async def top_up(self) -> None:
        await self.post("/v1/topups", amount=self.dice.randrange(100, 5000), currency="usd", description="x")

    async def end_everything(self) -> None:
        """Nothing is left under way."""
        while self.payouts:
            await self.end_payout()
        for dispute in (await self.stripe.get("/v1/disputes", params={"limit": 100})).json()["data"]:
            if dispute["status"] == "needs_response":
                await self.control(f"disputes/{dispute['id']}/lose")


async def open_books(url: str, stripe_url: str, cut_over: datetime) -> adoption.Derived:
    """As ``tallystick adopt`` does."""
    settings = load_settings(
        {}, require=(), database_url=url, stripe_secret_key="sk_test_x", stripe_api_base=stripe_url
    )
    engine, gateway = open_engine(settings), OperatorGateway(settings)
    try:
        await adoption.check(engine, cut_over)
        derived = await adoption.derive(gateway, cut_over, pause_s=0)
        await adoption.adopt(engine, derived, "the test")
    finally:
        await gateway.close()
        await engine.dispose()
    return derived


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3, 4))])
async def test_books_opened_in_the_middle_of_a_year_come_to_hold_what_stripe_holds(
    database_url: str, valkey: EmbeddedValkey, seed: int
) -> None:
    shops: list[Shop] = []
    cut_overs: list[datetime] = []

    async def a_year(sandbox: RunningSandbox, stripe: httpx.AsyncClient) -> None:
        sandbox.sandbox.clock.ahead = -385.0 * DAY
        shop = Shop(sandbox, stripe, seed)
        shops.append(shop)
        await shop.days(358, 60)
        await shop.days(7, 30)
        cut_overs.append(datetime.fromtimestamp(int(sandbox.sandbox.clock.now()), UTC))
        await shop.days(7, 30)
        await shop.days(13, 20)
        await open_books(database_url, sandbox.url, cut_overs[0])
        # the day of the last acts is not over yet
        sandbox.sandbox.clock.ahead = 0.0

    async with house(database_url, valkey, before=a_year, audit_lag_s=0) as running:
        shop = shops[0]
        for _ in range(15):
            await shop.act()
        await shop.end_everything()
        await _settled(running)
        await _proven(running, cut_overs[0])


async def test_books_opened_late_under_running_workers_come_to_hold_what_stripe_holds(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    """Webhooks were pointed at us first, and somebody thinks of the opening days later."""
    shops: list[Shop] = []
    cut_overs: list[datetime] = []

    async def months(sandbox: RunningSandbox, stripe: httpx.AsyncClient) -> None:
        sandbox.sandbox.clock.ahead = -40.0 * DAY
        shops.append(shop := Shop(sandbox, stripe, 7))
        await shop.days(20, 30)
        cut_overs.append(datetime.fromtimestamp(int(sandbox.sandbox.clock.now()), UTC))
        await shop.days(20, 40)
        sandbox.sandbox.clock.ahead = 0.0

    async with house(database_url, valkey, before=months, audit_lag_s=0) as running:
        shop = shops[0]
        for _ in range(15):
            await shop.act()
        await running.until_processed()
        acting = asyncio.create_task(_acts(shop, 10))
        derived = await _opened(database_url, running.sandbox.url, cut_overs[0])
        await acting
        await _acts(shop, 10)
        await shop.end_everything()
        await _settled(running)
        await _proven(running, cut_overs[0], since_it_alone=False)
        async with running.app.engine.connect() as connection:
            taken_back = text("SELECT count(*) FROM superseded_effects")
            assert (await connection.execute(taken_back)).scalar_one() > 0
        assert derived.opening.balances


async def _acts(shop: Shop, acts: int) -> None:
    for _ in range(acts):
        await shop.act()


async def _opened(url: str, stripe_url: str, cut_over: datetime) -> adoption.Derived:
    """Opened as soon as Stripe is calm enough for it."""
    for _ in range(20):
        try:
            return await open_books(url, stripe_url, cut_over)
        except UnsteadyBalanceError:
            continue
    raise AssertionError("Stripe's balance never came to rest")


async def _settled(running: House) -> None:
    """Wait until nothing is left in transit, and the balance is Stripe's."""
    deadline = time.monotonic() + 60
    while True:
        left = {name: held for name in IN_TRANSIT if (held := await running.ours(f"assets:stripe:{name}"))}
        ours, theirs = await running.ours("assets:stripe:balance"), await running.at_stripe()
        if not left and ours == theirs:
            return
        assert time.monotonic() < deadline, f"{left}; {ours} against {theirs}"
        await asyncio.sleep(0.1)


async def _proven(running: House, cut_over: datetime, *, since_it_alone: bool = True) -> None:
    async with running.app.engine.connect() as connection:
        assert all(total.balanced for total in totals(await trial_balance(connection)))
        query = text("SELECT min(occurred_at) FROM ledger_transactions")
        if since_it_alone:
            assert (await connection.execute(query)).scalar_one() >= cut_over
    movements: list[Json] = []
    after: dict[str, str] = {}
    while True:
        page = (await running.client.get("/v1/balance_transactions", params={"limit": 100, **after})).json()
        movements += page["data"]
        if not page["has_more"]:
            break
        after = {"starting_after": movements[-1]["id"]}
    fees: dict[str, int] = {}
    for txn in movements:
        if txn["type"] == "charge" and txn["created"] >= cut_over.timestamp():
            fees[txn["currency"]] = fees.get(txn["currency"], 0) + txn["fee"]
    assert await running.ours("expenses:stripe_fees") == fees
    again = await rebuild(running.app.engine)
    assert again.equal, again


MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10)
OPENED = adoption.Derived(Opening(MIDNIGHT, (OpeningBalance("assets:stripe:balance", "usd", -500),)), {})
LATER = adoption.Derived(replace(OPENED.opening, cut_over=MIDNIGHT + timedelta(days=1)), {})


async def ledger(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        query = text("SELECT effect_key FROM ledger_transactions ORDER BY id")
        return list((await connection.execute(query)).scalars())


async def post_one(connection: AsyncConnection, book: Book, key: str, at: datetime) -> None:
    legs = [debit("assets:bank", 5, "usd"), credit("equity:fx", 5, "usd")]
    made = post(key, "payout_paid", legs, description="", occurred_at=at, source="po_1")
    assert made is not None
    await book.settle_balances(connection, await book.post(connection, [made]))


async def test_books_are_opened_once(engine: AsyncEngine) -> None:
    """Also by many at once, with different cut-overs: one of them does it, whole."""
    asked = await asyncio.gather(
        *(adoption.adopt(engine, each, "Ada") for each in (OPENED, LATER) * 3), return_exceptions=True
    )
    assert [type(each) for each in asked if each is not None] == [InvalidStateError] * 5
    assert await ledger(engine) == ["opening"]
    async with engine.connect() as connection:
        stored = await stored_opening(connection)
        assert stored is not None
        made = opening_transaction(stored.opening)
        assert made is not None
        query = text("SELECT digest, occurred_at FROM ledger_transactions")
        assert (await connection.execute(query)).one() == (made.digest, stored.opening.cut_over)
        lists = text("SELECT name, through FROM stripe_listings ORDER BY name")
        assert dict((await connection.execute(lists)).all()) == {
            "balance_transactions:days": stored.opening.cut_over,
            "events": stored.opening.cut_over,
        }
    with pytest.raises(InvalidStateError, match=f"opened already, as of {stored.opening.cut_over:%Y-%m-%d}"):
        await adoption.check(engine, MIDNIGHT)


async def test_books_with_an_entry_by_hand_of_before_are_not_opened(engine: AsyncEngine) -> None:
    book, legs = Book(), (debit("assets:bank", 5, "usd"), credit("equity:opening", 5, "usd"))
    async with engine.begin() as connection:
        draft = Draft("Bank", "statement", legs, occurred_at=MIDNIGHT - timedelta(seconds=1))
        _, posted = await propose(connection, book, draft, Person("Ada"), {"*": None})
        await book.settle_balances(connection, posted)
    with pytest.raises(InvalidStateError, match="dated before the cut-over"):
        await adoption.check(engine, MIDNIGHT)
    with pytest.raises(InvalidStateError, match="dated before the cut-over"):
        await adoption.adopt(engine, OPENED, "Ada")
    assert len(await ledger(engine)) == 1


async def test_whoever_posts_without_a_cut_over_is_waited_for_and_then_superseded(
    engine: AsyncEngine,
) -> None:
    """Also where no stored input implies it any more."""
    book = Book()
    async with engine.begin() as connection:
        assert await book.cut_over(connection) is None
        opening = asyncio.create_task(adoption.adopt(engine, OPENED, "Ada"))
        done, _ = await asyncio.wait([opening], timeout=0.3)
        assert not done
        await post_one(connection, book, "payout:po_1:paid", datetime.now(UTC))
    await opening
    assert await ledger(engine) == ["payout:po_1:paid", "opening", "payout:po_1:paid:superseded"]
    async with engine.connect() as connection:
        held = {each.account: each.balance for each in await trial_balance(connection)}
    assert held["assets:bank"] == held["equity:fx"] == 0
    async with engine.begin() as connection:
        assert await book.cut_over(connection) == OPENED.opening.cut_over


async def test_a_process_that_was_there_before_hears_of_the_opening(engine: AsyncEngine) -> None:
    book = Book()
    async with engine.begin() as connection:
        assert await book.cut_over(connection) is None
    await adoption.adopt(engine, OPENED, "Ada")
    async with engine.begin() as connection:
        assert await book.cut_over(connection) == OPENED.opening.cut_over


async def test_operators_write_nothing_before_the_opening(engine: AsyncEngine) -> None:
    legs = (debit("assets:bank", 5, "usd"), credit("equity:opening", 5, "usd"))
    day, book = OPENED.opening.cut_over, Book()

    async def write(at: datetime) -> None:
        draft = Draft("Bank account", "statement", legs, occurred_at=at)
        async with engine.begin() as connection:
            await propose(connection, book, draft, Person("Ada"), {"*": None})

    await write(day)
    early = await _waiting(engine, book, legs, day - timedelta(seconds=1))
    await adoption.adopt(engine, OPENED, "Ada")
    await write(day)
    with pytest.raises(InvalidRequestError, match="The books begin at"):
        await write(day - timedelta(seconds=1))
    with pytest.raises(InvalidStateError, match="opened later"):
        async with engine.begin() as connection:
            await approve(connection, book, early, Person("Grace"))


async def _waiting(engine: AsyncEngine, book: Book, legs: tuple[LedgerEntry, ...], at: datetime) -> str:
    async with engine.begin() as connection:
        draft = Draft("Bank account", "statement", legs, occurred_at=at)
        return (await propose(connection, book, draft, Person("Ada"), {}))[0].id
