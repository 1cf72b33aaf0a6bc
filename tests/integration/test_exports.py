"""Exports of the ledger: read by the programs they are for, and held against the trial balance."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg.cursor
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from beancount import loader
from beancount.core.data import Balance, Transaction
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import Databases
from tests.exported import HOSTILE, NAMES, entry, fill, odd_transactions, post

from tallystick.db.session import open_engine
from tallystick.errors import InvalidRequestError, LedgerInconsistentError
from tallystick.ledger.export import books as books_module
from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.beancount import account_name
from tallystick.ledger.export.books import Period, open_books
from tallystick.ledger.export.formats import FORMATS, ExportFormat
from tallystick.ledger.export.writing import export
from tallystick.ledger.trial_balances import trial_balance
from tallystick.money import CURRENCIES
from tallystick.settings import load_settings

Balances = dict[tuple[str, str], Decimal]
OCTOBER = Period(date(2026, 10, 1), date(2026, 10, 31))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(300, id="short"),
        pytest.param(10_000, id="full", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def books(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[AsyncEngine]:
    """A year of payments, and all that somebody might enter."""
    url = await databases.create()
    engine = open_engine(load_settings({}, require=(), database_url=url))
    await fill(engine, request.param)
    yield engine
    await engine.dispose()
    await databases.drop(url)


async def exported(
    engine: AsyncEngine,
    form: ExportFormat,
    period: Period | None = None,
    *,
    names: AccountNames | None = None,
    **choices: Any,
) -> bytes:
    writer = FORMATS[form].writer(names or AccountNames())
    async with aclosing(export(engine, writer, period or Period(), **choices)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def balances(engine: AsyncEngine, at: datetime | None = None) -> Balances:
    """The trial balance, debits positive, as decimals; accounts at zero are left out."""
    async with engine.connect() as connection:
        rows = await trial_balance(connection, at)
    return {
        (row.account, row.currency): _decimal(row.debits - row.credits, row.currency)
        for row in rows
        if row.debits != row.credits
    }


def _decimal(minor: int, currency: str) -> Decimal:
    exponent = CURRENCIES[currency].exponent if currency in CURRENCIES else 0
    return Decimal(minor).scaleb(-exponent)


def in_beancount(found: Balances) -> Balances:
    """The same under Beancount's names, which are as many."""
    renamed = {(account_name(name), currency.upper()): amount for (name, currency), amount in found.items()}
    assert len(renamed) == len(found)
    return renamed


def beancount_sums(entries: list[Any]) -> Balances:
    sums: Balances = defaultdict(Decimal)
    for each in entries:
        if isinstance(each, Transaction):
            for posting in each.postings:
                assert posting.units is not None
                assert posting.units.number is not None
                sums[posting.account, posting.units.currency] += posting.units.number
    return {key: amount for key, amount in sums.items() if amount}


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which(program, path=f"{Path(sys.executable).parent}:/usr/bin:/bin:/usr/local/bin")
    if path is None:
        pytest.skip(f"{program} is not installed here (Debian: apt-get install {program})")
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False)


async def test_bean_check_passes_and_beancount_counts_as_we_do(books: AsyncEngine, tmp_path: Path) -> None:
    file = tmp_path / "ledger.beancount"
    file.write_bytes(await exported(books, ExportFormat.BEANCOUNT))
    checked = run("bean-check", str(file))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    entries, errors, _ = loader.load_file(str(file))
    assert not errors
    assert beancount_sums(entries) == in_beancount(await balances(books))
    async with books.connect() as connection:
        stored = await connection.execute(
            text("SELECT effect_key, description, kind, source FROM ledger_transactions")
        )
        expected = {row.effect_key: (row.description, row.kind, row.source) for row in stored}
    found = [each for each in entries if isinstance(each, Transaction)]
    assert len(found) == len(expected)
    assert {
        each.meta["effect_key"]: (each.narration, each.meta["kind"], each.meta["source"]) for each in found
    } == expected
    assert set(HOSTILE) <= {each.narration for each in found}
    months = {each.date for each in entries if isinstance(each, Balance)}
    assert len(months) > 10


async def test_its_assertions_notice_one_minor_unit(books: AsyncEngine, tmp_path: Path) -> None:
    """Of every balanced transaction that is a unit off, the end of its month tells."""
    whole = (await exported(books, ExportFormat.BEANCOUNT)).decode()
    changed, times = re.subn(
        r"  Assets:Bank  123\.45 USD\n  Income:Payments  -123\.45 USD",
        "  Assets:Bank  123.46 USD\n  Income:Payments  -123.46 USD",
        whole,
    )
    assert times == 1
    file = tmp_path / "ledger.beancount"
    file.write_text(changed)
    checked = run("bean-check", str(file))
    assert checked.returncode == 1
    assert "Balance failed for 'Assets:Bank'" in checked.stderr


