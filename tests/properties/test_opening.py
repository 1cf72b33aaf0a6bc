"""Books that are opened in the middle of a story hold what Stripe holds, whatever was under way just then.

By the pure rules alone: each effect stands once, under its key, whichever source tells of it first. So no
order matters exactly when all sources of a key make the same legs of it, and that is what is shown here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import START, StripeStory
from tests.properties.test_order import PAYMENTS, PAYOUTS, tell
from tests.road import StoryStripe

from tallystick.events.balance_transactions import balance_transaction_effects
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Facts, Question
from tallystick.ledger.entries import LedgerTransaction
from tallystick.ledger.opening import (
    Opening,
    OpeningBalance,
    opening_transaction,
    since_opening,
)
from tallystick.pipeline.lookups import _ASK
from tallystick.stripe_gateway.client import StripeGateway

IN_TRANSIT = [
    "assets:stripe:clearing",
    "assets:stripe:disputed",
    "assets:stripe:payouts_in_transit",
    "assets:stripe:topups_in_transit",
]
Balances = Counter[tuple[str, str]]
"""By account and currency, positive on the debit side."""


@given(
    payments=st.lists(PAYMENTS, min_size=1, max_size=4),
    payouts=PAYOUTS,
    version=st.sampled_from(["2026-10-28.endive", "2023-10-16"]),
    settlement=st.sampled_from([None, "usd"]),
)
@settings(max_examples=60)
def test_a_cut_over_at_any_moment_leaves_nothing_in_transit_and_counts_nothing_twice(
    payments: list[dict[str, Any]],
    payouts: list[tuple[int, list[str]]],
    version: str,
    settlement: str | None,
) -> None:
    story = tell(payments, version, payouts, settlement)
    last = max(event["created"] for event in story.events)
    told = list(_told(story))
    before = _balances(_books(told, None))
    for second in range(START, last + 2):  # a case of its own may last for one
        _holds(story, told, before, datetime.fromtimestamp(second, UTC))


def _holds(story: StripeStory, told: list[LedgerTransaction], before: Balances, cut_over: datetime) -> None:
    opened = _books(told, cut_over)
    opening = opening_transaction(_position(story, cut_over))
    if opening is not None:
        opened.append(opening)
    after = _balances(opened)
    for key, amount in before.items():
        if key[0] == "assets:stripe:balance" or (key[0] in IN_TRANSIT and not amount):
            assert after[key] == amount, key
    assert all(item.occurred_at >= cut_over for item in opened)
    # what came in and went out since, and nothing that did before
    assert after["expenses:stripe_fees", "usd"] == sum(
        txn["fee"]
        for txn in story.balance_transactions
        if txn["type"] == "charge"
        and txn["currency"] == "usd"
        and datetime.fromtimestamp(txn["created"], UTC) >= cut_over
    )
    for currency in ("usd", "eur", "jpy"):
        assert sum(amount for (_, each), amount in after.items() if each == currency) == 0


@given(payments=st.lists(PAYMENTS, min_size=1, max_size=3), payouts=PAYOUTS)
@settings(max_examples=50)
def test_a_cut_over_before_everything_changes_nothing_and_one_after_leaves_the_position(
    payments: list[dict[str, Any]], payouts: list[tuple[int, list[str]]]
) -> None:
    story = tell(payments, "2026-10-28.endive", payouts, None)
    told = list(_told(story))
    early, late = datetime.fromtimestamp(START, UTC), datetime.fromtimestamp(START + 10_000_000, UTC)
    assert {item.effect_key: item.digest for item in _books(told, early)} == {
        item.effect_key: item.digest for item in _books(told, None)
    }
    assert _books(told, late) == []


def _told(story: StripeStory) -> Iterator[LedgerTransaction]:
    """All that any source of the story says, with what Stripe answers to questions."""
    stripe = cast("StripeGateway", StoryStripe(story))
    facts: dict[Question, Any] = {}
    for body in story.events:
        spec = EVENTS.get(body["type"])
        if spec is None:
            continue
        yield from _answered(partial(spec.rule, Event.read(body)), stripe, facts)
    for txn in story.balance_transactions:
        yield from _answered(partial(balance_transaction_effects, txn), stripe, facts)


def _answered(
    rule: Callable[[Facts], Effects], stripe: StripeGateway, facts: dict[Question, Any]
) -> tuple[LedgerTransaction, ...]:
    """What a rule says when all that it asks is answered."""
    while missing := set((effects := rule(facts)).waiting_for) - facts.keys():
        for question in missing:
            facts[question] = asyncio.run(_ask(stripe, question))
    return effects.transactions


async def _ask(stripe: StripeGateway, question: Question) -> Any:
    return await _ASK[question.kind](stripe, question.id)


def _books(told: list[LedgerTransaction], cut_over: datetime | None) -> list[LedgerTransaction]:
    """What is posted: each key once. Two sources that disagree on its legs would be a dead letter."""
    standing: dict[str, LedgerTransaction] = {}
    for item in told:
        kept = since_opening(item, cut_over)
        if kept is not None:
            known = standing.setdefault(kept.effect_key, kept)
            assert known.digest == kept.digest, (known, kept)
    return list(standing.values())


def _balances(books: list[LedgerTransaction]) -> Balances:
    found: Balances = Counter()
    for item in books:
        for leg in item.entries:
            found[leg.account, leg.currency] += leg.direction * leg.amount
    return found


def _position(story: StripeStory, cut_over: datetime) -> Opening:
    sums: Counter[str] = Counter()
    for txn in story.balance_transactions:
        if datetime.fromtimestamp(txn["created"], UTC) < cut_over:
            sums[txn["currency"]] += txn["net"]
    balances = (OpeningBalance("assets:stripe:balance", code, net) for code, net in sums.items() if net)
    return Opening(cut_over, tuple(balances))
