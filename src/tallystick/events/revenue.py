"""On which accounts a sale and its refunds are posted, by the map of accounts that the user gives. Pure.

The first answer wins, as with any question: what tells of a sale first decides, and the decision is a fact.
So neither another map nor metadata that is edited later moves a sale that stands. Where there is no map, no
question is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tallystick.events.spec import Facts, Question
from tallystick.ledger.chart import REVENUE_PAYMENTS, REVENUE_REFUNDS
from tallystick.ledger.revenue_map import SaleLine

REVENUE: Final = "revenue"
"""A question: on which accounts is the sale with this effect key posted?"""
MAPPED: Final = Question("account_maps", "")
"""Among the facts where there is a map at all."""
REFUNDS_MAPPED: Final = Question("account_maps", "refunds")
"""Among the facts where some map says where refunds go."""
DECIDED_HERE: Final = frozenset({REVENUE, MAPPED.kind})
"""Kinds of questions that nobody has to wait for."""

Shares = Mapping[str, int]
"""Accounts with their weights in a sale."""
UNMAPPED: Final[Shares] = {REVENUE_PAYMENTS: 1}
REFUNDS_UNMAPPED: Final[Shares] = {REVENUE_REFUNDS: 1}


def revenue_shares(
    sale_key: str,
    facts: Facts,
    *,
    at: datetime,
    metadata: Mapping[str, str],
    lines: Sequence[SaleLine] = (),
) -> Shares | Question:
    """The accounts of a sale, or the question, which carries what this event tells of it."""
    if MAPPED not in facts:
        return UNMAPPED
    return _decided(Question(REVENUE, sale_key, _told(at, metadata, lines)), facts)


def refund_shares(
    refund_key: str,
    sale_key: str,
    facts: Facts,
    *,
    at: datetime,
    metadata: Mapping[str, str],
    lines: Sequence[SaleLine] = (),
) -> Shares | Question:
    """The accounts of a refund, or the question. All but its key is of the sale, which is decided first."""
    if REFUNDS_MAPPED not in facts:
        return REFUNDS_UNMAPPED
    told = {**_told(at, metadata, lines), "sale": sale_key}
    return _decided(Question(REVENUE, refund_key, told), facts)


def _told(at: datetime, metadata: Mapping[str, str], lines: Sequence[SaleLine]) -> dict[str, Any]:
    return {
        "at": at.isoformat(),
        "metadata": dict(metadata),
        "lines": [[line.product, line.price, line.weight] for line in lines],
    }


def _decided(question: Question, facts: Facts) -> Shares | Question:
    answer = facts.get(question)
    if answer is None:
        return question
    shares: dict[str, int] = dict(answer["shares"])
    return shares


def as_told(told: Mapping[str, Any]) -> tuple[datetime, dict[str, str], tuple[SaleLine, ...]]:
    """What a question carries: when, the metadata, the lines."""
    lines = tuple(SaleLine(product, price, weight) for product, price, weight in told["lines"])
    return datetime.fromisoformat(told["at"]), told["metadata"], lines


def sale_of(question: Question) -> str | None:
    """The key of the sale, of a question about a refund; None of one about a sale."""
    return question.told.get("sale") if question.told is not None else None
