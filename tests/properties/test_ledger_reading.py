"""Whatever is posted, redated and sealed in whatever order: what is read is what a plain list would say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.conftest import Databases

from tallystick.db.session import open_engine, snapshot
from tallystick.ledger import seals
from tallystick.ledger.balances import EVER, TICK, balance_at
from tallystick.ledger.book import Book
from tallystick.ledger.chart import account_type
from tallystick.ledger.entries import LedgerTransaction, credit, debit, post
from tallystick.ledger.history import PostedTransaction, TransactionFilter, list_transactions
from tallystick.ledger.seals import horizon, seal
from tallystick.ledger.statements import StatementLine, read_statement
from tallystick.ledger.trial_balances import period_balance, totals, trial_balance
from tallystick.ledger.verification import verify
from tallystick.settings import load_settings

SIDES = {"debit": 1, "credit": -1}
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
ACCOUNTS = ["assets:bank", "liabilities:unapplied", "revenue:payments", "revenue:refunds"]
# Few seconds, so that facts fall together, in hours and days that are the same, next to each other, and far.
TIMES = st.builds(
    lambda days, hours, seconds: NOON + timedelta(days=days, hours=hours, seconds=seconds),
    st.sampled_from([-40, -1, 0, 0]),
    st.integers(-1, 1),
    st.sampled_from([-1, 0, 0, 1, 30, 1799, 3599]),
)
SALES = st.builds(
    lambda accounts, amount, currency, at, kind: (accounts, amount, currency, at, kind),
    st.permutations(ACCOUNTS).map(lambda names: names[:2]),
    st.integers(1, 999),
    st.sampled_from(["usd", "usd", "jpy"]),
    TIMES,
    st.sampled_from(["sale", "sale", "fee"]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.lists(SALES, min_size=1, max_size=8)),
        st.tuples(st.just("redate"), st.lists(st.tuples(st.integers(0, 10**6), TIMES), max_size=4)),
        st.tuples(st.just("seal"), st.just([])),
        st.tuples(st.just("skip ids"), st.integers(1, 400)),
    ),
    min_size=2,
    max_size=12,
)


@dataclass
class Ledger:
    """What was posted, beside the database that holds it."""

    engine: AsyncEngine
    book: Book = field(default_factory=Book)
    posted: list[LedgerTransaction] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)

    async def play(self, steps: Sequence[tuple[str, Any]]) -> None:
        """One step after the other."""
        for name, what in steps:
            if name == "post":
                await self.post([_transaction(len(self.posted) + n, sale) for n, sale in enumerate(what)])
            elif name == "redate" and self.posted:
                again = {number % len(self.posted): at for number, at in what}
                await self.post([replace(self.posted[n], occurred_at=at) for n, at in again.items()])
            elif name == "seal":
                await seal(self.engine, await horizon(self.engine))
            elif name == "skip ids":  # so that others are in other runs of ids
                sale = (ACCOUNTS, 1, "usd", NOON, "lost")
                async with self.engine.connect() as connection:
                    lost = [_transaction(10**6 + n, sale) for n in range(what)]
                    await self.book.post(connection, lost)
                    await connection.rollback()

    async def post(self, batch: list[LedgerTransaction]) -> None:
        """Post, and remember with the earliest time that was heard."""
        async with self.engine.begin() as connection:
            await self.book.settle_balances(connection, await self.book.post(connection, batch))
            rows = await connection.execute(text("SELECT effect_key, id FROM ledger_transactions"))
            self.ids = {row.effect_key: row.id for row in rows}
        known = {item.effect_key: n for n, item in enumerate(self.posted)}
        for item in batch:
            n = known.get(item.effect_key)
            if n is None:
                self.posted.append(item)
            elif item.occurred_at < self.posted[n].occurred_at:
                self.posted[n] = item

    def net(self, account: str, currency: str, upto: datetime) -> int:
        """Debits less credits of an account, the instant included."""
        return sum(
            leg.direction * leg.amount
            for item in self.posted
            if item.occurred_at <= upto
            for leg in item.entries
            if (leg.account, leg.currency) == (account, currency)
        )

    def lines(self, account: str, currency: str) -> list[tuple[datetime, int, int, int]]:
        """Time, id, position and signed amount of each entry of an account, in order."""
        return sorted(
            (item.occurred_at, self.ids[item.effect_key], position, leg.direction * leg.amount)
            for item in self.posted
            for position, leg in enumerate(item.entries, 1)
            if (leg.account, leg.currency) == (account, currency)
        )

    def accounts(self) -> set[tuple[str, str]]:
        """Those that have entries."""
        return {(leg.account, leg.currency) for item in self.posted for leg in item.entries}


def _transaction(number: int, sale: tuple[Any, ...]) -> LedgerTransaction:
    (first, second, *_), amount, currency, at, kind = sale
    made = post(
        f"{kind}:{number}",
        kind,
        (debit(first, amount, currency), credit(second, amount, currency)),
        description=f"Number {number}",
        occurred_at=at,
        source="test",
    )
    assert made is not None
    return made


async def statement_of(
    connection: AsyncConnection, account: str, currency: str, limit: int, **period: datetime | None
) -> tuple[int, list[StatementLine], int]:
    """All pages, one after the other, between what they opened and closed with."""
    lines: list[StatementLine] = []
    cursor = None
    while True:
        page = await read_statement(connection, account, currency, limit=limit, cursor=cursor, **period)
        assert len(page.lines) == limit or page.next_cursor is None
        lines += page.lines
        cursor = page.next_cursor
        if cursor is None:
            return page.opening_balance, lines, page.closing_balance


CASES = {
    "steps": STEPS,
    "block": st.integers(1, 9),
    "limit": st.integers(1, 4),
    "bounds": st.tuples(TIMES, TIMES),
}


@given(case=st.fixed_dictionaries(CASES))
@settings(max_examples=12)
async def test_what_is_read_is_what_was_posted(databases: Databases, case: dict[str, Any]) -> None:
    await _post_and_compare(databases, case)


@pytest.mark.long
@pytest.mark.timeout(1800)
@given(case=st.fixed_dictionaries(CASES))
@settings(max_examples=120)
async def test_what_is_read_is_what_was_posted_in_many_cases(
    databases: Databases, case: dict[str, Any]
) -> None:
    await _post_and_compare(databases, case)


async def _post_and_compare(databases: Databases, case: dict[str, Any]) -> None:
    url = await databases.create()
    engine = open_engine(load_settings({}, require=(), database_url=url))
    try:
        ledger = Ledger(engine)
        with mock.patch.object(seals, "BLOCK", case["block"]):
            await ledger.play(case["steps"])
        async with snapshot(engine) as connection:
            for account in sorted(ledger.accounts()):
                await _compare_statements(connection, ledger, account, case)
            await _compare_trial_balances(connection, ledger, case["bounds"])
            await _compare_lists(connection, ledger, case)
        assert (await verify(engine)).sound
    finally:
        await engine.dispose()
        await databases.drop(url)


async def _compare_statements(
    connection: AsyncConnection, ledger: Ledger, account: tuple[str, str], case: dict[str, Any]
) -> None:
    sign = _sign(account[0])
    since, until = case["bounds"]
    for start, end in ((None, None), (since, until), (since, None), (None, until)):
        expected = [line for line in ledger.lines(*account) if _within(line[0], start, end)]
        opening, lines, closing = await statement_of(
            connection, *account, case["limit"], since=start, until=end
        )
        told = [
            (line.occurred_at, line.transaction_id, line.position, SIDES[line.direction] * line.amount)
            for line in lines
        ]
        assert told == expected
        running = opening
        for line, (_, _, _, amount) in zip(lines, expected, strict=True):
            running += sign * amount
            assert line.balance == running
        if start is None or end is None or start <= end:
            assert running == closing
        for n, line in enumerate(lines):
            if n + 1 == len(lines) or lines[n + 1].occurred_at != line.occurred_at:
                stood = await balance_at(connection, *account, line.occurred_at)
                assert line.balance == stood.balance == sign * ledger.net(*account, line.occurred_at)


def _sign(account: str) -> int:
    return 1 if account_type(account).normal_balance == "debit" else -1


def _within(at: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or at >= start) and (end is None or at < end)


async def _compare_trial_balances(
    connection: AsyncConnection, ledger: Ledger, bounds: tuple[datetime, datetime]
) -> None:
    first, second = sorted(bounds)
    for at in (first - TICK, first, second, None):
        lines = await trial_balance(connection, at)
        assert all(total.balanced for total in totals(lines))
        assert {(line.account, line.currency): line.debits - line.credits for line in lines} == {
            account: ledger.net(*account, at or EVER)
            for account in ledger.accounts()
            if any(line[0] <= (at or EVER) for line in ledger.lines(*account))
        }
    for period in await period_balance(connection, first, second):
        account = (period.account, period.currency)
        assert period.opening == _sign(period.account) * ledger.net(*account, first - TICK)
        assert period.closing == _sign(period.account) * ledger.net(*account, second - TICK)
        amounts = [line[3] for line in ledger.lines(*account) if _within(line[0], first, second)]
        assert period.debits == sum(amount for amount in amounts if amount > 0)
        assert period.credits == -sum(amount for amount in amounts if amount < 0)


async def _compare_lists(connection: AsyncConnection, ledger: Ledger, case: dict[str, Any]) -> None:
    since, until = case["bounds"]
    for kind, start, end in (
        (None, None, None),
        ("fee", None, None),
        (None, since, until),
        ("sale", since, None),
    ):
        told = await transactions_of(connection, TransactionFilter(start, end, kind), case["limit"])
        assert all(len(item.entries) == 2 for item in told)
        assert [(item.occurred_at, item.id, item.effect_key) for item in told] == sorted(
            (
                (item.occurred_at, ledger.ids[item.effect_key], item.effect_key)
                for item in ledger.posted
                if (kind is None or item.kind == kind) and _within(item.occurred_at, start, end)
            ),
            reverse=True,
        )


async def transactions_of(
    connection: AsyncConnection, narrowed: TransactionFilter, limit: int
) -> list[PostedTransaction]:
    """All pages, one after the other."""
    found: list[PostedTransaction] = []
    cursor = None
    while True:
        page = await list_transactions(connection, narrowed, limit=limit, cursor=cursor)
        assert len(page.items) == limit or page.next_cursor is None
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
