"""Refunds in every order of asking, losing, refusing, hearing and completing never exceed the payment."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import RefundExceedsAvailableError, StripeRefusedError
from tallystick.idempotency import Claim
from tallystick.payments.refunding import RefundOrder, refund
from tallystick.payments.reports import refund_report
from tallystick.payments.store import apply_refunds
from tallystick.pipeline.completer import Completer
from tallystick.settings import load_settings
from tallystick.stripe_gateway.answers import RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import Refund

CAPTURED = 1000
PAYMENT = "pay_00000000000000000000000001"
NOW = 1_790_000_000
SETTINGS = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LAST_CALL = ("answers", "lost", "unreached", "refuses", "never sent")
"""What becomes of a call: answered; done and unheard; not done and unheard; refused; known not to be sent."""

Json = dict[str, Any]


@dataclass
class StripeOfOnePayment:
    """Refunds of one captured payment, under idempotency keys; refuses what exceeds it, as Stripe does."""

    refunds: dict[str, Json] = field(default_factory=dict)
    next_call: str = "answers"
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def create_refund(self, params: Mapping[str, Any], key: str) -> StripeAnswer:
        fate, self.next_call = self.next_call, "answers"
        if fate == "never sent":
            raise UnavailableError("refused to connect", outcome_unknown=False)
        if fate == "unreached":
            raise UnavailableError("cut", outcome_unknown=True)
        if key not in self.refunds:
            if fate == "refuses" or self.gone + params["amount"] > CAPTURED:
                raise RefusedError("no", stripe_code="charge_already_refunded", intent=None)
            self.refunds[key] = self._made(params)
        if fate == "lost":
            raise UnavailableError("cut", outcome_unknown=True)
        return StripeAnswer(self.refunds[key], NOW)

    async def retrieve_refund(self, refund_id: str) -> StripeAnswer:
        return StripeAnswer(next(each for each in self.refunds.values() if each["id"] == refund_id), NOW)

    @property
    def gone(self) -> int:
        return sum(each["amount"] for each in self.refunds.values() if each["status"] != "failed")

    def _made(self, params: Mapping[str, Any]) -> Json:
        return {
            "id": f"re_{next(self._numbers):06d}",
            "object": "refund",
            "status": "succeeded",
            "amount": params["amount"],
            "currency": "usd",
            "created": NOW,
            "payment_intent": params["payment_intent"],
            "charge": "ch_1",
            "metadata": dict(params["metadata"]),
        }


async def prepare(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        for table in ("stripe_calls", "refunds", "payments"):
            await connection.execute(text(f"DELETE FROM {table}"))
        await connection.execute(
            text("""
                INSERT INTO payments (id, origin, status, amount, currency, livemode, amount_captured,
                                      stripe_payment_intent, created_at)
                VALUES (:id, 'api', 'succeeded', :amount, 'usd', false, :amount, 'pi_1', now())"""),
            {"id": PAYMENT, "amount": CAPTURED},
        )


async def held(engine: AsyncEngine) -> int:
    """What our rows say is given back or set aside."""
    query = text("SELECT coalesce(sum(amount), 0) FROM refunds WHERE status NOT IN ('failed', 'canceled')")
    async with engine.connect() as connection:
        return int((await connection.execute(query)).scalar_one())


async def undecided(engine: AsyncEngine) -> list[tuple[str, int]]:
    """Refunds whose outcome is open: id and amount."""
    query = text("SELECT id, amount FROM refunds WHERE status = 'unknown' ORDER BY id")
    async with engine.connect() as connection:
        return [(row.id, row.amount) for row in await connection.execute(query)]


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, CAPTURED), st.sampled_from(LAST_CALL)),
    st.tuples(st.just("retry"), st.integers(0, 5), st.sampled_from(LAST_CALL)),
    st.tuples(st.just("webhook"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("fail"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("complete"), st.just(0), st.sampled_from(LAST_CALL)),
)


@dataclass
class World:
    """The payment's refunds here and at Stripe, and what can happen to them."""

    engine: AsyncEngine
    stripe: StripeOfOnePayment = field(default_factory=StripeOfOnePayment)

    async def step(self, what: str, which: int, fate: str) -> None:
        self.stripe.next_call = fate or "answers"
        if what == "ask":
            await self._refund(RefundOrder(amount=which), Claim())
        elif what == "retry" and (open_ := await undecided(self.engine)):
            refund_id, amount = open_[which % len(open_)]
            await self._refund(RefundOrder(amount=amount), Claim(resource_id=refund_id))
        elif what in ("webhook", "fail") and (made := list(self.stripe.refunds.values())):
            refund_at_stripe = made[which % len(made)]
            if what == "fail":
                refund_at_stripe["status"] = "failed"
            await self._hear(refund_at_stripe)
        elif what == "complete":
            await self.complete()

    async def complete(self) -> None:
        """Until nothing is due; what was put off is due at once."""
        completer = Completer(
            self.engine,
            cast("StripeGateway", self.stripe),
            load_settings({}, require=(), completion_age_s=0),
        )
        async with self.engine.begin() as connection:
            await connection.execute(text("UPDATE stripe_calls SET due_at = now()"))
        await completer.complete_due()

    async def _refund(self, order: RefundOrder, claim: Claim) -> None:
        stripe = cast("StripeGateway", self.stripe)
        before = await held(self.engine)
        try:
            await refund(self.engine, stripe, PAYMENT, order, claim)
        except RefundExceedsAvailableError:
            assert order.amount is not None
            assert before + order.amount > CAPTURED
        except (StripeRefusedError, UnavailableError):
            return  # what it left behind is looked at after the step

    async def _hear(self, refund_at_stripe: Json) -> None:
        report = refund_report(
            Refund.read(dict(refund_at_stripe)), PAYMENT, at=NOW, source=f"evt_{refund_at_stripe['status']}"
        )
        async with self.engine.begin() as connection:
            await apply_refunds(connection, [report])


@given(steps=st.lists(STEPS, min_size=1, max_size=12))
@SETTINGS
async def test_refunds_never_exceed_the_payment(
    engine: AsyncEngine, steps: list[tuple[str, int, str]]
) -> None:
    await prepare(engine)
    world = World(engine)
    for what, which, fate in steps:
        await world.step(what, which, fate)
        assert world.stripe.gone <= await held(engine) <= CAPTURED, "set aside before it is given back"
    world.stripe.next_call = "answers"
    while await undecided(engine):
        await world.complete()
    for refund_at_stripe in world.stripe.refunds.values():
        await world._hear(refund_at_stripe)
    assert world.stripe.gone == await held(engine), "in the end both sides agree"
