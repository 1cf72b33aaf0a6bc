"""How old what stands on an account is, first in, first out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import snapshot
from tallystick.ledger.ageing import Aged, aged
from tallystick.ledger.book import Book
from tallystick.ledger.entries import credit, debit, post
from tallystick.ledger.seals import horizon, seal

ACCOUNT = "liabilities:unapplied"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


async def moved(engine: AsyncEngine, *movements: tuple[int, int], currency: str = "usd") -> None:
    """Each a number of days before now, and what came to the account."""
    book = Book()
    made = [
        post(
            f"moved:{currency}:{days}:{amount}",
            "moved",
            (credit(ACCOUNT, amount, currency), debit("assets:bank", amount, currency)),
            description="Moved",
            occurred_at=NOW - timedelta(days=days),
            source="test",
        )
        for days, amount in movements
    ]
    async with engine.begin() as connection:
        posted = await book.post(connection, [each for each in made if each is not None])
        await book.settle_balances(connection, posted)


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_what_left_is_what_came_first(engine: AsyncEngine, *, is_sealed: bool) -> None:
    await moved(engine, (200, 1000), (50, 400), (20, 300), (3, 20), (0, 1))
    await moved(engine, (40, -1250), (2, -5))
    await moved(engine, (100, 70), (10, -100), currency="eur")
    await moved(engine, (100, 70), (10, -70), currency="jpy")
    if is_sealed:
        await seal(engine, await horizon(engine))
    async with snapshot(engine) as connection:
        found = await aged(connection, ACCOUNT, NOW)
    # of 1721 in dollars 1255 are gone; in euros more left than came, ten days ago; yen are even
    assert found == [
        Aged("eur", -30, (0, 0, -30, 0, 0)),
        Aged("usd", 466, (1, 20, 300, 145, 0)),
    ]


async def test_an_account_without_entries_has_no_age(engine: AsyncEngine) -> None:
    async with snapshot(engine) as connection:
        assert await aged(connection, ACCOUNT, NOW) == []
