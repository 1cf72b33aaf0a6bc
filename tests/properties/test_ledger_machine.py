"""Anything may happen at Stripe, and be heard in any way: in the end our books are its books.

A state machine drives the sandbox as customers, banks and operators would, hands its events on out of order,
again, in batches of any size, with crashes between, and looks at the books on the way and at the end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.conftest import Databases
from tests.road import Road, incoming

from tallystick.db.session import open_engine
from tallystick.ledger.seals import horizon, seal
from tallystick.ledger.trial_balances import totals, trial_balance
from tallystick.ledger.verification import verify
from tallystick.pipeline.operations.audit import Order
from tallystick.pipeline.operations.replay import replay_events
from tallystick.pipeline.rebuild.check import check
from tallystick.pipeline.views.selection import Selection
from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox
from tallystick.settings import load_settings
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.keyring import Credentials, Keyring

T = TypeVar("T")

# Time does not pass by itself: the machine lets it.
STILL = SandboxConfig(settlement_delay=600, refund_delay=600, seed=11)
# Euros reach the balance in dollars.
HOLD = {
    "settlement_currencies": ["usd", "jpy"],
    "bank_debit_delay": 600,
    "dispute_delay": 600,
    "payout_delay": 600,
}
CARDS = ("visa", "bypassPending", "pendingRefund", "refundFail", "createDispute", "createDisputeInquiry")
AMOUNTS = st.integers(min_value=100, max_value=90_000)
REFUNDED = st.sampled_from([0, 2, 10])
"""Tenths of what was received."""
TENTHS = st.integers(min_value=1, max_value=10)
PLACES = st.integers(min_value=0, max_value=10_000)
PAYMENTS = st.fixed_dictionaries(
    {
        "amount": AMOUNTS,
        "currency": st.sampled_from(["usd", "eur", "jpy"]),
        "card": st.sampled_from(CARDS),
        "manual": st.booleans(),
        "ours": st.booleans(),
    }
)
CRASHES = st.none() | st.integers(min_value=1, max_value=25)


class CrashError(BaseException):
    """The end of a worker: no handler of the code takes it for an error."""


class World:
    """What all runs share: a sandbox, a gateway to it, a client for others on the same account."""

    def __init__(self, databases: Databases, box: RunningSandbox, client: httpx.AsyncClient) -> None:
        self.databases = databases
        self.box = box
        self.client = client
        keys = load_settings({}, require=(), stripe_secret_key="sk_test_x", stripe_api_base=box.url)
        self.gateway = StripeGateway(keys, Keyring(Credentials.of(keys)))

    @staticmethod
    @asynccontextmanager
    async def opened(databases: Databases) -> AsyncIterator[World]:
        async with (
            running_sandbox(STILL) as box,
            httpx.AsyncClient(base_url=box.url, auth=("sk_test_x", ""), timeout=30) as client,
        ):
            world = World(databases, box, client)
            try:
                yield world
            finally:
                await world.gateway.close()

    async def post(self, path: str, **form: Any) -> Json | None:
        """As another service on the account would; None where Stripe refuses."""
        answer = await self.client.post(path, data=form)
        assert answer.status_code < 500, answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    async def control(self, path: str, **body: Any) -> Json | None:
        answer = await self.client.post(f"/_control/{path}", json=body)
        assert answer.status_code < 500, answer.text
        return dict(answer.json()) if answer.status_code == 200 else None

    async def all(self, path: str, **params: Any) -> list[Json]:
        """Every object of a list, the latest first."""
        rows: list[Json] = []
        more = True
        while more:
            after = {"starting_after": rows[-1]["id"]} if rows else {}
            page = (await self.client.get(path, params={"limit": 100, **params, **after})).json()
            rows += page["data"]
            more = page["has_more"]
        return rows


class Installation:
    """Our side of one run: a database and a worker, which may die."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url
        self.engine = open_engine(load_settings({}, require=(), database_url=url))
        self.road = self._road()
        self.crashes = 0

    def _road(self) -> Road:
        return Road(self.engine, StripeStory(), self.world.gateway, retry_base_s=1e-6)  # type: ignore[arg-type]

    async def until_crash(self, work: Awaitable[Any], statements: int | None) -> None:
        """Do it; before so many statements and commits the worker dies, and another takes its place."""
        with _dying(self.engine, statements):
            try:
                await work
            except CrashError:
                self.crashes += 1
                self.road = self._road()

    async def hear(self, events: list[Json], crash: int | None = None) -> None:
        """Receive events, and process them as one batch."""
        await asyncio.gather(*(self.road.inbox.receive(incoming(each)) for each in events))
        await self.until_crash(self.road.process([each["id"] for each in events]), crash)

    async def finish(self) -> None:
        """Settle and process until nothing is left to do."""
        for _ in range(3):
            await self.road.finish()

    async def close(self) -> None:
        await self.engine.dispose()
        await self.world.databases.drop(self.url)


