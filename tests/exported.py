"""A ledger to export: a year of payments, refunds, disputes and payouts, and what somebody might write."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.ledger.book import Book
from tallystick.ledger.entries import LedgerEntry, LedgerTransaction, credit, debit
from tests.builders import START, StripeStory
from tests.road import Road

CURRENCIES: Final = ("usd", "eur", "jpy", "kwd")
_TIMES: Final = ("created", "arrival_date", "available_on")
_BATCH: Final = 400

HOSTILE: Final = (
    'Says "quoted" and \\backslash\\',
    "Two\nlines\r\nand a\ttab",
    "Emoji 🧾💶 and ünïcödé, ﷽",
    "; a comment | date:2020-01-01, [2020-01-01] tag:value",
    "(code) * ! @ {} = 5 USD",
    "=HYPERLINK(0)",
    "2020-01-01 open Assets:Nowhere",
    '"',
    "\\",
    "",
    "\u2028line separator\u0085next line\x0bvertical",
    "long " * 2000,
)
"""Descriptions that some format would take for something else."""

NAMES: Final = (
    "revenue:plans:pro_2026",
    "revenue:_hidden",
    "revenue:x_hidden",
    "revenue:xu_hidden",
    "revenue:2026:q1",
    "revenue:a__b",
    "revenue:trailing_",
    "assets:suspense:stripe",
    "suspense:stripe",
    "equity:opening",
)


async def fill(engine: AsyncEngine, payments: int) -> None:
    """Post what became of so many payments, over about a year, and a transaction for each odd name."""
    story = _stretched(_told(payments), 365 * 86_400)
    road = Road(engine, story)
    for start in range(0, len(story.events), _BATCH):
        await road.deliver(story.events[start : start + _BATCH])
    await road.finish()
    await post(engine, *odd_transactions())
    first = datetime.fromtimestamp(START, UTC)
    for day in (200, 100):  # heard of a second time, with an earlier date
        await post(engine, entry("dated:again", first + timedelta(days=day), 12_345))


async def post(engine: AsyncEngine, *transactions: LedgerTransaction) -> None:
    """Post and settle."""
    book = Book()
    async with engine.begin() as connection:
        posted = await book.post(connection, transactions)
        assert not posted.conflicts
        await book.settle_balances(connection, posted)


def odd_transactions() -> list[LedgerTransaction]:
    """As an operator might enter them: odd descriptions, odd accounts, the largest amounts."""
    first = datetime.fromtimestamp(START, UTC)
    made = [
        entry(
            f"entry:{n}:{text[:10]}",
            first + timedelta(days=3 * n),
            10 + n,
            description=text,
            source=text[:40],
        )
        for n, text in enumerate(HOSTILE)
    ]
    made += [
        entry(f"named:{n}", first + timedelta(days=30 * n), 700 + n, account=name)
        for n, name in enumerate(NAMES)
    ]
    huge = 4_000_000_000_000_000_000
    made += [entry(f"huge:{code}", first, huge, currency=code) for code in ("usd", "jpy", "kwd", "xyz")]
    legs = (
        debit("assets:stripe:balance", 5237, "usd"),
        debit("expenses:stripe_fees", 187, "usd"),
        credit("equity:fx", 5424, "usd"),
        debit("equity:fx", 5000, "eur"),
        credit("assets:stripe:clearing", 5000, "eur"),
    )
    made.append(LedgerTransaction("fx:1", "fx", "Converted", first + timedelta(days=41), legs, "txn_fx"))
    return made


def entry(
    key: str,
    at: datetime,
    amount: int,
    *,
    description: str = "An entry",
    account: str = "revenue:payments",
    currency: str = "usd",
    source: str = "ada",
) -> LedgerTransaction:
    """A ledger transaction of two legs."""
    legs: tuple[LedgerEntry, ...] = (
        debit("assets:bank", amount, currency),
        credit(account, amount, currency),
    )
    return LedgerTransaction(key, "entry", description, at, legs, source)


def _told(payments: int) -> StripeStory:
    """Some refunded, some disputed, some paid out; in four currencies, one settled in another."""
    story, chance = StripeStory(), random.Random(payments)
    for n in range(payments):
        currency = chance.choice(CURRENCIES)
        intent = story.intent(chance.randrange(100, 90_000) * 10, currency, ours=f"pay_{n:026}")
        charge = story.succeed(intent)
        story.settle(charge)
        fate = chance.random()
        if fate < 0.15:
            story.refund(
                charge,
                charge["amount"] // chance.choice([1, 3]),
                status=chance.choice(["succeeded", "failed"]),
            )
        elif fate < 0.2:
            story.dispute(charge, ["needs_response", chance.choice(["won", "lost"])])
        elif fate < 0.25:
            story.payout(chance.randrange(1000, 50_000), "usd", chance.choice([["paid"], ["paid", "failed"]]))
    return story


def _stretched(story: StripeStory, span: int) -> StripeStory:
    """The same, over ``span`` seconds."""
    latest = max(event["created"] for event in story.events)
    factor = span / (latest - START)

    def stretch(node: Any, key: str = "") -> Any:
        if isinstance(node, dict):
            return {name: stretch(value, name) for name, value in node.items()}
        if isinstance(node, list):
            return [stretch(each) for each in node]
        return START + round((node - START) * factor) if key in _TIMES and isinstance(node, int) else node

    story.events = stretch(story.events)
    story.charges, story.intents = stretch(story.charges), stretch(story.intents)
    story.refunds, story.disputes = stretch(story.refunds), stretch(story.disputes)
    story.balance_transactions = stretch(story.balance_transactions)
    return story
