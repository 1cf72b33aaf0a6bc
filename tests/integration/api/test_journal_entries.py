"""Operators' journal entries over HTTP: posted, approved by another person, taken back once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_refusals import assert_problem
from tests.road import owner_engine

from tallystick.api.keys import create_key, rotate_key
from tallystick.embedded import EmbeddedValkey
from tallystick.ledger.book import Book
from tallystick.ledger.corrections import posted_entries
from tallystick.ledger.journal import posting
from tallystick.ledger.trial_balances import trial_balance

Json = dict[str, Any]
SMALL, LARGE = 1000, 1001
"""In dollars: the most that one person may post alone, and one cent more."""


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all; a second person is needed above ten dollars, never in yen, and else always."""
    above = f"usd={SMALL}, jpy=none, *=0"
    async with open_face(await databases.create(), valkey, approval_above=above) as made:
        yield made


class Clerk:
    """Somebody with a key of their own."""

    def __init__(self, face: Face, key: str) -> None:
        self.face = face
        self.headers = {"Authorization": f"Bearer {key}"}

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = {**self.headers, **({"Idempotency-Key": key} if key else {})}
        return await self.face.http.post(path, json=body, headers=headers)

    async def write(self, amount: int, **changes: Any) -> Json:
        answer = await self.post("/journal-entries", correction(amount, **changes))
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made


async def clerk(face: Face, name: str, *scopes: str) -> Clerk:
    async with face.app.engine.begin() as connection:
        given = scopes or ("ledger:read", "ledger:write", "ledger:approve")
        return Clerk(face, (await create_key(connection, name, given))[1])


@pytest.fixture
async def ada(face: Face) -> Clerk:
    return await clerk(face, "Ada Lovelace")


@pytest.fixture
async def grace(face: Face) -> Clerk:
    return await clerk(face, "Grace Hopper")


def lines(amount: int, currency: str = "usd") -> list[Json]:
    return [
        {"account": "expenses:stripe_fees", "direction": "debit", "amount": amount, "currency": currency},
        {"account": "suspense:stripe", "direction": "credit", "amount": amount, "currency": currency},
    ]


def correction(amount: int, currency: str = "usd", **changes: Any) -> Json:
    said = {"description": "Fee that stood in suspense", "reason": "Ticket 4711"}
    return {**said, "lines": lines(amount, currency), **changes}


async def suspense(face: Face, currency: str = "usd") -> int:
    async with face.app.engine.connect() as connection:
        rows = await trial_balance(connection)
    assert sum(row.debits - row.credits for row in rows if row.currency == currency) == 0
    return sum(row.balance for row in rows if (row.account, row.currency) == ("suspense:stripe", currency))


async def test_a_small_entry_is_posted_at_once(face: Face, ada: Clerk) -> None:
    before = await suspense(face)
    at = "2026-01-31T12:00:00Z"
    made = await ada.write(SMALL, occurred_at=at)
    assert (made["status"], made["needs_approval"], made["decision"]) == ("posted", False, None)
    assert made["author"]["name"] == "Ada Lovelace"
    assert made["effect_key"] == f"journal:{made['id']}"
    assert await suspense(face) == before - SMALL
    async with face.app.engine.connect() as connection:
        query = text("SELECT * FROM ledger_transactions WHERE effect_key = :key")
        row = (await connection.execute(query, {"key": made["effect_key"]})).one()
    assert (row.kind, row.source, row.occurred_at) == (
        "journal_entry", made["id"], datetime(2026, 1, 31, 12, tzinfo=UTC),
    )  # fmt: skip
    shown = await face.http.get(f"/journal-entries/{made['id']}", headers=ada.headers)
    assert shown.json() == made


async def test_a_large_entry_waits_for_another_person(face: Face, ada: Clerk, grace: Clerk) -> None:
    before = await suspense(face)
    made = await ada.write(LARGE)
    path = f"/journal-entries/{made['id']}"
    assert (made["status"], made["effect_key"]) == ("pending_approval", None)
    assert await suspense(face) == before
    assert_problem(await ada.post(f"{path}/approve"), 403, "second_person_required")
    assert_problem(await grace.post(f"{path}/reverse", {"reason": "too soon"}), 409, "invalid_state")
    approved = (await grace.post(f"{path}/approve", {"comment": "seen"})).json()
    assert (approved["status"], approved["decision"]["by"]["name"]) == ("posted", "Grace Hopper")
    assert approved["decision"]["comment"] == "seen"
    assert await suspense(face) == before - LARGE
    assert_problem(await grace.post(f"{path}/approve"), 409, "invalid_state")
    assert_problem(await grace.post(f"{path}/reject", {"reason": "late"}), 409, "invalid_state")