@contextmanager
def _dying(engine: AsyncEngine, statements: int | None) -> Iterator[None]:
    left = statements

    def step(*_: Any) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                raise CrashError

    hooks = ("before_cursor_execute", "commit")
    for hook in hooks:
        event.listen(engine.sync_engine, hook, step)
    try:
        yield
    finally:
        for hook in hooks:
            event.remove(engine.sync_engine, hook, step)


class LedgerMachine(RuleBasedStateMachine):
    """Steps at Stripe, steps of hearing of it, and what must hold."""

    world: ClassVar[World]
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.payments: list[str] = []
        self.payouts: list[str] = []
        self.world.box.sandbox.reset()
        self.ours = self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _begin(self) -> Installation:
        assert await self.world.control("settings", **HOLD)
        return Installation(self.world, await self.world.databases.create())

    # at Stripe

    @initialize(payments=st.lists(st.tuples(PAYMENTS, TENTHS, REFUNDED), min_size=6, max_size=10))
    def open_the_shop(self, payments: list[tuple[dict[str, Any], int, int]]) -> None:
        for payment, captured, _ in payments:
            self.pay(**payment)
            self.capture(len(self.payments) - 1, captured)
        self.time_passes(funds=True)
        for place, (_, _, refunded) in enumerate(payments):
            if refunded:
                self.refund(place, refunded)

    @rule(payment=PAYMENTS)
    def pay_again(self, payment: dict[str, Any]) -> None:
        self.pay(**payment)

    def pay(self, amount: int, currency: str, card: str, manual: bool, ours: bool) -> None:
        form: dict[str, Any] = {
            "amount": amount,
            "currency": currency,
            "confirm": "true",
            "payment_method": f"pm_card_{card}",
            "capture_method": "manual" if manual else "automatic_async",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        }
        if ours:
            form["metadata[tallystick_payment]"] = f"pay_{len(self.payments):026d}"
        if made := self.run(self.world.post("/v1/payment_intents", **form)):
            self.payments.append(made["id"])

    @precondition(lambda self: self.payments)
    @rule(place=PLACES, tenths=TENTHS)
    def capture(self, place: int, tenths: int) -> None:
        self.run(self._capture(self._payment(place), tenths))

    async def _capture(self, payment: str, tenths: int) -> None:
        held = (await self.world.client.get(f"/v1/payment_intents/{payment}")).json()["amount_capturable"]
        if held:
            part = max(1, held * tenths // 10)
            await self.world.post(f"/v1/payment_intents/{payment}/capture", amount_to_capture=part)

    @precondition(lambda self: self.payments)
    @rule(place=PLACES)
    def cancel(self, place: int) -> None:
        self.run(self.world.post(f"/v1/payment_intents/{self._payment(place)}/cancel"))

    @precondition(lambda self: self.payments)
    @rule(place=PLACES, tenths=TENTHS)
    def refund(self, place: int, tenths: int) -> None:
        self.run(self._refund(self._payment(place), tenths))

    async def _refund(self, payment: str, tenths: int) -> None:
        received = (await self.world.client.get(f"/v1/payment_intents/{payment}")).json()["amount_received"]
        if received:
            part = max(1, received * tenths // 10)
            await self.world.post("/v1/refunds", payment_intent=payment, amount=part)

    @rule(place=PLACES, how=st.sampled_from(["win", "lose", "escalate"]))
    def decide_a_dispute(self, place: int, how: str) -> None:
        self.run(self._decide(place, how))

    async def _decide(self, place: int, how: str) -> None:
        disputes = await self.world.all("/v1/disputes")
        if disputes:
            await self.world.control(f"disputes/{disputes[place % len(disputes)]['id']}/{how}")

    @rule(tenths=TENTHS, currency=st.sampled_from(["usd", "eur", "jpy"]))
    def pay_out(self, tenths: int, currency: str) -> None:
        self.run(self._pay_out(tenths, currency))

    async def _pay_out(self, tenths: int, currency: str) -> None:
        balance = (await self.world.client.get("/v1/balance")).json()
        there = sum(fund["amount"] for fund in balance["available"] if fund["currency"] == currency)
        made = await self.world.post("/v1/payouts", amount=there * tenths // 10, currency=currency)
        if made is not None:
            self.payouts.append(made["id"])

    @precondition(lambda self: self.payouts)
    @rule(place=PLACES, how=st.sampled_from(["advance", "advance", "advance", "fail"]))
    def move_a_payout(self, place: int, how: str) -> None:
        self.run(self.world.control(f"payouts/{self.payouts[place % len(self.payouts)]}/{how}"))

    @rule(funds=st.booleans())
    def time_passes(self, funds: bool) -> None:
        """Stripe books what is under way."""
        self.run(self.world.control("settle", funds=funds))

    # heard here

    @rule(places=st.lists(PLACES, min_size=1, max_size=12), crash=CRASHES)
    def hear_some(self, places: list[int], crash: int | None) -> None:
        """Any of the events so far, in any order, some again."""
        self.run(self._hear_some(places, crash))

    async def _hear_some(self, places: list[int], crash: int | None) -> None:
        told = await self.world.all("/v1/events")
        if told:
            chosen = {each["id"]: each for each in (told[place % len(told)] for place in places)}
            await self.ours.hear(list(chosen.values()), crash)

    @rule(crash=CRASHES)
    def settle(self, crash: int | None) -> None:
        self.run(self.ours.until_crash(self.ours.road.settlement.pull(), crash))

    @rule()
    def replay_everything(self) -> None:
        self.run(
            replay_events(self.ours.engine, Selection(), Order("ada", "to see"), per_second=0.0, wait_s=0.0)
        )

    @rule()
    def seal(self) -> None:
        self.run(self._seal())

    async def _seal(self) -> None:
        await seal(self.ours.engine, await horizon(self.ours.engine))

    # what holds

    @invariant()
    def books_balance(self) -> None:
        assert all(total.balanced for total in totals(self.run(self._balances())))

    async def _balances(self) -> list[Any]:
        async with self.ours.engine.connect() as connection:
            return await trial_balance(connection)

    @rule()
    def a_rebuild_says_the_same(self) -> None:
        found = self.run(check(self.ours.engine))
        assert found.equal, found.comparison

    def teardown(self) -> None:
        try:
            self.run(self._all_is_heard())
        finally:
            self.run(self.ours.close())

    async def _all_is_heard(self) -> None:
        """Stripe books all that is under way, and every event is heard."""
        await self.world.control("settle", funds=True)
        told = await self.world.all("/v1/events")
        random.Random(len(told)).shuffle(told)
        for start in range(0, len(told), 7):
            await self.ours.hear(told[start : start + 7])
        await self.ours.finish()
        await self._seal()
        await self._our_books_are_stripes()
        await self._refunds_stay_below_captures()
        verdict = await verify(self.ours.engine)
        assert verdict.sound, verdict.findings
        found = await check(self.ours.engine)
        assert found.equal, found.comparison
        assert found.comparison.ledger_digest == found.comparison.rebuilt_digest
        assert (found.read.open, found.read.unanswered) == (0, 0)

    async def _our_books_are_stripes(self) -> None:
        balance = (await self.world.client.get("/v1/balance")).json()
        theirs: dict[str, int] = {}
        for fund in balance["pending"] + balance["available"]:
            theirs[fund["currency"]] = theirs.get(fund["currency"], 0) + fund["amount"]
        lines = await self._balances()
        ours = {line.currency: line.balance for line in lines if line.account == "assets:stripe:balance"}
        assert _some(ours) == _some(theirs)
        assert [line for line in lines if line.account == "assets:stripe:clearing" and line.balance] == []
        async with self.ours.engine.connect() as connection:
            dead = await connection.execute(text("SELECT id FROM webhook_events WHERE status = 'dead'"))
            assert list(dead.scalars()) == []

    async def _refunds_stay_below_captures(self) -> None:
        query = text("""
            SELECT t.effect_key, max(e.amount) AS amount FROM ledger_transactions t
              JOIN ledger_entries e ON e.transaction_id = t.id GROUP BY t.effect_key""")
        async with self.ours.engine.connect() as connection:
            amounts = {row.effect_key: row.amount for row in await connection.execute(query)}
        refunded: dict[str, int] = {}
        for refund in await self.world.all("/v1/refunds"):
            key = f"refund:{refund['id']}"
            if key in amounts and f"{key}:reversed" not in amounts:
                refunded[refund["charge"]] = refunded.get(refund["charge"], 0) + amounts[key]
        for charge, amount in refunded.items():
            assert amount <= amounts[f"charge:{charge}:captured"]

    def _payment(self, place: int) -> str:
        return self.payments[place % len(self.payments)]


def _some(amounts: dict[str, int]) -> dict[str, int]:
    return {currency: amount for currency, amount in amounts.items() if amount}


@pytest.mark.parametrize(("examples", "steps"), [(5, 20), pytest.param(150, 60, marks=pytest.mark.long)])
def test_whatever_happens_our_books_are_stripes(databases: Databases, examples: int, steps: int) -> None:
    with asyncio.Runner() as runner:
        opened = World.opened(databases)
        world = runner.run(opened.__aenter__())

        class Machine(LedgerMachine):
            pass

        Machine.world, Machine.runner = world, runner
        try:
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    # the steps that failed are printed; to find fewer of them takes longer than to read them
                    phases=(Phase.explicit, Phase.reuse, Phase.generate),
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