async def test_a_date_heard_later_counts(books: AsyncEngine) -> None:
    found = (await exported(books, ExportFormat.CSV)).decode()
    (day,) = {row["date"] for row in csv.DictReader(io.StringIO(found)) if row["effect_key"] == "dated:again"}
    assert day == "2026-12-30"  # a hundred days in, not two hundred
    january = Period(date(2026, 12, 30), date(2026, 12, 30))
    assert b"dated:again" in await exported(books, ExportFormat.CSV, january)
    assert b"dated:again" not in await exported(books, ExportFormat.CSV, Period(date(2026, 12, 31)))


async def test_a_period_opens_and_closes_with_the_ledgers_balances(
    books: AsyncEngine, tmp_path: Path
) -> None:
    file = tmp_path / "october.beancount"
    file.write_bytes(await exported(books, ExportFormat.BEANCOUNT, OCTOBER))
    entries, errors, _ = loader.load_file(str(file))
    assert not errors
    opening = [each for each in entries if isinstance(each, Transaction) and each.date < date(2026, 10, 1)]
    assert [each.narration for each in opening] == ["Opening balances"]
    before = datetime(2026, 9, 30, 23, 59, 59, 999_999, UTC)
    assert beancount_sums(opening) == in_beancount(await balances(books, before))
    closing = datetime(2026, 10, 31, 23, 59, 59, 999_999, UTC)
    assert beancount_sums(entries) == in_beancount(await balances(books, closing))


async def test_what_is_posted_later_changes_no_period_before(engine: AsyncEngine) -> None:
    at = datetime(2026, 10, 5, tzinfo=UTC)
    await post(engine, entry("a", at, 100))
    before = {form: await exported(engine, form, OCTOBER) for form in ExportFormat if form != "xero"}
    await post(engine, entry("b", at + timedelta(days=40), 100, account="revenue:shipping", currency="eur"))
    assert {form: await exported(engine, form, OCTOBER) for form in before} == before


@pytest.mark.parametrize("form", [ExportFormat.HLEDGER, ExportFormat.LEDGER])
@pytest.mark.parametrize("period", [Period(), OCTOBER], ids=["all", "october"])
async def test_hledger_and_ledger_cli_count_as_we_do(
    books: AsyncEngine, tmp_path: Path, form: ExportFormat, period: Period
) -> None:
    file = tmp_path / f"books.{form}"
    file.write_bytes(await exported(books, form, period))
    if form is ExportFormat.HLEDGER:
        checked = run("hledger", "-f", str(file), "check", "--strict", "ordereddates")
        listed = run("hledger", "-f", str(file), "balance", "--flat", "-N", "-O", "csv", "--layout=bare")
        assert (checked.returncode, checked.stderr) == (0, "")
        rows = csv.DictReader(io.StringIO(listed.stdout))
        found = {(row["account"], row["commodity"].lower()): Decimal(row["balance"]) for row in rows}
    else:
        shape = "%(account)\\t%(quantity(scrub(display_amount)))\\t%(commodity(scrub(display_amount)))\\n"
        strict = ("-f", str(file), "--strict", "--pedantic")
        checked = run("ledger", *strict, "balance")
        assert (checked.returncode, checked.stderr) == (0, "")
        listed = run("ledger", *strict, "register", "--format", shape)
        sums: Balances = defaultdict(Decimal)
        for line in listed.stdout.splitlines():
            account, amount, code = line.split("\t")
            sums[account, code.lower()] += Decimal(amount)
        found = dict(sums)
    assert listed.returncode == 0, listed.stderr
    upto = datetime(2026, 10, 31, 23, 59, 59, 999_999, UTC)
    expected = await balances(books) if period == Period() else await balances(books, upto)
    assert {key: amount for key, amount in found.items() if amount} == expected


@pytest.mark.parametrize("program", ["hledger", "ledger"])
async def test_their_assertions_bite_too(books: AsyncEngine, tmp_path: Path, program: str) -> None:
    whole = (await exported(books, ExportFormat(program))).decode()
    changed, times = re.subn(
        r"assets:bank  123\.45 USD\n    revenue:payments  -123\.45",
        "assets:bank  123.46 USD\n    revenue:payments  -123.46",
        whole,
    )
    assert times == 1
    file = tmp_path / "books.journal"
    file.write_text(changed)
    checked = run(program, "-f", str(file), "balance")
    assert checked.returncode != 0
    assert "assertion" in checked.stderr


def csv_sums(rows: list[dict[str, str]]) -> Balances:
    sums: Balances = defaultdict(Decimal)
    for row in rows:
        sums[row["account"], row["currency"]] += Decimal(row["debit"] or 0) - Decimal(row["credit"] or 0)
    return {key: amount for key, amount in sums.items() if amount}


