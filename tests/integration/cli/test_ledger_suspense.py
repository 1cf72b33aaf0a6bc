"""``tallystick ledger suspense``: what no rule knew stays listed until a journal entry clears it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.integration.cli.test_commands import answered, tallystick
from tests.road import Road

from tallystick.db.session import snapshot
from tallystick.ledger.suspense import open_items, suspense_balances


@pytest.fixture
async def unknown(engine: AsyncEngine) -> list[Json]:
    """Three balance transactions of a type that has no rule: +10.00, +5.00 and −3.00 USD."""
    story = StripeStory()
    made = []
    for amount in (1000, 500, -300):
        source = {"object": "a_thing_of_tomorrow", "id": f"tot_{amount}", "currency": "usd"}
        made.append(story.balance_transaction("a_type_of_tomorrow", source, amount, 0, []))
    await Road(engine, story).settlement.pull()
    return made


def _clear(database_url: str, description: str, debit: str, credit: str) -> None:
    arguments = ["--description", description, "--debit", debit, "--credit", credit, "--allow-new-accounts"]
    env = {"DATABASE_URL": database_url, "TALLYSTICK_APPROVAL_ABOVE": "*=none"}
    ended = tallystick("journal", "create", *arguments, "--reason", "asked Stripe", "--by", "ada", **env)
    assert ended.returncode == 0, ended.stderr


def _listed(database_url: str) -> tuple[dict[str, int], dict[str, int]]:
    """What is left of each, by source, and the balances; the two always agree."""
    found: dict[str, Any] = answered("ledger", "suspense", DATABASE_URL=database_url)
    left = {item["source"]: item["left"] for item in found["data"]}
    assert sum(left.values()) == sum(found["balances"].values())
    return left, found["balances"]


def test_each_is_listed_until_an_entry_that_names_it_clears_it(
    unknown: list[Json], database_url: str
) -> None:
    first, second, third = (txn["id"] for txn in unknown)
    assert _listed(database_url) == ({first: -1000, second: -500, third: 300}, {"usd": -1200})
    shown = tallystick("ledger", "suspense", DATABASE_URL=database_url)
    assert first in shown.stdout
    assert "balance_transaction_a_type_of_tomorrow" in shown.stdout

    bonus = ("suspense:stripe 1200 usd", "revenue:other 1200 usd")
    _clear(database_url, f"Bonus of Stripe's: {first}, and a part of {second}.", *bonus)
    assert _listed(database_url) == ({second: -300, third: 300}, {})
    _clear(database_url, f"Taken back: {third}", "revenue:other 300 usd", "suspense:stripe 300 usd")
    assert _listed(database_url)[0] == {second: -300}
    _clear(database_url, f"The rest, {second}", "suspense:stripe 300 usd", "revenue:other 300 usd")
    assert _listed(database_url) == ({}, {})
    assert "Suspense: none." in tallystick("ledger", "suspense", DATABASE_URL=database_url).stdout


def test_an_entry_that_names_none_is_listed_itself(unknown: list[Json], database_url: str) -> None:
    _clear(database_url, "A guess", "suspense:stripe 200 usd", "revenue:other 200 usd")
    left, balances = _listed(database_url)
    assert sorted(left.values()) == [-1000, -500, 200, 300]
    assert balances == {"usd": -1000}


async def test_an_alert_asks_for_the_balances(engine: AsyncEngine, unknown: list[Json]) -> None:
    async with snapshot(engine) as connection:
        assert await suspense_balances(connection) == {"usd": -1200}
        assert [item.left for item in await open_items(connection)] == [-1000, -500, 300]


async def test_an_empty_ledger_has_none(engine: AsyncEngine) -> None:
    async with snapshot(engine) as connection:
        assert await suspense_balances(connection) == {}
        assert await open_items(connection) == []
