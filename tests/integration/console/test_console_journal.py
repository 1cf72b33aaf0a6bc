"""Journal entries in the console: refused beside the field, previewed, posted once, decided, reversed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face
from tests.integration.console.conftest import Form, Operator, browser, form_of, forms_of, text_of
from tests.kept_books import OURS, Kept, keep_books

from tallystick.api.keys import create_key
from tallystick.embedded import EmbeddedValkey

ENTRIES = "/console/journal-entries"
NEW = f"{ENTRIES}/new"
FEES, SUSPENSE = "expenses:stripe_fees", "suspense:stripe"
ALL = ("ledger:read", "ledger:write", "ledger:approve")
Cells = tuple[str, str, str, str]


@pytest.fixture(scope="module")
async def installation(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all; a second person is needed above ten dollars."""
    async with open_face(await databases.create(), valkey, approval_above="usd=1000,jpy=none,*=0") as face:
        yield face


@pytest.fixture(scope="module")
async def kept(installation: Face) -> Kept:
    return await keep_books(installation.app.engine)


async def signed_in(face: Face, http: httpx.AsyncClient, name: str, *scopes: str) -> Operator:
    async with face.app.engine.begin() as connection:
        secret = (await create_key(connection, name, scopes or ALL))[1]
    made = Operator(face, http)
    assert (await made.sign_in_with(secret)).status_code == 303
    return made


@pytest.fixture(scope="module")
async def ada(installation: Face, kept: Kept) -> AsyncIterator[Operator]:
    async with browser(installation.app) as http:
        yield await signed_in(installation, http, "Ada Lovelace")


@pytest.fixture(scope="module")
async def grace(installation: Face) -> AsyncIterator[Operator]:
    async with browser(installation.app) as http:
        yield await signed_in(installation, http, "Grace Hopper")


def typed(*rows: Cells, **fields: str) -> dict[str, Any]:
    """What is typed into the form, row by row: account, debit, credit, currency."""
    cells = dict(
        zip(("account", "debit", "credit", "currency"), map(list, zip(*rows, strict=True)), strict=True)
    )
    said = {"description": "Fee that stood in suspense", "reason": "Ticket 4711"}
    return {**said, **cells, **fields}


def fee(amount: str, currency: str = "usd", **fields: str) -> dict[str, Any]:
    return typed((FEES, amount, "", currency), (SUSPENSE, "", amount, ""), **fields)


async def blank(operator: Operator) -> Form:
    """A fresh form, without its fields but the hidden ones."""
    form = form_of(await operator.see(NEW), NEW)
    return Form(NEW, "post", {name: form.fields[name] for name in ("form_token", "key")})


async def write(operator: Operator, fields: dict[str, Any], button: str = "post") -> httpx.Response:
    return await operator.send(await blank(operator), **fields, button=button)


async def written(operator: Operator, fields: dict[str, Any]) -> str:
    """The page of an entry that was just posted or proposed."""
    answer = await write(operator, fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].partition("?")[0]


async def count(face: Face) -> int:
    async with face.app.engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM journal_entries"))).scalar_one())


async def test_a_small_entry_is_previewed_and_posted(ada: Operator) -> None:
    before = await count(ada.face)
    fields = fee("9.5", occurred_at="2026-10-01T12:30", payment=OURS)
    preview = await write(ada, fields, "preview")
    assert preview.status_code == 200
    said = text_of(preview.text)
    assert "It needs no approval at this amount" in said
    assert "9.50 USD" in said
    assert "2026-10-01 12:30:00" in said
    assert await count(ada.face) == before, "a preview leaves nothing"
    answer = await write(ada, fields)
    assert answer.headers["location"].endswith("?done=posted")
    page = await ada.see(answer.headers["location"])
    assert "Posted: it stands in the ledger" in page
    assert f'href="/console/payments/{OURS}"' in page
    key = page.partition('href="/console/ledger/transactions/')[2].partition('"')[0]
    posting = await ada.see(f"/console/ledger/transactions/{key}")
    assert "9.50 USD" in text_of(posting)
    ident = answer.headers["location"].partition("?")[0].rpartition("/")[2]
    assert f'href="{ENTRIES}/{ident}"' in posting
    assert "Fee that stood in suspense" in await ada.see(
        "/console/ledger/accounts/expenses:stripe_fees", currency="usd"
    )


async def test_a_form_that_is_sent_twice_posts_once(ada: Operator) -> None:
    before = await count(ada.face)
    form = await blank(ada)
    answers = await asyncio.gather(*(ada.send(form, **fee("1.25"), button="post") for _ in range(3)))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert await count(ada.face) == before + 1
    other = await ada.send(form, **fee("1.26"), button="post")
    assert other.status_code == 422
    assert "This form was posted already, with other words" in other.text
    assert await count(ada.face) == before + 1