@pytest.mark.parametrize("summarize", [False, True])
async def test_csv_adds_up_to_the_trial_balance(books: AsyncEngine, summarize: bool) -> None:
    body = (await exported(books, ExportFormat.CSV, summarize=summarize)).decode()
    rows = list(csv.DictReader(io.StringIO(body)))
    assert csv_sums(rows) == await balances(books)
    keys = [(row["occurred_at"], row["effect_key"]) for row in rows]
    assert keys == sorted(keys)
    assert {row["effect_key"].startswith("day:") for row in rows} == {summarize}
    if summarize:
        assert len(set(keys)) == len({(row["date"], row["currency"]) for row in rows})
    else:
        assert not [row for row in rows if row["description"].startswith(("=", "+", "-", "@"))]
        assert "'=HYPERLINK(0)" in {row["description"] for row in rows}


async def test_parquet_holds_the_same_rows_as_csv(books: AsyncEngine) -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(await exported(books, ExportFormat.PARQUET)))
    body = (await exported(books, ExportFormat.CSV)).decode()
    rows = table.to_pylist()
    assert [
        (row["effect_key"], row["account"], str(row["amount_minor"]), row["currency"]) for row in rows
    ] == [
        (row["effect_key"], row["account"], row["amount_minor"], row["currency"])
        for row in csv.DictReader(io.StringIO(body))
    ]
    assert str(table.schema.field("amount").type) == "decimal128(38, 3)"
    for row in rows:
        assert row["amount"] == _decimal(row["amount_minor"], row["currency"])
        assert (row["direction"] == "debit") is (row["amount_minor"] > 0)
        assert row["occurred_at"].date() == row["date"]
    assert set(HOSTILE) <= {row["description"] for row in rows}


async def test_parquet_without_its_library_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidRequestError, match=r"pip install tallystick\[parquet\]"):
        FORMATS[ExportFormat.PARQUET].writer(AccountNames())


@pytest.mark.parametrize("summarize", [False, True])
async def test_quickbooks_journals_balance_each_in_one_currency(books: AsyncEngine, summarize: bool) -> None:
    names = AccountNames({"assets:bank": "Checking", "revenue:payments": "Income:Sales"})
    body = (await exported(books, ExportFormat.QUICKBOOKS, names=names, summarize=summarize)).decode()
    rows = list(csv.DictReader(io.StringIO(body)))
    journals = defaultdict(list)
    for row in rows:
        journals[row["JournalNo"]].append(row)
    for number, lines in journals.items():
        assert len(number) <= 21
        assert len({(row["Currency"], row["JournalDate"], row["Memo"]) for row in lines}) == 1
        assert sum(Decimal(row["Debits"] or 0) - Decimal(row["Credits"] or 0) for row in lines) == 0
        assert all(bool(row["Debits"]) is not bool(row["Credits"]) for row in lines)
    ours = {theirs: account for account, theirs in names.names.items()}
    sums: Balances = defaultdict(Decimal)
    for row in rows:
        account = ours.get(row["AccountName"], row["AccountName"])
        sums[account, row["Currency"].lower()] += Decimal(row["Debits"] or 0) - Decimal(row["Credits"] or 0)
    assert {key: amount for key, amount in sums.items() if amount} == await balances(books)
    days = {(row["JournalDate"], row["Currency"]) for row in rows}
    assert (len(journals) == len(days)) is summarize
    assert "\n" not in "".join(row["Memo"] for row in rows)


async def test_xero_wants_one_currency_and_a_code_for_each_account(books: AsyncEngine) -> None:
    with pytest.raises(InvalidRequestError, match="one currency"):
        await exported(books, ExportFormat.XERO)
    with pytest.raises(InvalidRequestError, match=r"have none: assets:bank, .*suspense:stripe"):
        await exported(books, ExportFormat.XERO, currency="usd")
    expected = {key: amount for key, amount in (await balances(books)).items() if key[1] == "usd"}
    async with books.connect() as connection:
        accounts = sorted({row.account for row in await trial_balance(connection)})
    codes = {account: str(200 + n) for n, account in enumerate(accounts)}
    names = AccountNames(codes, "No VAT")
    body = (await exported(books, ExportFormat.XERO, names=names, currency="usd", summarize=True)).decode()
    rows = list(csv.DictReader(io.StringIO(body)))
    ours = {code: account for account, code in codes.items()}
    sums: Balances = defaultdict(Decimal)
    journals: Mapping[tuple[str, str], list[Decimal]] = defaultdict(list)
    for row in rows:
        assert row["*TaxRate"] == "No VAT"
        sums[ours[row["*AccountCode"]], "usd"] += Decimal(row["*Amount"])
        journals[row["*Narration"], row["*Date"]].append(Decimal(row["*Amount"]))
    assert {key: amount for key, amount in sums.items() if amount} == expected
    assert not any(sum(amounts) for amounts in journals.values())
    assert datetime.strptime(rows[0]["*Date"], "%d/%m/%Y").replace(tzinfo=UTC).year == 2026


