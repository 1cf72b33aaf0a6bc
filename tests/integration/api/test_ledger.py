"""/ledger: accounts, statements, ledger transactions of whatever they belong to, trial balances."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from tests.builders import Json, StripeStory
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_refusals import assert_problem
from tests.road import Road

from tallystick.embedded import EmbeddedValkey
from tallystick.ledger.seals import horizon, seal

OURS = "pay_" + "7".zfill(26)
CUSTOMER = "cus_shopper"


class Told:
    """What happened at Stripe, as it came here: two payments, a refund, a dispute and a payout."""

    def __init__(self) -> None:
        self.story = StripeStory()
        self.intent = self.story.intent(2500, "usd", ours=OURS, customer=CUSTOMER)
        self.charge = self.story.succeed(self.intent)
        self.refund = self.story.refund(self.charge, 700, status="succeeded", ours=True)
        self.other = self.story.intent(4000, "usd")
        self.dispute = self.story.dispute(self.story.succeed(self.other), ["needs_response", "lost"])
        self.payout = self.story.payout(1500, "usd", ["paid"])


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all: they only look."""
    async with open_face(await databases.create(), valkey) as made:
        yield made


@pytest.fixture(scope="module")
async def told(face: Face) -> Told:
    """Everything is posted, and half of it sealed."""
    made = Told()
    road = Road(face.app.engine, made.story)
    await road.deliver(made.story.events)
    await seal(face.app.engine, await horizon(face.app.engine))
    await road.finish()
    async with face.app.engine.begin() as connection:
        query = text("UPDATE refunds SET id = 'ref_ours' WHERE stripe_refund = :id")
        await connection.execute(query, {"id": made.refund["id"]})
    return made