async def test_another_key_does_not_make_another_person(face: Face) -> None:
    """Neither one that replaces the first, nor one under the same name written otherwise."""
    scopes = ("ledger:write", "ledger:approve")
    async with face.app.engine.begin() as connection:
        key_id, secret = await create_key(connection, "Mary Shelley", scopes)
    made = await Clerk(face, secret).write(LARGE)
    async with face.app.engine.begin() as connection:
        _, rotated = await rotate_key(connection, key_id, grace=timedelta(days=1))
        _, respelt = await create_key(connection, " mary  SHELLEY", scopes)
    for other in (rotated, respelt):
        answer = await Clerk(face, other).post(f"/journal-entries/{made['id']}/approve")
        assert_problem(answer, 403, "second_person_required")


async def test_what_is_rejected_is_never_posted_and_an_author_may_withdraw(
    face: Face, ada: Clerk, grace: Clerk
) -> None:
    before = await suspense(face)
    for person in (grace, ada):
        made = await ada.write(LARGE)
        path = f"/journal-entries/{made['id']}"
        rejected = (await person.post(f"{path}/reject", {"reason": "wrong account"})).json()
        assert (rejected["status"], rejected["decision"]["comment"]) == ("rejected", "wrong account")
        assert_problem(await grace.post(f"{path}/approve"), 409, "invalid_state")
    assert await suspense(face) == before


async def test_an_entry_is_taken_back_once(face: Face, ada: Clerk, grace: Clerk) -> None:
    before = await suspense(face)
    made = await ada.write(SMALL, occurred_at="2026-01-31T12:00:00Z")
    path = f"/journal-entries/{made['id']}/reverse"
    early = {"reason": "no", "occurred_at": "2026-01-31T11:59:59Z"}
    assert (await ada.post(path, early)).json()["param"] == "occurred_at"
    answers = await asyncio.gather(*(ada.post(path, {"reason": "It was right"}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    (back,) = (answer.json() for answer in answers if answer.status_code == 201)
    assert (back["reverses"], back["effect_key"]) == (made["id"], f"journal:{made['id']}:reversed")
    assert await suspense(face) == before
    shown = (await face.http.get(f"/journal-entries/{made['id']}")).json()
    assert shown["reversed_by"] == back["id"]
    assert_problem(await grace.post(path, {"reason": "again"}), 409, "invalid_state")
    answer = await grace.post(f"/journal-entries/{back['id']}/reverse", {"reason": "and forth"})
    assert_problem(answer, 409, "invalid_state")


async def test_of_two_pending_reversals_one_is_posted(face: Face, ada: Clerk, grace: Clerk) -> None:
    made = await ada.write(LARGE)
    await grace.post(f"/journal-entries/{made['id']}/approve")
    before = await suspense(face)
    path = f"/journal-entries/{made['id']}/reverse"
    pending = [(await ada.post(path, {"reason": "twice asked for"})).json() for _ in range(2)]
    assert [each["status"] for each in pending] == ["pending_approval"] * 2
    approvals = [grace.post(f"/journal-entries/{each['id']}/approve") for each in pending]
    assert sorted(answer.status_code for answer in await asyncio.gather(*approvals)) == [200, 409]
    assert await suspense(face) == before + LARGE
    shown = [(await face.http.get(f"/journal-entries/{each['id']}")).json() for each in pending]
    assert sorted(each["status"] for each in shown) == ["pending_approval", "posted"]


async def test_two_who_approve_at_once_post_it_once(face: Face, ada: Clerk, grace: Clerk) -> None:
    third = await clerk(face, "Emmy Noether")
    before = await suspense(face)
    made = await ada.write(LARGE)
    path = f"/journal-entries/{made['id']}/approve"
    answers = await asyncio.gather(*(each.post(path) for each in (grace, third) * 4))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert await suspense(face) == before - LARGE


async def test_the_same_request_again_posts_nothing_more(face: Face, ada: Clerk) -> None:
    before = await suspense(face)
    answers = await asyncio.gather(
        *(ada.post("/journal-entries", correction(SMALL), key="once") for _ in range(5))
    )
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert await suspense(face) == before - SMALL


async def test_limits_are_by_currency(ada: Clerk) -> None:
    assert (await ada.write(10**9, currency="jpy"))["status"] == "posted"
    assert (await ada.write(1, currency="eur"))["status"] == "pending_approval"
    both = [*lines(1), *lines(1, "eur")]
    assert (await ada.write(1, lines=both))["status"] == "pending_approval"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"lines": [*lines(5)[:1], *lines(4)[1:]]}, "unbalanced_entry", "lines"),
        ({"lines": [*lines(5)[:1], *lines(5, "eur")[1:]]}, "unbalanced_entry", "lines"),
        ({"lines": lines(0)}, "invalid_amount", "lines.0.amount"),
        ({"lines": lines(-1)}, "invalid_amount", "lines.0.amount"),
        ({"lines": lines(10**15 + 1)}, "invalid_amount", "lines.0.amount"),
        ({"lines": lines(1, "xyz")}, "unknown_currency", "lines.0.currency"),
        ({"lines": lines(1)[:1]}, "invalid_request", "lines"),
        ({"lines": [{**lines(1)[0], "account": "profit:mine"}, lines(1)[1]]}, "invalid_request",
         "lines.0.account"),
        ({"lines": [{**lines(1)[0], "account": "assets:stripe:balance"}, lines(1)[1]]}, "invalid_request",
         "lines.0.account"),
        ({"lines": [{**lines(1)[0], "account": "assets:stripe:issuing"}, lines(1)[1]]}, "invalid_request",
         "lines.0.account"),
        ({"lines": [{**lines(1)[0], "account": "expenses:typo"}, lines(1)[1]]}, "invalid_request",
         "lines.0.account"),
        ({"occurred_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "invalid_request",
         "occurred_at"),
        ({"payment": "pay_none"}, "invalid_request", "payment"),
        ({"reason": ""}, "invalid_request", "reason"),
    ],
)  # fmt: skip
async def test_what_cannot_be_posted(face: Face, ada: Clerk, changes: Json, code: str, param: str) -> None:
    answer = await ada.post("/journal-entries", correction(1, **changes))
    assert_problem(answer, 400, code)
    assert answer.json()["param"] == param
    if code == "unbalanced_entry":
        assert answer.json()["differences"] in ({"usd": 1}, {"eur": -5, "usd": 5})


