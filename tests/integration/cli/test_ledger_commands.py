"""``tallystick ledger``: accounts, statements, transactions and trial balances, printed and as JSON."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.integration.cli.test_commands import Ended, answered, tallystick
from tests.road import Road

from tallystick.api import ledger_bodies as bodies
from tallystick.cli.output import out

OURS = "pay_" + "7".zfill(26)


@pytest.fixture
async def charge(engine: AsyncEngine) -> Json:
    """A payment in yen, which has no minor unit, with its fee, and a payout in dollars, listed with it."""
    story = StripeStory()
    charge = story.succeed(story.intent(250_000, "jpy", ours=OURS, customer="cus_1"))
    story.payout(1_234_567, "usd", ["paid"])
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    async with engine.begin() as connection:
        await connection.execute(
            text("""
                WITH listed AS (
                  INSERT INTO payout_listings (payout, status, transactions) VALUES ('po_1', 'listed', 1))
                INSERT INTO payout_transactions
                SELECT 'po_1', id FROM balance_transactions WHERE source = :charge
            """),
            {"charge": charge["id"]},
        )
    return charge


async def ledger(database_url: str, *arguments: str) -> Ended:
    return await asyncio.to_thread(tallystick, "ledger", *arguments, DATABASE_URL=database_url)


async def told(database_url: str, *arguments: str) -> Json:
    found: Json = await asyncio.to_thread(answered, "ledger", *arguments, DATABASE_URL=database_url)
    return found


async def test_what_is_printed_fits_and_counts_in_major_units(
    database_url: str, charge: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "width", 80)
    payment = ("transactions", "--payment", OURS)
    for arguments, words in (
        (("accounts",), "250000"),
        (("statement", "assets:bank", "USD"), "12,345.67"),
        (payment, "liabilities:unapplied"),
        (("show", f"charge:{charge['id']}:captured"), "charge_captured"),
        (("trial-balance", "--from", "2020-01-01"), "12,345.67"),
        (("trial-balance", "--at", "2099-01-01"), "12,345.67"),
        (("payout", "po_1"), "250000"),
    ):
        ended = await ledger(database_url, *arguments)
        assert ended.returncode == 0, ended.stderr
        assert words.replace(",", "") in ended.stdout.replace(",", ""), ended.stdout
        assert max(len(line) for line in ended.stdout.splitlines()) <= 80, ended.stdout


async def test_the_same_as_the_api_answers(database_url: str, charge: Json) -> None:
    accounts = await told(database_url, "accounts", "--currency", "JPY")
    assert bodies.LedgerAccountPage.model_validate(accounts).data[0].currency == "jpy"
    unapplied = await told(database_url, "statement", "liabilities:unapplied", "jpy", "--limit", "1")
    assert [line["balance"] for line in unapplied["data"]] == [250_000]
    cursor = ("--cursor", unapplied["next_cursor"])
    rest = await told(database_url, "statement", "liabilities:unapplied", "jpy", *cursor)
    assert ([line["balance"] for line in rest["data"]], rest["has_more"]) == ([0], False)
    listed = await told(database_url, "transactions", "--customer", "cus_1", "--kind", "sale")
    [sale] = listed["data"]
    assert sale["payment"] == OURS
    assert await told(database_url, "show", str(sale["id"])) == sale
    payout = await told(database_url, "payout", "po_1")
    assert [line["payment"] for line in payout["data"]] == [OURS]
    period = await told(database_url, "trial-balance", "--from", "2020-01-01", "--to", "2099-01-01")
    assert period["totals"][0]["currency"] == "jpy"
    assert all(total["balanced"] for total in period["totals"])


async def test_more_is_said_to_be_there_beside_the_output(database_url: str, charge: Json) -> None:
    first = await ledger(database_url, "transactions", "--limit", "1")
    assert "--cursor" in first.stderr
    assert "--cursor" not in first.stdout
    cursor = first.stderr.split()[-1]
    second = await ledger(database_url, "transactions", "--limit", "1", "--cursor", cursor)
    assert second.stdout not in (first.stdout, "")


async def test_what_cannot_be_shown_is_said_in_words(database_url: str, charge: Json) -> None:
    for arguments, words in (
        (("statement", "assets:nowhere", "usd"), "assets:nowhere"),
        (("show", "refund:re_none"), "refund:re_none"),
        (
            ("statement", "assets:bank", "usd", "--from", "2026-02-01", "--to", "2026-01-01"),
            "before it begins",
        ),
        (("trial-balance", "--at", "1d", "--from", "2d"), "at a time"),
        (("transactions", "--cursor", "x"), "cursor"),
    ):
        ended = await ledger(database_url, *arguments)
        assert ended.returncode in (1, 2)
        assert words in " ".join(ended.stderr.replace("│", " ").split()), ended.stderr
