"""The books in the console: what each page says of books that are known, and of none."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face
from tests.integration.console.conftest import Operator, browser, open_console, text_of
from tests.kept_books import CUSTOMER, OURS, Kept, keep_books

from tallystick.embedded import EmbeddedValkey

LEDGER = "/console/ledger"
BALANCE = f"{LEDGER}/accounts/assets:stripe:balance"
PAGES = {
    f"{LEDGER}/accounts": "The books are empty",
    f"{LEDGER}/trial-balance": "Nothing stands in the books",
    f"{LEDGER}/transactions": "Nothing is posted yet",
    f"{LEDGER}/payouts": "No payouts yet",
    f"{LEDGER}/proof": "Nothing is in suspense",
    f"{LEDGER}/exports": "in one snapshot",
    "/console/journal-entries": "No journal entries yet",
}


@pytest.fixture(scope="module")
async def installation(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all."""
    async with open_face(await databases.create(), valkey) as face:
        yield face


@pytest.fixture(scope="module")
async def kept(installation: Face) -> Kept:
    return await keep_books(installation.app.engine)


@pytest.fixture(scope="module")
async def operator(installation: Face) -> AsyncIterator[Operator]:
    """One session for all: they only look."""
    async with browser(installation.app) as http:
        made = Operator(installation, http)
        assert (await made.sign_in()).status_code == 303
        yield made


async def test_every_page_says_what_to_do_when_there_is_nothing(
    databases: Databases, valkey: EmbeddedValkey
) -> None:
    async with open_console(databases, valkey) as operator:
        for path, words in PAGES.items():
            assert words in text_of(await operator.see(path))
        proof = text_of(await operator.see(f"{LEDGER}/proof"))
        assert "Nothing is unapplied" in proof
        assert "No block is sealed yet" in proof
        await operator.see(BALANCE, 404)


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_wants_its_scope(visitor: Operator, path: str) -> None:
    await visitor.sign_in("payments:read", "events:read", "ledger:write", "ledger:approve")
    assert "does not carry the scope ledger:read" in text_of(await visitor.see(path, 403))
    assert f'href="{path}"' not in (await visitor.see("/console")).partition("<main")[0]
    visitor.http.cookies.clear()
    await visitor.sign_in("ledger:read")
    assert f'href="{path}" aria-current="page"' in await visitor.see(path)


async def test_files_want_the_scope_too(visitor: Operator, kept: Kept) -> None:
    await visitor.sign_in("payments:read")
    await visitor.see(f"{BALANCE}/statement.csv", 403, currency="usd")
    await visitor.see(f"{LEDGER}/exports/file", 403, form="csv")


async def test_accounts_stand_in_groups_with_what_they_come_to(operator: Operator, kept: Kept) -> None:
    page = text_of(await operator.see(f"{LEDGER}/accounts"))
    for words in ("Assets", "Revenue", "Expenses", "assets: bank 16.98 USD 0.00 USD 16.98 USD"):
        assert words in page
    assert "revenue: refunds reduces it 7.00 USD 0.00 USD -7.00 USD" in page
    assert "Revenue in all 189.49 EUR 98,000 JPY 58.00 USD" in page
    assert "clearing" not in page
    assert "8 accounts at zero are not shown" in page
    assert "clearing" in text_of(await operator.see(f"{LEDGER}/accounts", zeros="true"))
    only = text_of(await operator.see(f"{LEDGER}/accounts", currency="jpy"))
    assert "98,000 JPY" in only
    assert "USD" not in only.partition("Account")[2].partition("Balances stand")[0]


async def test_accounts_as_they_stood_at_a_day_and_at_an_instant(operator: Operator, kept: Kept) -> None:
    day = datetime.fromtimestamp(kept.charge["created"], UTC)
    page = text_of(await operator.see(f"{LEDGER}/accounts", on=day.date().isoformat()))
    assert f"At the end of {day.date()} UTC" in page
    assert "payouts_in_transit" in page, "the payout arrived later"
    assert "assets: bank" not in page
    instant = f"{day:%Y-%m-%dT%H:%M:%S}"
    page = text_of(await operator.see(f"{LEDGER}/accounts", at=instant))
    assert "clearing 25.00 USD" in page, "captured, and not settled yet"
    assert "Nothing stood" in text_of(await operator.see(f"{LEDGER}/accounts", on="2001-01-01"))


async def test_a_statement_runs_from_its_opening_to_its_closing_balance(
    operator: Operator, kept: Kept
) -> None:
    page = await operator.see(BALANCE, currency="usd")
    said = text_of(page)
    assert "Opening balance 0.00 USD" in said
    assert "Closing balance -28.80 USD" in said
    assert "expenses: stripe_fees assets:stripe: clearing 23.98 23.98 USD" in said
    assert f'href="{LEDGER}/transactions/' in page
    assert f'href="/console/payments/{OURS}"' in page
    charged = datetime.fromtimestamp(kept.charge["created"], UTC).date()
    later = await operator.see(BALANCE, currency="usd", first=(charged + timedelta(days=1)).isoformat())
    assert "Nothing moved in these days" in later
    assert "Opening balance" in later
    assert text_of(later).count("-28.80 USD") == 4
    before = text_of(await operator.see(BALANCE, currency="usd", last="2001-01-01"))
    assert "Nothing moved in these days" in before
    # the first currency, where none is asked for
    assert "Opening balance 0.00 EUR" in text_of(await operator.see(BALANCE))


