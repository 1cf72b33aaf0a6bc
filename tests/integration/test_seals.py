"""Seals: nothing is missed, and whatever a superuser does to the stored ledger is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import open_engine
from tallystick.ledger import seals
from tallystick.ledger.balances import balance_at
from tallystick.ledger.book import Book
from tallystick.ledger.entries import LedgerTransaction, credit, debit, post
from tallystick.ledger.seals import horizon, list_seals, seal, seal_of
from tallystick.ledger.verification import Fault, verify
from tallystick.settings import load_settings

START = datetime(2026, 1, 1, tzinfo=UTC)


def sale(number: int, *, at: datetime | None = None, amount: int = 100) -> LedgerTransaction:
    made = post(
        f"sale:{number:04d}",
        "sale",
        (debit("assets:bank", amount, "usd"), credit("revenue:payments", amount, "usd")),
        description=f"Sale {number}",
        occurred_at=at or START + timedelta(minutes=7 * number),
        source="test",
    )
    assert made is not None
    return made


async def posted(engine: AsyncEngine, transactions: Iterable[LedgerTransaction]) -> None:
    book = Book()
    async with engine.begin() as connection:
        await book.settle_balances(connection, await book.post(connection, transactions))


async def sealed(engine: AsyncEngine) -> int:
    return await seal(engine, await horizon(engine))


@pytest.fixture
async def ledger(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> AsyncEngine:
    """A hundred sales in blocks of thirty, and one that is not sealed."""
    monkeypatch.setattr(seals, "BLOCK", 30)
    await posted(engine, [sale(number) for number in range(100)])
    assert await sealed(engine) == 100
    await posted(engine, [sale(200)])
    return engine


async def test_each_transaction_is_found_in_its_block(ledger: AsyncEngine) -> None:
    async with ledger.connect() as connection:
        for block in await list_seals(connection):
            for number in (block.last_id - block.transactions + 1, block.last_id):
                assert await seal_of(connection, number) == block
        assert await seal_of(connection, 101) is None, "not sealed yet"


async def test_in_an_empty_ledger_nothing_is_sealed(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await seal_of(connection, 1) is None


async def tamper(engine: AsyncEngine, *statements: str) -> None:
    """As a superuser can: past every trigger."""
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            assert (await connection.execute(text(statement))).rowcount != 0, statement


async def test_a_ledger_that_nobody_touched_is_sound(ledger: AsyncEngine) -> None:
    verdict = await verify(ledger)
    assert verdict.sound
    assert (verdict.blocks, verdict.entries) == (4, 202)
    async with ledger.connect() as connection:
        listed = await list_seals(connection)
    assert [each.transactions for each in listed] == [10, 30, 30, 30]
    assert verdict.head == listed[0].hash
    assert await sealed(ledger) == 1
    assert (await verify(ledger)).head != verdict.head
    assert await sealed(ledger) == 0, "there is nothing new"


ID = "(SELECT id FROM ledger_transactions WHERE effect_key = 'sale:0040')"
OTHER = "(SELECT id FROM ledger_transactions WHERE effect_key = 'sale:0041')"
TAMPERINGS = {
    "amount": (
        [f"UPDATE ledger_entries SET amount = 101 WHERE transaction_id = {ID}"], Fault.CHANGED, "0040",
    ),
    "description": (
        [f"UPDATE ledger_transactions SET description = 'x' WHERE id = {ID}"], Fault.CHANGED, "0040",
    ),
    "time": (
        [f"UPDATE ledger_transactions SET occurred_at = now() WHERE id = {ID}"], Fault.CHANGED, "0040",
    ),
    "null": (
        [f"UPDATE ledger_transactions SET payment_id = '' WHERE id = {ID}"], Fault.CHANGED, "0040",
    ),
    "account": (
        [f"""UPDATE ledger_entries SET account_id = (SELECT id FROM ledger_accounts
              WHERE name = 'revenue:payments') WHERE transaction_id = {ID}"""], Fault.CHANGED, "0040",
    ),
    "leg removed": (
        [f"DELETE FROM ledger_entries WHERE position = 1 AND transaction_id = {ID}"], Fault.CHANGED, "0040",
    ),
    "removed": (
        [f"DELETE FROM ledger_entries WHERE transaction_id = {ID}",
         "DELETE FROM ledger_transactions WHERE effect_key = 'sale:0040'"], Fault.REMOVED, "not there",
    ),
    "reordered": (
        [f"UPDATE ledger_transactions SET effect_key = 'swap' WHERE id = {ID}",
         f"UPDATE ledger_transactions SET effect_key = 'sale:0040' WHERE id = {OTHER}",
         "UPDATE ledger_transactions SET effect_key = 'sale:0041' WHERE effect_key = 'swap'"],
        Fault.CHANGED, "0041",
    ),
    "renamed account": (
        ["UPDATE ledger_accounts SET name = 'assets:elsewhere' WHERE name = 'assets:bank'"],
        Fault.CHANGED, "assets:elsewhere in usd",
    ),
    "retyped account": (
        ["UPDATE ledger_accounts SET type = 'liability' WHERE name = 'assets:bank'"],
        Fault.CHANGED, "assets:bank in usd",
    ),
    "removed account": (
        ["DELETE FROM ledger_accounts WHERE name = 'assets:bank'"], Fault.REMOVED, "account",
    ),
    "seal's account leaves": (
        ["UPDATE ledger_seals SET account_leaves = '' WHERE id = 1"], Fault.LINK, "not that of its leaves",
    ),
    "balance": (
        ["UPDATE account_balances SET debits = debits + 1 WHERE debits > 0"], Fault.BALANCE, "debits 10101",
    ),
    "sum": (
        ["UPDATE ledger_sums SET debits = debits + 1 WHERE debits > 0"], Fault.BALANCE, "debits 10100",
    ),
    "seal removed": (["DELETE FROM ledger_seals WHERE id = 2"], Fault.LINK, "does not follow"),
    "seal's leaves": (
        ["UPDATE ledger_seals SET leaves = set_byte(leaves, 20, 255 - get_byte(leaves, 20)) WHERE id = 2"],
        Fault.LINK, "not that of its leaves",
    ),
    "seal's hash": (
        ["UPDATE ledger_seals SET hash = sha256(hash) WHERE id = 2"], Fault.LINK, "hash it follows",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_what_was_done_to_the_ledger_is_named(ledger: AsyncEngine, name: str) -> None:
    statements, fault, words = TAMPERINGS[name]
    await tamper(ledger, *statements)
    verdict = await verify(ledger)
    assert any(each.fault is fault and words in each.what + each.detail for each in verdict.findings), (
        verdict.findings
    )


async def test_a_pool_of_one_connection_is_enough(ledger: AsyncEngine, database_url: str) -> None:
    one = open_engine(load_settings({}, require=(), database_url=database_url, database_pool_size=1))
    assert (await verify(one)) == (await verify(ledger))
    await one.dispose()


async def test_a_row_that_is_slipped_in_is_named(engine: AsyncEngine) -> None:
    """Into a gap that a rolled-back transaction left in the ids."""
    await posted(engine, [sale(1)])
    async with engine.begin() as connection:
        await connection.execute(text("SELECT nextval(pg_get_serial_sequence('ledger_transactions', 'id'))"))
    await posted(engine, [sale(2)])
    assert await sealed(engine) == 2
    gap = "(SELECT max(id) - 1 FROM ledger_transactions)"
    await tamper(
        engine,
        f"""INSERT INTO ledger_transactions (id, effect_key, kind, description, occurred_at, accounting_on,
              source, rule_version, digest) OVERRIDING SYSTEM VALUE
            SELECT {gap}, 'forged', kind, description, occurred_at, accounting_on, source, rule_version,
                   digest
              FROM ledger_transactions WHERE effect_key = 'sale:0001'""",
    )
    findings = (await verify(engine)).findings
    assert [(each.fault, each.detail) for each in findings] == [(Fault.INSERTED, "forged")]


async def test_an_incremental_check_reads_what_came_since(ledger: AsyncEngine) -> None:
    verdict = await verify(ledger, first=4)
    assert verdict.sound
    assert (verdict.blocks, verdict.entries) == (1, 22)
    await tamper(ledger, "UPDATE ledger_entries SET amount = 7 WHERE transaction_id = (SELECT id FROM "
                 "ledger_transactions WHERE effect_key = 'sale:0095')")  # fmt: skip
    assert [each.fault for each in (await verify(ledger, first=4)).findings] == [Fault.CHANGED]
    await tamper(ledger, "UPDATE account_balances SET credits = credits + 1 WHERE credits > 0")
    assert Fault.BALANCE in [each.fault for each in (await verify(ledger, first=4)).findings]


async def test_one_that_commits_late_is_not_missed(engine: AsyncEngine, database_url: str) -> None:
    """An open database transaction holds an id below those that are there: sealing waits for it."""
    other = open_engine(load_settings({}, require=(), database_url=database_url))
    book = Book()
    await posted(engine, [sale(0)])
    async with other.connect() as late:
        transaction = await late.begin()
        written = await book.post(late, [sale(1)])
        await posted(engine, [sale(2)])
        upto = await horizon(engine)
        assert await seal(engine, upto) == 0
        await book.settle_balances(late, written)
        await transaction.commit()
    assert await seal(engine, upto) == 3
    assert (await verify(engine)).sound
    await other.dispose()


async def test_sealers_and_writers_beside_each_other(engine: AsyncEngine) -> None:
    writing = True

    async def write(first: int) -> None:
        for number in range(first, first + 40):
            await posted(engine, [sale(number)])

    async def keep_sealing() -> None:
        while writing:
            await sealed(engine)

    sealers = [asyncio.create_task(keep_sealing()) for _ in range(2)]
    await asyncio.gather(*(write(first) for first in range(0, 400, 100)))
    writing = False
    await asyncio.gather(*sealers)
    await sealed(engine)
    verdict = await verify(engine)
    assert verdict.sound
    async with engine.connect() as connection:
        query = "SELECT sum(transactions) FROM ledger_seals"
        assert (await connection.execute(text(query))).scalar_one() == 160


@pytest.mark.parametrize("when", ["all sealed", "some sealed", "none sealed"])
async def test_the_balance_at_an_instant(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Days, hours, the hour at hand and the tail; dates that are heard later move what they are about."""
    monkeypatch.setattr(seals, "BLOCK", 7)
    first = [sale(number, amount=number + 1) for number in range(60)]
    second = [sale(number, amount=number + 1) for number in range(60, 90)]
    earlier = [sale(number, amount=number + 1, at=START - timedelta(hours=number)) for number in (3, 30, 70)]
    steps = [first, second, earlier]
    for n, step in enumerate(steps):
        await posted(engine, step)
        if when == "all sealed" or (when == "some sealed" and n < 1):
            await sealed(engine)
    moments = {
        each.effect_key: (each.occurred_at, each.entries[0].amount) for each in first + second + earlier
    }
    for minutes in (-5000, -181, -180, -179, 0, 1, 200, 425, 5000, 50_000):
        at = START + timedelta(minutes=minutes)
        async with engine.connect() as connection:
            balance = await balance_at(connection, "assets:bank", "usd", at)
        assert balance.balance == sum(amount for moment, amount in moments.values() if moment <= at), minutes
    assert (await verify(engine)).sound