async def test_the_same_facts_in_any_order_are_the_same_bytes(databases: Databases) -> None:
    """Other ids, other posting times, another order, in other batches: nothing of it is to be seen."""
    made = []
    for batches in ([odd_transactions()], [[each] for each in reversed(odd_transactions())]):
        url = await databases.create()
        engine = open_engine(load_settings({}, require=(), database_url=url))
        for batch in batches:
            await post(engine, *batch)
        forms = [form for form in ExportFormat if form != "xero"]
        made.append([await exported(engine, form, summarize=False) for form in forms])
        await engine.dispose()
        await databases.drop(url)
    assert made[0] == made[1]


async def test_it_is_one_snapshot(engine: AsyncEngine) -> None:
    """What is posted while an export is read is not in it, and does not disturb its sums."""
    at = datetime(2026, 10, 5, tzinfo=UTC)
    await post(engine, *(entry(f"first:{n:05}", at + timedelta(seconds=n), 100) for n in range(4000)))
    writer = FORMATS[ExportFormat.BEANCOUNT].writer(AccountNames())
    async with aclosing(export(engine, writer, Period())) as chunks:
        found = await anext(chunks)
        await post(engine, entry("second", at + timedelta(hours=10), 100))
        found += b"".join([chunk async for chunk in chunks])
    assert found.count(b"first:") == 4000
    assert b"second" not in found


async def test_rows_are_fetched_as_they_are_written(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in memory is a page of them, however many there are."""
    at = datetime(2026, 10, 5, tzinfo=UTC)
    await post(engine, *(entry(f"k:{n:03}", at + timedelta(seconds=n), 100) for n in range(95)))
    monkeypatch.setattr(books_module, "_ROWS_AT_ONCE", 10)
    fetched = 0
    fetch = asyncpg.cursor.Cursor.fetch

    async def counted(self: Any, number: int, **more: Any) -> Any:
        nonlocal fetched
        rows = await fetch(self, number, **more)
        fetched += len(rows)
        return rows

    monkeypatch.setattr(asyncpg.cursor.Cursor, "fetch", counted)
    async with (
        open_books(engine, Period(), patient=False) as books,
        aclosing(books.transactions()) as transactions,
    ):
        ahead = [fetched - int(item.effect_key.removeprefix("k:")) async for item in transactions]
    assert len(ahead) == 95
    assert max(ahead) <= 50  # the driver's first page


async def test_one_that_does_not_add_up_has_no_end(engine: AsyncEngine) -> None:
    await post(engine, entry("a", datetime(2026, 10, 5, tzinfo=UTC), 100))
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("UPDATE account_balances SET debits = debits + 1 WHERE debits > 0"))
    with pytest.raises(
        LedgerInconsistentError, match="assets:bank in usd add up to 100, and its balance is 101"
    ):
        await exported(engine, ExportFormat.CSV)


@pytest.mark.parametrize("form", [form for form in ExportFormat if form != "xero"])
async def test_an_empty_ledger_is_an_empty_file(
    engine: AsyncEngine, tmp_path: Path, form: ExportFormat
) -> None:
    for period in (Period(), OCTOBER):
        found = await exported(engine, form, period)
        file = tmp_path / "empty"
        file.write_bytes(found)
        if form is ExportFormat.BEANCOUNT:
            assert run("bean-check", str(file)).returncode == 0
        elif form is ExportFormat.HLEDGER:
            assert run("hledger", "-f", str(file), "check", "--strict").returncode == 0
        elif form is ExportFormat.PARQUET:
            assert pyarrow.parquet.read_table(io.BytesIO(found)).num_rows == 0


def test_no_two_accounts_get_the_same_name_in_beancount() -> None:
    assert len({account_name(name) for name in NAMES}) == len(NAMES)
    assert account_name("assets:stripe:payouts_in_transit") == "Assets:Stripe:Payouts-In-Transit"
    assert account_name("suspense:stripe") == "Assets:Suspense:Stripe"


@pytest.mark.parametrize(
    ("first", "last"), [(date(2026, 11, 1), date(2026, 10, 1)), (date(1, 1, 1), None), (None, date.max)]
)
def test_a_period_that_is_none_is_refused(first: date | None, last: date | None) -> None:
    with pytest.raises(InvalidRequestError):
        Period(first, last)