async def get(face: Face, path: str, **query: Any) -> Json:
    names = {"since": "from", "until": "to"}
    answer = await face.http.get(path, params={names.get(name, name): value for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def keys(face: Face, **query: Any) -> set[str]:
    """The effect keys of all pages, walked two at a time."""
    pages = await walked(face, "/ledger/transactions", limit=2, **query)
    items = list(itertools.chain.from_iterable(page["data"] for page in pages))
    assert len({item["effect_key"] for item in items}) == len(items)
    assert [item["occurred_at"] for item in items] == sorted(
        (item["occurred_at"] for item in items), reverse=True
    )
    return {item["effect_key"] for item in items}


async def walked(face: Face, path: str, **query: Any) -> list[Json]:
    pages = [await get(face, path, **query)]
    while pages[-1]["has_more"]:
        pages.append(await get(face, path, **query, cursor=pages[-1]["next_cursor"]))
    return pages


def booked(told: Told, source: str) -> set[str]:
    """The keys of what Stripe booked for an object."""
    found = told.story.balance_transactions
    return {f"balance_transaction:{txn['id']}" for txn in found if txn["source"]["id"] == source}


async def test_transactions_of_whatever_they_belong_to(face: Face, told: Told) -> None:
    charge, refund, dispute, payout = (
        found["id"] for found in (told.charge, told.refund, told.dispute, told.payout)
    )
    intent = told.intent["id"]
    everything = await keys(face)
    capture = {f"charge:{charge}:captured", f"payment:{intent}:sale"}
    gone = {f"refund:{refund}", f"refund:{refund}:applied"} | booked(told, refund)
    paid = capture | booked(told, charge) | gone
    assert await keys(face, payment=OURS) == await keys(face, payment=intent) == paid
    assert await keys(face, customer=CUSTOMER) == paid
    assert await keys(face, charge=charge) == {f"charge:{charge}:captured"} | booked(told, charge)
    assert await keys(face, refund=refund) == await keys(face, refund="ref_ours") == gone
    decided = {key for key in everything if key.startswith(f"dispute:{dispute}:")}
    assert decided
    assert await keys(face, dispute=dispute) == decided | booked(told, dispute)
    assert await keys(face, payout=payout) == {f"payout:{payout}:paid"} | booked(told, payout)
    [txn] = (key.removeprefix("balance_transaction:") for key in booked(told, charge))
    assert await keys(face, balance_transaction=txn) == booked(told, charge)
    assert await keys(face, effect_key=f"refund:{refund}") == {f"refund:{refund}"}
    assert await keys(face, payment=OURS, kind="refund") == {f"refund:{refund}"}
    assert await keys(face, payment=OURS, payout=payout) == set(), "both must hold"
    assert await keys(face, customer="cus_nobody") == set()
    assert everything > paid | decided


async def test_what_an_event_tells_of_whoever_told_first(face: Face, told: Told) -> None:
    capture = {f"charge:{told.charge['id']}:captured", f"payment:{told.intent['id']}:sale"}
    events = {
        event["type"]: event["id"]
        for event in told.story.events
        if event["data"]["object"]["id"] in (told.charge["id"], told.intent["id"])
    }
    for kind in ("charge.succeeded", "payment_intent.succeeded"):
        assert await keys(face, event=events[kind]) == capture
    assert await keys(face, event="evt_none") == set()


async def test_transactions_by_time_and_kind(face: Face, told: Told) -> None:
    pages = await walked(face, "/ledger/transactions", limit=3)
    items = list(itertools.chain.from_iterable(page["data"] for page in pages))
    middle = items[len(items) // 2]["occurred_at"]
    before = {item["effect_key"] for item in items if item["occurred_at"] < middle}
    assert await keys(face, until=middle) == before != set()
    assert await keys(face, since=middle) == {item["effect_key"] for item in items} - before
    assert await keys(face, since=middle, until=middle) == set()
    payouts = await keys(face, kind="payout_paid")
    assert payouts == {f"payout:{told.payout['id']}:paid"}


async def test_a_transaction_by_its_number_and_by_its_key(face: Face, told: Told) -> None:
    key = f"refund:{told.refund['id']}:applied"
    found = await get(face, f"/ledger/transactions/{key}")
    assert found["payment"] == OURS
    assert found["source"].startswith("evt_")
    assert [(leg["account"], leg["direction"], leg["amount"]) for leg in found["entries"]] == [
        ("revenue:refunds", "debit", 700),
        ("liabilities:unapplied", "credit", 700),
    ]
    assert await get(face, f"/ledger/transactions/{found['id']}") == found
    for missing in ("999999", "refund:re_none", "9" * 30):
        assert_problem(await face.http.get(f"/ledger/transactions/{missing}"), 404, "not_found")


@pytest.mark.parametrize("account", ["assets:stripe:balance", "assets%3Astripe%3Abalance"])
async def test_a_statement(face: Face, told: Told, account: str) -> None:
    path = f"/ledger/accounts/{account}/statement"
    whole = await get(face, path, currency="usd")
    pages = await walked(face, path, currency="usd", limit=2)
    assert list(itertools.chain.from_iterable(page["data"] for page in pages)) == whole["data"]
    running = 0
    for line in whole["data"]:
        running += line["amount"] if line["direction"] == "debit" else -line["amount"]
        assert line["balance"] == running
    stripe = sum(txn["net"] for txn in told.story.balance_transactions)
    assert (whole["opening_balance"], whole["closing_balance"], running) == (0, stripe, stripe)
    assert {(page["opening_balance"], page["closing_balance"]) for page in pages} == {(0, stripe)}
    third = whole["data"][2]
    part = await get(face, path, currency="usd", since=third["occurred_at"])
    earlier = [line for line in whole["data"] if line["occurred_at"] < third["occurred_at"]]
    assert part["data"] == whole["data"][len(earlier) :]
    assert part["opening_balance"] == (earlier[-1]["balance"] if earlier else 0)
    assert (part["from"], part["to"]) == (third["occurred_at"], None)
    standing = await get(face, f"/ledger/accounts/{account}", at=third["occurred_at"])
    upto = [line for line in whole["data"] if line["occurred_at"] <= third["occurred_at"]]
    assert standing["balances"][0]["balance"] == upto[-1]["balance"]


async def test_accounts_and_what_stands_on_them(face: Face, told: Told) -> None:
    whole = await get(face, "/ledger/accounts")
    pages = await walked(face, "/ledger/accounts", limit=3)
    assert list(itertools.chain.from_iterable(page["data"] for page in pages)) == whole["data"]
    balances = {line["account"]: line["balance"] for line in whole["data"]}
    assert (balances["assets:bank"], balances["revenue:payments"], balances["revenue:refunds"]) == (
        1500,
        6500,
        700,
    )
    assert await get(face, "/ledger/accounts", at="2099-01-01T00:00:00Z") == {
        **whole,
        "at": "2099-01-01T00:00:00Z",
    }
    long_ago = await get(face, "/ledger/accounts", at="2001-01-01T00:00:00Z", currency="usd")
    assert {line["balance"] for line in long_ago["data"]} == {0}
    revenue = await get(face, "/ledger/accounts", type="revenue")
    assert [line["account"] for line in revenue["data"]] == ["revenue:payments"]
    bank = await get(face, "/ledger/accounts/assets:bank")
    assert (bank["type"], bank["normal_balance"]) == ("asset", "debit")
    assert [line["balance"] for line in bank["balances"]] == [1500]


async def test_the_trial_balance_now_then_and_over_a_period(face: Face, told: Told) -> None:
    now = await get(face, "/ledger/trial-balance")
    then = await get(face, "/ledger/trial-balance", at="2099-01-01T00:00:00Z")
    assert (now["at"], then["at"]) == (None, "2099-01-01T00:00:00Z")
    assert {**then, "at": None} == now
    assert (await get(face, "/ledger/trial-balance", at="2001-01-01T00:00:00Z"))["data"] == []
    [paid] = (await get(face, "/ledger/transactions", kind="payout_paid"))["data"]
    period = await get(face, "/ledger/trial-balance", since=paid["occurred_at"])
    assert period["object"] == "period_trial_balance"
    lines = {line["account"]: line for line in period["data"]}
    bank = lines["assets:bank"]
    assert (bank["opening"], bank["debits"], bank["credits"], bank["closing"]) == (0, 1500, 0, 1500)
    revenue = lines["revenue:payments"]
    assert (revenue["opening"], revenue["closing"]) == (6500, 6500)
    assert all(total["balanced"] for total in period["totals"])
    closing = {line["account"]: line["closing"] for line in period["data"]}
    assert closing == {line["account"]: line["balance"] for line in now["data"]}


async def test_what_went_out_with_a_payout(face: Face, told: Told) -> None:
    path = f"/ledger/payouts/{told.payout['id']}"
    assert_problem(await face.http.get(path), 404, "not_found", "payout")
    txns = sorted(
        txn["id"]
        for txn in told.story.balance_transactions
        if txn["source"]["id"] in (told.charge["id"], told.refund["id"])
    )
    async with face.app.engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO payout_listings (payout, transactions, net) VALUES (:payout, 2, 1500)"),
            {"payout": told.payout["id"]},
        )
        await connection.execute(
            text("INSERT INTO payout_transactions SELECT :payout, unnest(CAST(:txns AS text[]))"),
            {"payout": told.payout["id"], "txns": txns},
        )
    pages = await walked(face, path, limit=1)
    assert [page["data"][0]["balance_transaction"] for page in pages] == txns
    assert {page["data"][0]["payment"] for page in pages} == {OURS}
    assert {(page["status"], page["transactions"], page["net"]) for page in pages} == {("pending", 2, 1500)}


async def test_what_cannot_be_answered(face: Face, told: Told) -> None:
    statement = "/ledger/accounts/assets:bank/statement"
    backwards = "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z"
    assert_problem(await face.http.get("/ledger/accounts/assets:nowhere"), 404, "not_found", "account")
    assert_problem(await face.http.get("/ledger/accounts/no%00thing"), 404, "not_found", "name")
    assert_problem(await face.http.get(f"{statement}?currency=isk"), 404, "not_found", "account")
    for path, param in (
        (statement, "currency"),
        (f"{statement}?currency=usd&cursor=x", "cursor"),
        (f"{statement}?currency=usd&cursor=MS54", "cursor"),
        (f"{statement}?currency=usd&{backwards}", "to"),
        ("/ledger/accounts?cursor=MS54", "cursor"),
        ("/ledger/transactions?cursor=MS54", "cursor"),
        ("/ledger/transactions?from=yesterday", "from"),
        (f"/ledger/transactions?{backwards}", "to"),
        ("/ledger/trial-balance?at=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "at"),
    ):
        assert_problem(await face.http.get(path), 400, "invalid_request", param)


async def test_reading_the_ledger_needs_its_scope(face: Face) -> None:
    key = await face.key("payments:read")
    for path in ("accounts", "accounts/assets:bank", "accounts/assets:bank/statement?currency=usd",
                 "transactions", "transactions/1", "payouts/po_1", "trial-balance"):  # fmt: skip
        answer = await face.http.get(f"/ledger/{path}", headers={"Authorization": f"Bearer {key}"})
        assert_problem(answer, 403, "insufficient_scope")