async def test_the_preview_sends_what_was_typed(ada: Operator) -> None:
    form = await blank(ada)
    fields = fee("1,000.5", occurred_at="2026-10-01T12:30", payment=OURS, allow_new_accounts="on")
    preview = (await ada.send(form, **fields, button="preview")).text
    found = form_of(preview, NEW)
    assert found.fields["key"] == form.fields["key"]
    assert (found.fields["occurred_at"], found.fields["payment"]) == ("2026-10-01T12:30", OURS)
    assert found.fields["allow_new_accounts"] == "on"
    for name, values in (
        ("account", [FEES, SUSPENSE]),
        ("debit", ["1,000.5", ""]),
        ("currency", ["usd", "usd"]),
    ):
        assert [part.partition('"')[0] for part in preview.split(f'name="{name}" value="')[1:]] == values
    assert "Another person approves it" in preview


async def test_rows_are_added_and_nothing_typed_is_lost(ada: Operator) -> None:
    answer = await write(ada, fee("9.5x", payment="?"), "rows")
    assert answer.status_code == 200
    assert answer.text.count('name="account"') == 6
    assert "problem" not in answer.text
    for value in ("9.5x", FEES, SUSPENSE, "Ticket 4711", "?"):
        assert f'value="{value}"' in answer.text


