"""The book: posts in bulk, once a key, and keeps the balances equal to the entries under concurrency."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.errors import UnbalancedError
from tallystick.ledger.book import Book, Posted
from tallystick.ledger.entries import LedgerTransaction, credit, debit
from tallystick.ledger.history import transactions_of_payments
from tallystick.ledger.trial_balances import trial_balance

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CLEARING, REVENUE = "assets:stripe:clearing", "revenue:payments"


def movement(
    key: str,
    amount: int = 100,
    *,
    currency: str = "usd",
    accounts: tuple[str, str] = (CLEARING, REVENUE),
    at: datetime = NOON,
    source: str = "evt_1",
) -> LedgerTransaction:
    legs = (debit(accounts[0], amount, currency), credit(accounts[1], amount, currency))
    return LedgerTransaction(key, "sale", "A sale", at, legs, source, payment_id="pay_1")


async def post(engine: AsyncEngine, book: Book, transactions: Sequence[LedgerTransaction]) -> Posted:
    """Post and settle in a transaction of its own."""
    async with engine.begin() as connection:
        posted = await book.post(connection, transactions)
        await book.settle_balances(connection, posted)
    return posted


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def balances(engine: AsyncEngine) -> dict[tuple[str, str], tuple[int, int]]:
    async with engine.connect() as connection:
        lines = await trial_balance(connection)
    return {(line.account, line.currency): (line.debits, line.credits) for line in lines}


async def entry_sums(engine: AsyncEngine) -> dict[tuple[str, str], tuple[int, int]]:
    """What the balances must be, added up from the entries."""
    query = text("""
        SELECT a.name, a.currency,
               CAST(coalesce(sum(e.amount) FILTER (WHERE e.direction = 1), 0) AS bigint) AS debits,
               CAST(coalesce(sum(e.amount) FILTER (WHERE e.direction = -1), 0) AS bigint) AS credits
          FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id GROUP BY 1, 2""")
    async with engine.connect() as connection:
        rows = await connection.execute(query)
        return {(row.name, row.currency): (row.debits, row.credits) for row in rows}


async def test_hundreds_go_in_at_once_with_all_that_they_say(engine: AsyncEngine) -> None:
    posted = await post(engine, Book(), [movement(f"key:{n:03}", 10 + n) for n in range(300)])
    assert posted.new == {f"key:{n:03}" for n in range(300)}
    assert not posted.conflicts
    total = sum(10 + n for n in range(300))
    assert await balances(engine) == {(CLEARING, "usd"): (total, 0), (REVENUE, "usd"): (0, total)}
    async with engine.connect() as connection:
        stored = await transactions_of_payments(connection, ["pay_1"])
    assert [item.effect_key for item in stored] == sorted(posted.new)
    first = stored[0]
    assert (first.kind, first.description, first.source) == ("sale", "A sale", "evt_1")
    assert first.occurred_at == NOON
    legs = [(leg.account, leg.direction, leg.amount, leg.currency) for leg in first.entries]
    assert legs == [(CLEARING, "debit", 10, "usd"), (REVENUE, "credit", 10, "usd")]


async def test_a_repeated_key_does_nothing(engine: AsyncEngine) -> None:
    book = Book()
    await post(engine, book, [movement("one"), movement("two")])
    before = await balances(engine)
    posted = await post(engine, book, [movement("two"), movement("one"), movement("one")])
    assert (posted.new, posted.conflicts, dict(posted.sums)) == (frozenset(), frozenset(), {})
    assert await balances(engine) == before
    assert await count(engine, "ledger_transactions") == 2
    assert await count(engine, "effect_dates") == 0


@pytest.mark.parametrize(
    "other",
    [
        movement("one", 101),
        movement("one", currency="eur"),
        movement("one", accounts=(REVENUE, CLEARING)),
        movement("one", accounts=(CLEARING, "liabilities:unapplied")),
    ],
    ids=["amount", "currency", "sides", "account"],
)
async def test_a_key_with_other_legs_is_a_conflict(engine: AsyncEngine, other: LedgerTransaction) -> None:
    book = Book()
    await post(engine, book, [movement("one")])
    before = await balances(engine)
    posted = await post(engine, book, [other])
    assert (sorted(posted.new), [key for key, _ in posted.conflicts]) == ([], ["one"])
    assert await balances(engine) == before == await entry_sums(engine)
    assert await count(engine, "ledger_entries") == 2
    assert await count(engine, "effect_dates") == 0


async def test_of_two_that_come_under_one_key_the_first_stands_and_the_other_is_a_conflict(
    engine: AsyncEngine,
) -> None:
    posted = await post(engine, Book(), [movement("one"), movement("two"), movement("one", 101)])
    assert posted.conflicts == {("one", movement("one", 101).digest)}
    assert sorted(posted.new) == ["one", "two"]
    assert await balances(engine) == await entry_sums(engine) == {
        (CLEARING, "usd"): (200, 0),
        (REVENUE, "usd"): (0, 200),
    }  # fmt: skip


async def occurred_at(engine: AsyncEngine) -> datetime:
    async with engine.connect() as connection:
        (item,) = await transactions_of_payments(connection, ["pay_1"])
    return item.occurred_at


async def test_the_earliest_time_that_was_heard_counts(engine: AsyncEngine) -> None:
    book, hour = Book(), timedelta(hours=1)
    await post(engine, book, [movement("one", at=NOON)])
    await post(engine, book, [movement("one", at=NOON + hour, source="evt_later")])
    assert await count(engine, "effect_dates") == 0
    assert await occurred_at(engine) == NOON

    await post(engine, book, [movement("one", at=NOON - hour, source="evt_earlier")])
    assert await occurred_at(engine) == NOON - hour
    await post(engine, book, [movement("one", at=NOON - hour / 2, source="evt_between")])
    await post(engine, book, [movement("one", at=NOON - hour, source="evt_same")])
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT occurred_at, source FROM effect_dates"))
        assert [tuple(row) for row in rows] == [(NOON - hour, "evt_earlier")]
    assert await occurred_at(engine) == NOON - hour


async def test_of_equal_ones_in_a_batch_the_earliest_is_posted(engine: AsyncEngine) -> None:
    times = [NOON, NOON - timedelta(hours=2), NOON - timedelta(hours=1)]
    await post(engine, Book(), [movement("one", at=at) for at in times])
    assert await occurred_at(engine) == min(times)
    assert await count(engine, "effect_dates") == 0


async def test_what_was_rolled_back_is_not_remembered(engine: AsyncEngine) -> None:
    """The account ids of the lost transaction are gone with it: the next post makes the accounts anew."""
    book = Book()

    async def post_and_fail(connection: AsyncConnection) -> None:
        posted = await book.post(connection, [movement("one")])
        assert posted.new == {"one"}
        await book.settle_balances(connection, posted)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with engine.begin() as connection:
            await post_and_fail(connection)
    assert await count(engine, "ledger_accounts") == 0

    posted = await post(engine, book, [movement("one")])
    assert posted.new == {"one"}
    assert await balances(engine) == await entry_sums(engine)


async def test_what_does_not_balance_cannot_even_be_made() -> None:
    with pytest.raises(UnbalancedError, match=r"\+1 usd"):
        LedgerTransaction(
            "one", "sale", "A sale", NOON, (debit(CLEARING, 101, "usd"), credit(REVENUE, 100, "usd")), "evt_1"
        )


ACCOUNTS = [CLEARING, REVENUE, "liabilities:unapplied", "assets:stripe:balance", "expenses:stripe_fees"]
CURRENCIES = ["usd", "eur", "jpy"]


def random_posts(seed: int) -> list[list[list[LedgerTransaction]]]:
    """For 8 writers 50 batches each of up to 6 transactions; a third of the keys come to several writers."""
    chance = random.Random(seed)
    shared = [_random(chance, f"shared:{n}") for n in range(150)]
    return [
        [
            [
                chance.choice(shared) if chance.random() < 1 / 3 else _random(chance, f"{writer}:{batch}:{n}")
                for n in range(chance.randint(1, 6))
            ]
            for batch in range(50)
        ]
        for writer in range(8)
    ]


def _random(chance: random.Random, key: str) -> LedgerTransaction:
    first, second = chance.sample(ACCOUNTS, 2)
    currency = chance.choice(CURRENCIES)
    return movement(key, chance.randint(1, 10_000), currency=currency, accounts=(first, second))


async def test_concurrent_writers_keep_balances_equal_to_entries(engine: AsyncEngine) -> None:
    """8 writers with books of their own, 50 posts each, on the same few accounts and partly the same keys."""
    work = random_posts(seed=20261124)

    async def write(batches: list[list[LedgerTransaction]]) -> Counter[str]:
        book, new = Book(), Counter[str]()
        for number, batch in enumerate(batches):
            at = NOON - timedelta(seconds=number)  # dates of shared keys contend too
            posted = await post(engine, book, [_dated(item, at) for item in batch])
            assert not posted.conflicts
            new.update(posted.new)
        return new

    written: Counter[str] = sum(await asyncio.gather(*(write(batches) for batches in work)), Counter())
    everything = {item.effect_key: item for batches in work for batch in batches for item in batch}
    assert written == Counter(everything.keys()), "each key was posted by exactly one writer"

    expected: dict[Any, tuple[int, int]] = {}
    for item in everything.values():
        for leg in item.entries:
            debits, credits_ = expected.get((leg.account, leg.currency), (0, 0))
            side = (leg.amount, 0) if leg.direction == 1 else (0, leg.amount)
            expected[leg.account, leg.currency] = (debits + side[0], credits_ + side[1])
    assert await balances(engine) == await entry_sums(engine) == expected


def _dated(item: LedgerTransaction, at: datetime) -> LedgerTransaction:
    return LedgerTransaction(
        item.effect_key, item.kind, item.description, at, item.entries, item.source, item.payment_id
    )