async def test_a_new_account_is_made_on_request_and_then_in_use(ada: Clerk) -> None:
    rent = [{**lines(7)[0], "account": "expenses:rent"}, lines(7)[1]]
    assert (await ada.write(7, lines=rent, allow_new_accounts=True))["status"] == "posted"
    assert (await ada.write(7, lines=rent))["status"] == "posted"


async def test_an_entry_about_a_payment_stands_with_it(face: Face, ada: Clerk) -> None:
    paid = await face.pay()
    made = await ada.write(5, payment=paid["id"])
    ledger = (await face.http.get(f"/payments/{paid['id']}")).json()["ledger"]
    assert made["effect_key"] in {transaction["effect_key"] for transaction in ledger}


async def test_scopes_part_reading_writing_and_approving(face: Face) -> None:
    reader, writer, approver = [
        await clerk(face, f"only {word}", f"ledger:{word}") for word in ("read", "write", "approve")
    ]
    made = await writer.write(LARGE)
    path = f"/journal-entries/{made['id']}"
    for answer in (
        await reader.post("/journal-entries", correction(1)),
        await approver.post("/journal-entries", correction(1)),
        await writer.post(f"{path}/approve"),
        await writer.post(f"{path}/reject", {"reason": "x"}),
        await approver.post(f"{path}/reverse", {"reason": "x"}),
        await face.http.get("/journal-entries", headers=writer.headers),
    ):
        assert_problem(answer, 403, "insufficient_scope")
    assert (await approver.post(f"{path}/approve")).status_code == 200
    assert_problem(await reader.face.http.get("/journal-entries/jrn_none"), 404, "not_found")


async def test_entries_are_listed_by_status_in_pages(face: Face, ada: Clerk) -> None:
    waiting = [(await ada.write(LARGE))["id"] for _ in range(3)]
    found, cursor = [], None
    while True:
        query = {"status": "pending_approval", "limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await face.http.get("/journal-entries", params=query)).json()
        assert {entry["status"] for entry in page["data"]} == {"pending_approval"}
        found += [entry["id"] for entry in page["data"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert found[:3] == waiting[::-1]
    assert found == sorted(set(found), reverse=True)


async def test_the_stored_entries_make_the_same_transactions_again(face: Face, ada: Clerk) -> None:
    """What a rebuild relies on: they all stand, with these legs, and nothing else of their kind."""
    await ada.post(f"/journal-entries/{(await ada.write(3))['id']}/reverse", {"reason": "x"})
    async with face.app.engine.connect() as connection:
        again = [posting(entry) for entry in await posted_entries(connection)]
        standing = (
            await connection.execute(
                text("SELECT effect_key FROM ledger_transactions WHERE kind LIKE 'journal%'")
            )
        ).scalars()
        assert sorted(item.effect_key for item in again) == sorted(standing)
        posted = await Book().post(connection, again)
    assert (posted.new, posted.conflicts) == (frozenset(), frozenset())


@pytest.mark.parametrize("table", ["journal_entries", "journal_decisions"])
async def test_the_database_refuses_to_change_what_was_decided(face: Face, table: str) -> None:
    """Also to the owner of the tables; the service has no right to it in the first place."""
    column = {"journal_entries": "reason", "journal_decisions": "comment"}[table]
    async with owner_engine(face.app.settings.database_url) as owner:
        for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
            for engine, said in ((owner, "append-only"), (face.app.engine, "permission denied")):
                with pytest.raises(DBAPIError, match=said):
                    async with engine.begin() as connection:
                        await connection.execute(text(statement))