async def test_pages_of_a_statement_carry_the_balance_on(
    operator: Operator, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.console.ledger.statements.PAGE", 2)
    page = await operator.see(BALANCE, currency="usd")
    carried = text_of(page).partition("Carried forward ")[2].partition(" USD")[0]
    cursor = page.partition("cursor=")[2].partition('"')[0]
    following = text_of(await operator.see(BALANCE, currency="usd", cursor=cursor))
    assert f"Brought forward {carried} USD" in following
    assert "Opening balance 0.00 USD" in following, "of the whole period"


async def test_a_statement_as_csv_has_every_line(
    operator: Operator, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.console.ledger.statements._ROWS_AT_ONCE", 2)
    answer = await operator.http.get(f"{BALANCE}/statement.csv", params={"currency": "usd"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert 'filename="assets-stripe-balance_usd.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    # two charges, a refund, a payout, a dispute and what is not known
    assert len(rows) == 6
    assert rows[0]["counter_accounts"] == "expenses:stripe_fees assets:stripe:clearing"
    assert (rows[0]["debit"], rows[0]["credit"], rows[0]["balance"]) == ("23.98", "", "23.98")
    assert rows[-1]["balance"] == "-28.80"
    none = await operator.http.get(
        f"{BALANCE}/statement.csv", params={"currency": "usd", "last": "2001-01-01"}
    )
    assert none.text.count("\n") == 1


async def test_the_trial_balance_says_that_it_is_in_balance(operator: Operator, kept: Kept) -> None:
    page = text_of(await operator.see(f"{LEDGER}/trial-balance"))
    assert "In balance. Debit balances and credit balances are equal in each of 3 currencies." in page
    assert "Total 98,000 JPY 98,000 JPY" in page
    period = text_of(await operator.see(f"{LEDGER}/trial-balance", first="2026-09-22"))
    assert "assets: bank asset 0.00 USD 16.98 USD 16.98 USD" in period
    assert "Total 16.98 USD 16.98 USD" in period
    assert "In balance." in period
    assert "Nothing stands" in text_of(await operator.see(f"{LEDGER}/trial-balance", on="2001-01-01"))


async def test_books_that_do_not_balance_are_said_not_to(
    operator: Operator, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.ledger.trial_balances.CurrencyTotal.balanced", False)
    assert "The books do not balance." in text_of(await operator.see(f"{LEDGER}/trial-balance"))


async def test_transactions_by_what_they_belong_to(operator: Operator, kept: Kept) -> None:
    everything = await operator.see(f"{LEDGER}/transactions")
    charge, refund, payout = kept.charge["id"], kept.refund["id"], kept.payout["id"]
    for query, there, away in (
        ({"payment": OURS}, f"refund:{refund}", f"payout:{payout}"),
        ({"customer": CUSTOMER}, f"charge:{charge}", f"payout:{payout}"),
        ({"payout": payout}, f"payout:{payout}:paid", f"charge:{charge}"),
        ({"refund": refund}, f"refund:{refund}:applied", f"charge:{charge}"),
        ({"charge": charge}, f"charge:{charge}:captured", f"refund:{refund}"),
        ({"kind": "payout_paid"}, f"payout:{payout}:paid", f"charge:{charge}"),
        ({"first": "2026-10-01"}, f"payout:{payout}:paid", f"charge:{charge}"),
        ({"last": "2026-10-01"}, f"charge:{charge}", f"payout:{payout}"),
        ({"effect_key": f"refund:{refund}"}, f"refund:{refund}", f"refund:{refund}:applied"),
    ):
        found = (await operator.see(f"{LEDGER}/transactions", **query)).partition("<table")[2]
        assert there in everything
        assert away in everything
        assert there in found, query
        assert away not in found, query
    assert "No ledger transaction fits" in await operator.see(f"{LEDGER}/transactions", payment="pay_0")


async def test_a_transaction_says_its_legs_its_seal_and_what_it_came_from(
    operator: Operator, kept: Kept
) -> None:
    page = await operator.see(f"{LEDGER}/transactions/charge:{kept.charge['id']}:captured")
    said = text_of(page)
    assert "assets:stripe: clearing 25.00 USD liabilities: unapplied 25.00 USD" in said
    assert "Total 25.00 USD 25.00 USD" in said
    assert "Seal #1" in said
    assert f'href="/console/payments/{OURS}"' in page
    assert 'href="/console/events/evt_' in page
    late = text_of(await operator.see(f"{LEDGER}/transactions/balance_transaction:{kept.unknown['id']}"))
    assert "Not sealed yet" in late


async def test_the_page_of_a_payment_leads_to_statements(operator: Operator, kept: Kept) -> None:
    page = await operator.see(f"/console/payments/{OURS}")
    assert f'href="{BALANCE}?currency=usd"' in page
    async with browser(operator.face.app) as http:
        reader = Operator(operator.face, http)
        await reader.sign_in("payments:read")
        assert BALANCE not in await reader.see(f"/console/payments/{OURS}")


async def test_what_went_out_with_a_payout_adds_up(operator: Operator, kept: Kept) -> None:
    payout = kept.payout["id"]
    assert f'href="{LEDGER}/payouts/{payout}"' in await operator.see(f"{LEDGER}/payouts")
    page = await operator.see(f"{LEDGER}/payouts/{payout}")
    said = text_of(page)
    assert "The 2 balance transactions that went out with it come to 16.98 USD, which is its amount" in said
    assert "Net of all 2 16.98 USD" in said
    assert f'href="/console/payments/{OURS}"' in page
    assert f'href="{LEDGER}/transactions/balance_transaction:txn_' in page


async def test_proof_says_what_waits_and_how_old_it_is(operator: Operator, kept: Kept) -> None:
    page = await operator.see(f"{LEDGER}/proof")
    said = text_of(page)
    assert "12.34 USD moved for a reason that no rule knew" in said
    assert "The oldest ledger transaction that is not sealed" in said
    key = f"balance_transaction%3A{kept.unknown['id']}"
    assert f"/console/journal-entries/new?clears={key}&amp;currency=usd" in page
    async with browser(operator.face.app) as http:
        reader = Operator(operator.face, http)
        await reader.sign_in("ledger:read")
        assert "Clear it" not in await reader.see(f"{LEDGER}/proof")


@pytest.mark.parametrize("form", ["csv", "parquet", "quickbooks", "xero", "beancount", "hledger", "ledger"])
async def test_exports_are_those_of_the_api(operator: Operator, kept: Kept, form: str) -> None:
    asked = {"currency": "jpy", "first": "2026-01-01", "last": "2026-12-31"}
    ours = await operator.http.get(f"{LEDGER}/exports/file", params={"form": form, **asked, "summarize": ""})
    theirs = await operator.face.http.get(
        "/ledger/export",
        params={"format": form, "currency": "jpy", "from": asked["first"], "to": asked["last"]},
    )
    assert ours.status_code == theirs.status_code
    if form == "xero":  # which takes books in one currency only, and says so on a page
        assert theirs.json()["detail"] in html.unescape(ours.text)
    else:
        assert ours.content == theirs.content
    assert f'value="{form}"' in await operator.see(f"{LEDGER}/exports")


ODD = [
    ("accounts", {"on": "2026-13-01"}, 400),
    ("accounts", {"on": "2026-01-01", "at": "2026-01-01T00:00"}, 400),
    ("accounts", {"on": "0001-01-01"}, 400),
    ("accounts", {"on": "9999-12-31"}, 400),
    ("accounts", {"at": "yesterday"}, 400),
    ("accounts", {"currency": "EURO"}, 400),
    ("accounts", {"zeros": "perhaps"}, 400),
    ("accounts", {"colour": "green"}, 400),
    ("accounts/assets:nowhere", {}, 404),
    ("accounts/no%00thing", {}, 404),
    ("accounts/assets:bank", {"currency": "isk"}, 404),
    ("accounts/assets:bank", {"cursor": "%%%"}, 400),
    ("accounts/assets:bank", {"cursor": "MS54"}, 400),
    ("accounts/assets:bank", {"first": "2026-02-01", "last": "2026-01-01"}, 400),
    ("accounts/assets:bank/statement.csv", {}, 400),
    ("accounts/assets:bank/statement.csv", {"currency": "isk"}, 404),
    ("accounts/no%00thing/statement.csv", {"currency": "usd"}, 404),
    ("trial-balance", {"at": "2026-02-01T00:00", "first": "2026-01-01"}, 400),
    ("trial-balance", {"first": "2026-02-01", "last": "2026-01-01"}, 400),
    ("transactions", {"cursor": "MS54"}, 400),
    ("transactions", {"payment": "a\0b"}, 400),
    ("transactions", {"kind": "ä"}, 400),
    ("transactions/none", {}, 404),
    ("transactions/no%00thing", {}, 404),
    ("transactions/999999999999999999", {}, 404),
    ("payouts", {"cursor": "x"}, 400),
    ("payouts/po_none", {}, 404),
    ("payouts/no%00thing", {}, 404),
    ("payouts/po_none", {"cursor": "x"}, 400),
    ("proof", {"cursor": "x"}, 400),
    ("exports/file", {"form": "excel"}, 400),
    ("exports/file", {}, 400),
    ("exports/file", {"form": "csv", "currency": "€"}, 400),
    ("exports/file", {"form": "csv", "first": "2026-02-01", "last": "2026-01-01"}, 400),
]


@pytest.mark.parametrize(("path", "query", "status"), ODD)
async def test_what_cannot_be_answered_is_a_page_that_says_why(
    operator: Operator, kept: Kept, path: str, query: dict[str, str], status: int
) -> None:
    assert "<h1>" in await operator.see(f"{LEDGER}/{path}", status, **query)