WRONG: list[tuple[dict[str, Any], str]] = [
    (fee("12.345"), "USD has 2 decimals."),
    (fee("12.5", "jpy"), "JPY has no decimals."),
    (fee("-5"), "Write an amount such as 1234.50"),
    (fee("1,23"), "Write an amount such as 1234.50"),
    (fee("12,50"), "Write an amount such as 1234.50"),
    (fee("١٢"), "Write an amount such as 1234.50"),
    (fee("1e3"), "Write an amount such as 1234.50"),
    (fee("0.00"), "An amount is positive"),
    (fee("99999999999999999.00"), "An amount is positive and at most"),
    (fee("1", "xyz"), "Name a currency, such as EUR."),
    (fee("1", ""), "Name a currency, such as EUR."),
    (typed((FEES, "1", "1", "usd"), (SUSPENSE, "", "1", "usd")), "Fill in a debit or a credit"),
    (typed((FEES, "", "", "usd"), (SUSPENSE, "", "1", "usd")), "Fill in a debit or a credit"),
    (typed(("", "1", "", "usd"), (SUSPENSE, "", "1", "usd")), "Name an account."),
    (typed(("Fees!", "1", "", "usd"), (SUSPENSE, "", "1", "usd")), "must be an account"),
    (typed(("income:x", "1", "", "usd"), (SUSPENSE, "", "1", "usd")), "is not an account name"),
    (typed(("assets:nowhere", "1", "", "usd"), (SUSPENSE, "", "1", "usd")), "There is no account"),
    (typed(("assets:stripe:balance", "1", "", "usd"), (SUSPENSE, "", "1", "usd")), "only Stripe"),
    (typed((FEES, "2", "", "usd"), (SUSPENSE, "", "1.50", "usd")), "Debits exceed credits by 0.50 USD."),
    (typed((FEES, "1", "", "usd"), ("", "", "", "")), "An entry has at least two lines"),
    (fee("1", reason=" "), "Say why"),
    (fee("1", description=""), "Say what the ledger is to show."),
    (fee("1", reason="x" * 501), "at most 500"),
    (fee("1", description="a\0b"), "NUL"),
    (fee("1", occurred_at="yesterday"), "Input should be a valid datetime"),
    (fee("1", occurred_at="0001-01-01T00:00+14:00"), "must be a time that exists"),
    (fee("1", occurred_at="2999-01-01T00:00"), "not dated in the future"),
    (fee("1", payment="ch_1"), "must be the id of a payment"),
    (fee("1", payment="pay_0"), "There is no payment"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG)
async def test_what_is_wrong_stands_beside_its_field(
    ada: Operator, fields: dict[str, Any], words: str
) -> None:
    before, form = await count(ada.face), await blank(ada)
    for button in ("preview", "post"):
        answer = await ada.send(form, **fields, button=button)
        assert answer.status_code == 422
        assert words in answer.text
        assert "Nothing is posted yet" in answer.text
        assert ('aria-invalid="true"' in answer.text) is ("lines" not in words and "exceed" not in words)
        for value in filter(None, fields["account"] + fields["debit"] + fields["credit"]):
            assert f'value="{value}"' in answer.text
    assert await count(ada.face) == before


async def test_a_new_account_is_made_on_demand_alone(ada: Operator) -> None:
    rows = (("expenses:terminals", "1", "", "usd"), (SUSPENSE, "", "1", "usd"))
    assert (await write(ada, typed(*rows))).status_code == 422
    for button in ("preview", "preview", "post"):  # what a preview made is not taken for made
        answer = await write(ada, typed(*rows, allow_new_accounts="on"), button)
        assert answer.status_code == (303 if button == "post" else 200)
    assert "1.00 USD" in text_of(await ada.see("/console/ledger/accounts/expenses:terminals"))


async def test_lines_that_are_none_of_the_form_s_are_refused(ada: Operator) -> None:
    form = await blank(ada)
    answer = await ada.send(form, account=["a"], debit=["1", "2"], credit=[""], currency=[""], button="post")
    assert answer.status_code == 400
    many: dict[str, Any] = {name: [""] * 201 for name in ("account", "debit", "credit", "currency")}
    assert (await ada.send(form, **many, button="rows")).status_code == 400


async def test_another_person_approves(ada: Operator, grace: Operator) -> None:
    page = await written(ada, fee("10.01"))
    own = await ada.see(page)
    assert "You wrote this entry: another person approves it" in own
    assert [form.action for form in forms_of(own)] == ["/console/sign-out", f"{page}/reject"]
    forged = Form(f"{page}/approve", "post", form_of(own, f"{page}/reject").fields)
    answer = await ada.send(forged)
    assert answer.status_code == 403
    assert "Ada Lovelace wrote this entry: another person approves it" in answer.text
    approve = form_of(await grace.see(page), f"{page}/approve")
    answers = [await grace.send(approve, comment="Seen the bill") for _ in range(2)]
    assert {each.headers["location"] for each in answers} == {f"{page}?done=approved"}
    said = text_of(await grace.see(page))
    assert "Approved by Grace Hopper" in said
    assert "Comment Seen the bill" in said
    late = Form(f"{page}/approve", "post", {**approve.fields, "key": "another"})
    assert (await grace.send(late)).status_code == 409
    assert "Fee that stood in suspense" in text_of(await ada.see(ENTRIES, status="posted"))


async def test_an_entry_is_rejected_with_a_reason(ada: Operator, grace: Operator) -> None:
    page = await written(ada, fee("10.02", description="To be rejected"))
    assert "To be rejected" in await ada.see(ENTRIES, status="pending_approval")
    reject = form_of(await grace.see(page), f"{page}/reject")
    assert (await grace.send(reject, reason="")).status_code == 400
    assert (await grace.send(reject, reason="No bill")).status_code == 303
    assert "Rejected by Grace Hopper" in text_of(await ada.see(page))
    assert "To be rejected" in await ada.see(ENTRIES, status="rejected")
    assert "nothing posted" in await ada.see(page)
    assert not [form for form in forms_of(await grace.see(page)) if form.action.startswith(page)]


async def test_a_posted_entry_is_taken_back_once(ada: Operator) -> None:
    page = await written(ada, fee("3", description="To be taken back"))
    reverse = form_of(await ada.see(page), f"{page}/reverse")
    answers = [await ada.send(reverse, reason="Wrong month") for _ in range(2)]
    mirror = answers[0].headers["location"].partition("?")[0]
    assert answers[1].headers["location"].partition("?")[0] == mirror != page
    assert f'href="{mirror}"' in await ada.see(page)
    said = await ada.see(mirror)
    assert f'href="{page}"' in said
    assert "Reversal: To be taken back" in said
    assert not [form for form in forms_of(await ada.see(page)) if form.action.startswith(page)]
    again = await ada.send(Form(reverse.action, "post", {**reverse.fields, "key": "other"}), reason="Twice")
    assert again.status_code == 409
    key = said.partition('href="/console/ledger/transactions/')[2].partition('"')[0]
    assert "Takes back" in await ada.see(f"/console/ledger/transactions/{key}")
    assert "Taken back by" in await ada.see(f"/console/ledger/transactions/{key.removesuffix(':reversed')}")


async def test_suspense_is_cleared_from_the_proof_page(ada: Operator, grace: Operator, kept: Kept) -> None:
    proof = await ada.see("/console/ledger/proof")
    link = f"{NEW}?clears=balance_transaction%3A{kept.unknown['id']}&currency=usd"
    assert link.replace("&", "&amp;") in proof
    page = await ada.see(link)
    assert f'value="Clears {kept.unknown["id"]}: "' in page
    assert page.count('value="12.34"') == 2
    assert f'value="{SUSPENSE}"' in page
    cleared = typed(
        ("expenses:stripe_fees", "12.34", "", "USD"),
        (SUSPENSE, "", "12.34", "USD"),
        description=f"Clears {kept.unknown['id']}: a fee",
    )
    entry = await written(ada, cleared)
    await grace.send(form_of(await grace.see(entry), f"{entry}/approve"))
    assert kept.unknown["id"] not in await ada.see("/console/ledger/proof")
    await ada.see(link, 404)


@pytest.mark.parametrize(
    ("scope", "there"),
    [("ledger:read", []), ("ledger:write", ["reverse"]), ("ledger:approve", [])],
)
async def test_each_deed_wants_its_scope(
    installation: Face, ada: Operator, scope: str, there: list[str]
) -> None:
    posted = await written(ada, fee("2"))
    waiting = await written(ada, fee("20"))
    async with browser(installation.app) as http:
        other = await signed_in(installation, http, "Edsger Dijkstra", "ledger:read", scope)
        page = await other.see(posted)
        assert [form.action for form in forms_of(page)][1:] == [f"{posted}/{deed}" for deed in there]
        decides = {f"{waiting}/approve", f"{waiting}/reject"}
        shown = {form.action for form in forms_of(await other.see(waiting))} & decides
        assert shown == (decides if scope == "ledger:approve" else set())
        assert (NEW in await other.see(ENTRIES)) is (scope == "ledger:write")
        token = {"form_token": forms_of(page)[0].fields["form_token"], "key": "k", "reason": "x"}
        for path, wanted in (
            (NEW, "ledger:write"),
            (f"{posted}/reverse", "ledger:write"),
            (f"{waiting}/approve", "ledger:approve"),
            (f"{waiting}/reject", "ledger:approve"),
        ):
            answer = await other.send(Form(path, "post", token))
            assert (answer.status_code == 403) is (scope != wanted), path
        await other.see(NEW, 200 if scope == "ledger:write" else 403)


async def test_a_form_without_its_token_does_nothing(ada: Operator) -> None:
    before = await count(ada.face)
    form = await blank(ada)
    page = await written(ada, fee("2.5"))
    for action in (NEW, f"{page}/reverse"):
        forged = Form(action, "post", {**form.fields, "form_token": "0" * 64, "reason": "x"})
        assert (await ada.send(forged, **fee("1"), button="post")).status_code == 403
        theirs = Form(action, "post", form.fields)
        elsewhere = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
        assert (await ada.send(theirs, elsewhere, **fee("1"), button="post")).status_code == 403
    assert await count(ada.face) == before + 1


HOSTILE = "\"><script>alert(1)</script>{{ 7*7 }}'"


async def test_what_is_typed_is_only_text(ada: Operator, grace: Operator) -> None:
    fields = fee("11", description=HOSTILE, reason=HOSTILE)
    pages = [(await write(ada, {**fields, "debit": [HOSTILE, ""]}, "preview")).text]
    pages.append((await write(ada, fields, "preview")).text)
    entry = await written(ada, fields)
    pages.append(await ada.see(entry))
    approve = form_of(await grace.see(entry), f"{entry}/approve")
    await grace.send(approve, comment=HOSTILE)
    key = f"journal:{entry.rpartition('/')[2]}"
    pages += [
        await ada.see(path)
        for path in (
            entry,
            ENTRIES,
            "/console/ledger/transactions?kind=journal_entry",
            f"/console/ledger/transactions/{key}",
            "/console/ledger/accounts/expenses:stripe_fees?currency=usd&first=2026-10-02",
        )
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "{{ 7*7 }}" in page
    answer = await ada.http.get("/console/ledger/accounts/expenses:stripe_fees/statement.csv?currency=usd")
    assert "script" in answer.text


async def test_cells_of_a_file_are_no_formulas(ada: Operator) -> None:
    await written(ada, fee("0.75", description="=HYPERLINK(1)"))
    answer = await ada.http.get("/console/ledger/accounts/expenses:stripe_fees/statement.csv?currency=usd")
    assert "'=HYPERLINK(1)" in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{ENTRIES}?status=lost", 400),
        (f"{ENTRIES}?cursor=%25", 400),
        (f"{ENTRIES}/jrn_none", 404),
        (f"{ENTRIES}/no%00thing", 404),
        (f"{NEW}?clears=none", 404),
        (f"{NEW}?clears=a%20b", 400),
        (f"{NEW}?colour=green", 400),
    ],
)
async def test_what_cannot_be_answered_is_a_page_that_says_why(ada: Operator, path: str, status: int) -> None:
    assert "<h1>" in await ada.see(path, status)


async def test_the_list_goes_on_page_by_page(ada: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.console.journal.pages.PAGE", 1)
    first, second = [await written(ada, fee("0.5")) for _ in range(2)]
    page = await ada.see(ENTRIES)
    assert second in page
    assert first not in page
    following = page.partition('rel="next" href="')[2].partition('"')[0]
    assert first in await ada.see(following)
