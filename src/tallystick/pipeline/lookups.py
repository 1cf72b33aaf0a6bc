"""What rules need from Stripe: asked outside any transaction, stored as facts beside the inbox.

The first answer to a question wins, so that a rebuild from the stored inputs comes to the same books and
needs no network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import database_is_away
from tallystick.errors import NotFoundError, StripeUnavailableError
from tallystick.events import applications, customer_balances, exchange, invoices, thin, ties
from tallystick.events.spec import Question
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.pace import Pace
from tallystick.stripe_gateway.answers import RefusedError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.fields import JsonObject

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 8
"""Questions asked at the same time."""

_AGAIN_AFTER_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between the times that Stripe is asked for what it says it does not know."""

_STORED: Final = text("""
SELECT question, answer FROM fetched_objects WHERE question = ANY(CAST(:questions AS text[]))
""")

_STORE: Final = text("""
INSERT INTO fetched_objects (question, answer) VALUES (:question, :answer)
ON CONFLICT (question) DO NOTHING
""")


async def stored_facts(
    connection: AsyncConnection, questions: Iterable[Question]
) -> dict[Question, JsonObject | None]:
    """The answers stored so far; None where Stripe knows no such object."""
    by_text = {str(question): question for question in questions}
    rows = await connection.execute(_STORED, {"questions": list(by_text)})
    return {
        by_text[row.question]: orjson.loads(row.answer) if row.answer is not None else None for row in rows
    }


Ask = Callable[[StripeGateway, str], Awaitable[Mapping[str, Any] | None]]


async def _charge(stripe: StripeGateway, charge: str) -> Mapping[str, Any] | None:
    return await stripe.retrieve_charge(charge)


async def _charge_refunds(stripe: StripeGateway, state: str) -> Mapping[str, Any] | None:
    charge, _, _amount_refunded = state.partition(":")
    return await stripe.list_refunds(charge)


async def _settled_charge(stripe: StripeGateway, charge: str) -> Mapping[str, Any] | None:
    found = await stripe.retrieve_settled_charge(charge)
    if found is not None and not found.get("balance_transaction"):
        raise NotFoundError(f"{charge} has no balance transaction yet.")  # no answer: it is asked again
    return found


async def _payment_intent(stripe: StripeGateway, state: str) -> Mapping[str, Any] | None:
    return await stripe.find_payment_intent(state.partition(":")[0])


async def _refund(stripe: StripeGateway, state: str) -> Mapping[str, Any] | None:
    return await stripe.find_refund(state.partition(":")[0])


async def _dispute(stripe: StripeGateway, state: str) -> Mapping[str, Any] | None:
    return await stripe.find_dispute(state.partition(":")[0])


async def _customer(stripe: StripeGateway, state: str) -> Mapping[str, Any] | None:
    return await stripe.find_customer(state.partition(":")[0])


async def _payment_method(stripe: StripeGateway, state: str) -> Mapping[str, Any] | None:
    return await stripe.find_payment_method(state.partition(":")[0])


async def _event(stripe: StripeGateway, event: str) -> Mapping[str, Any] | None:
    return await stripe.find_event(event)


async def _object(stripe: StripeGateway, named: str) -> Mapping[str, Any] | None:
    return await stripe.find_at(named.partition("@")[2])


async def _invoice_payments(stripe: StripeGateway, intent: str) -> Mapping[str, Any] | None:
    return await stripe.list_invoice_payments_of(intent)


async def _checkout_sessions(stripe: StripeGateway, intent: str) -> Mapping[str, Any] | None:
    return await stripe.list_checkout_sessions_of(intent)


async def _invoice(stripe: StripeGateway, invoice: str) -> Mapping[str, Any] | None:
    return await stripe.find_invoice(invoice)


async def _customer_balance(stripe: StripeGateway, state: str) -> Mapping[str, Any] | None:
    return await stripe.list_customer_balance_transactions(state.partition(":")[0])


_ASK: Final[dict[str, Ask]] = {
    "charge": _charge,
    "charge_refunds": _charge_refunds,
    "dispute": _dispute,
    exchange.SETTLED_CHARGE: _settled_charge,
    thin.SNAPSHOT: _event,
    thin.OBJECT: _object,
    applications.CHECKOUT_SESSIONS: _checkout_sessions,
    applications.INVOICE_PAYMENTS: _invoice_payments,
    customer_balances.CUSTOMER_BALANCE: _customer_balance,
    invoices.PAID_INVOICE: _invoice,
    ties.PAYMENT_INTENT: _payment_intent,
    ties.REFUND: _refund,
    ties.DISPUTE: _dispute,
    ties.CUSTOMER: _customer,
    ties.PAYMENT_METHOD: _payment_method,
}
"""How each kind of question is put to Stripe."""


class Lookups:
    """Puts questions to Stripe; one a process."""

    def __init__(
        self,
        engine: AsyncEngine,
        stripe: StripeGateway,
        failures: Failures,
        *,
        per_second: float = 0,
        again_after_s: Sequence[float] = _AGAIN_AFTER_S,
    ) -> None:
        """``per_second``: how many questions are asked in a second at most; 0 sets no limit."""
        self._engine = engine
        self._stripe = stripe
        self._failures = failures
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._pace = Pace(per_second)
        self._again_after_s = again_after_s

    def behind_s(self) -> float:
        """How long a question asked now would wait for its turn."""
        return self._pace.behind_s

    async def answer(self, questions: Mapping[Question, Iterable[str]]) -> set[Question]:
        """Ask Stripe and store the answers; returns the questions that are answered now.

        ``questions`` names the events that wait for each; what waits itself, as the settlement puller does,
        names none. While Stripe or the database is away nothing is counted: the sweep rings the events, and
        they ask again. Anything else that goes wrong, such as Stripe's refusal, is a failed attempt of those
        events, which ends in a dead letter like any other.
        That Stripe knows no such object counts as its answer only when it still says so half a minute later:
        a fact is for ever, and a read may come too soon after the write.
        """
        answered = await asyncio.gather(*(self._settle(*item) for item in questions.items()))
        return {question for question in answered if question is not None}

    async def _settle(self, question: Question, events: Iterable[str]) -> Question | None:
        try:
            await self._store(question, await self._ask(question))
        except Exception as error:
            log.warning("lookup_failed", question=str(question), error=f"{type(error).__name__}: {error}")
            if not isinstance(error, StripeUnavailableError) and not database_is_away(error):
                await self._count(events, error)
            return None
        return question

    async def _count(self, events: Iterable[str], error: Exception) -> None:
        try:
            await self._failures.count(dict.fromkeys(events, error))
        except Exception as another:  # the database went away meanwhile: the next refusal is counted
            log.warning("failure_not_counted", error=f"{type(another).__name__}: {another}")

    async def _ask(self, question: Question) -> Mapping[str, Any] | None:
        for pause_s in (0.0, *self._again_after_s):
            await asyncio.sleep(pause_s)
            await self._pace.spend(1)
            async with self._gate:
                found = await self._found(question)
            if found is not None:
                return found
        return None

    async def _found(self, question: Question) -> Mapping[str, Any] | None:
        """What Stripe answers; None where it does not know what is asked about, be it whose list it is."""
        try:
            return await _ASK[question.kind](self._stripe, question.id)
        except RefusedError as error:
            if error.stripe_code == "resource_missing":
                return None
            raise

    async def _store(self, question: Question, answer: Mapping[str, Any] | None) -> None:
        body = orjson.dumps(answer) if answer is not None else None
        async with self._engine.begin() as connection:
            await connection.execute(_STORE, {"question": str(question), "answer": body})
