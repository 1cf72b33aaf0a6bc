"""What rules need from Stripe: asked outside any transaction, stored as facts beside the inbox.

The first answer to a question wins, so that a rebuild from the stored inputs comes to the same books and
needs no network.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.events.spec import Question
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import JsonObject

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 8
"""Questions asked at the same time: Stripe allows 100 calls a second in all, 25 in test mode."""

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


_ASK: Final[dict[str, Ask]] = {"charge": _charge, "charge_refunds": _charge_refunds}
"""How each kind of question is put to Stripe."""


class Lookups:
    """Puts questions to Stripe; one a process."""

    def __init__(self, engine: AsyncEngine, stripe: StripeGateway, *, unknown_after: int = 8) -> None:
        self._engine = engine
        self._stripe = stripe
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._unknown_after = unknown_after
        self._unknown: Counter[Question] = Counter()

    async def answer(self, questions: Iterable[Question]) -> set[Question]:
        """Ask Stripe and store the answers; returns the questions that are answered now.

        A question that fails is logged and left: the sweep rings its events, and they ask again. That Stripe
        knows no such object counts only when it has said so ``unknown_after`` times: a fact is for ever, and
        a read right after the write, or a key of another account, is not.
        """
        answered = await asyncio.gather(*(self._ask(question) for question in questions))
        return {question for question in answered if question is not None}

    async def _ask(self, question: Question) -> Question | None:
        async with self._gate:
            try:
                found = await _ASK[question.kind](self._stripe, question.id)
                if found is None and not self._is_unknown(question):
                    return None
                body = orjson.dumps(found) if found is not None else None
                async with self._engine.begin() as connection:
                    await connection.execute(_STORE, {"question": str(question), "answer": body})
            except Exception as error:  # Stripe or the database is away, or refuses: it is asked again
                log.warning("lookup_failed", question=str(question), error=f"{type(error).__name__}: {error}")
                return None
            self._unknown.pop(question, None)
            return question

    def _is_unknown(self, question: Question) -> bool:
        self._unknown[question] += 1
        return self._unknown[question] >= self._unknown_after
