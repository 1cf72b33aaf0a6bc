"""``tallystick ledger rebuild`` on a real database."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.integration.cli.test_commands import answered, tallystick
from tests.road import Road


@pytest.fixture
async def charge(engine: AsyncEngine) -> str:
    """The id of a charge of ours that is in the books."""
    story = StripeStory()
    made = story.succeed(story.intent(2500, "eur", ours="pay_" + "0" * 26))
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    return str(made["id"])


def test_check_says_equal_and_prints_both_digests(charge: str, database_url: str) -> None:
    found = answered("ledger", "rebuild", "--check", DATABASE_URL=database_url)
    assert found["equal"]
    assert found["ledger_digest"] == found["rebuilt_digest"]
    assert (found["ledger_transactions"], found["inputs"]["balance_transaction"]) == (3, 1)
    said = tallystick("ledger", "rebuild", "--check", DATABASE_URL=database_url)
    assert said.returncode == 0
    assert f"ledger:  {found['ledger_digest']}" in said.stdout
    assert "is what its inputs say" in said.stdout


async def test_check_lists_differences_and_exits_with_1(
    engine: AsyncEngine, charge: str, database_url: str
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("UPDATE ledger_entries SET amount = amount + 1 WHERE direction = 1"))
    ended = await asyncio.to_thread(
        tallystick, "ledger", "rebuild", "--check", "--json", DATABASE_URL=database_url
    )
    found = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert not found["equal"]
    assert found["counts"]["changed"] == 3
    assert f"charge:{charge}:captured" in {each["effect_key"] for each in found["differences"]}
    ended = await asyncio.to_thread(tallystick, "ledger", "rebuild", "--check", DATABASE_URL=database_url)
    assert ended.returncode == 1
    assert f"charge:{charge}:captured" in ended.stdout
    assert "DIFFERS" in ended.stdout


def test_it_must_be_told_what_to_do(database_url: str) -> None:
    ended = tallystick("ledger", "rebuild", DATABASE_URL=database_url)
    assert ended.returncode == 2
    assert "--check" in ended.stderr


def test_explain_shows_the_inputs_of_an_effect(charge: str, database_url: str) -> None:
    key = f"charge:{charge}:captured"
    found = answered("ledger", "rebuild", "--explain", key, DATABASE_URL=database_url)
    assert found["standing"]["effect_key"] == key
    kinds = [each["type"] or each["kind"] for each in found["implied_by"]]
    assert sorted(kinds) == [
        "balance_transaction", "charge.succeeded", "charge.updated", "payment_intent.succeeded",
    ]  # fmt: skip
    assert all(each["agrees"] for each in found["implied_by"])
    said = tallystick("ledger", "rebuild", "--explain", key, DATABASE_URL=database_url).stdout
    assert "debit  assets:stripe:clearing" in said
    assert all(each["input"] in said for each in found["implied_by"])


def test_what_nothing_implies_is_not_found(charge: str, database_url: str) -> None:
    ended = tallystick("ledger", "rebuild", "--explain", "charge:ch_1:captured", DATABASE_URL=database_url)
    assert ended.returncode == 1
    assert "no stored input implies it" in ended.stderr
