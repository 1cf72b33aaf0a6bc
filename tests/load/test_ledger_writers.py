"""Many writers on the same accounts: no deadlock reaches anybody, every balance is the sum of its entries."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from tallystick.db.session import open_engine
from tallystick.ledger.book import Book
from tallystick.ledger.entries import LedgerTransaction, credit, debit, post
from tallystick.ledger.seals import horizon, seal
from tallystick.ledger.verification import verify
from tallystick.settings import load_settings

WRITERS = 32
ACCOUNTS = [f"assets:shop_{number}" for number in range(12)]
CURRENCIES = ("usd", "eur", "jpy")

_TOTALS = text("""
SELECT (SELECT count(*) FROM ledger_transactions) AS transactions,
       (SELECT count(DISTINCT effect_key) FROM ledger_transactions) AS keys,
       (SELECT sum(direction * amount) FROM ledger_entries) AS sum
""")


def transfer(chance: random.Random, key: str) -> LedgerTransaction:
    """Between some of the accounts, in no order, several legs in up to two currencies."""
    legs = []
    for currency in chance.sample(CURRENCIES, chance.randint(1, 2)):
        for _ in range(chance.randint(1, 3)):
            one, other = chance.sample(ACCOUNTS, 2)
            amount = chance.randint(1, 10_000)
            legs += [debit(one, amount, currency), credit(other, amount, currency)]
    chance.shuffle(legs)
    made = post(key, "transfer", legs, description=key, occurred_at=datetime.now(UTC), source="test")
    assert made is not None
    return made


async def _write_for(database_url: str, seconds: float) -> None:
    engine = open_engine(load_settings({}, require=(), database_url=database_url, database_pool_size=WRITERS))
    deadline = time.monotonic() + seconds
    sent: set[str] = set()

    async def writer(number: int) -> None:
        """Half of its keys are also written by its neighbour: the second one finds them standing."""
        chance, book, turn = random.Random(number), Book(), 0
        while time.monotonic() < deadline:
            turn += 1
            batch = []
            for position in range(chance.randint(1, 20)):
                shared = position % 2
                key = f"{number // 2 if shared else number}:{shared}:{turn}:{position}"
                batch.append(transfer(random.Random(key), key))
            chance.shuffle(batch)
            async with engine.begin() as connection:
                posted = await book.post(connection, batch)
                assert not posted.conflicts
                await book.settle_balances(connection, posted)
            sent.update(item.effect_key for item in batch)

    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    async with engine.connect() as connection:
        totals = (await connection.execute(_TOTALS)).one()
    assert (totals.transactions, totals.keys, totals.sum) == (len(sent), len(sent), 0)
    assert await seal(engine, await horizon(engine)) == len(sent)
    verdict = await verify(engine)  # also that every balance is the sum of its entries
    assert verdict.sound, verdict.findings[:5]
    await engine.dispose()


async def test_32_writers_on_overlapping_accounts(database_url: str) -> None:
    await _write_for(database_url, 4)


@pytest.mark.long
async def test_32_writers_on_overlapping_accounts_for_a_minute(database_url: str) -> None:
    await _write_for(database_url, 60)
