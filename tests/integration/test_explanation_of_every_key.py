"""Every kind of effect key that the rules and operators make is explained by what is stored."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests import billing_builders as billing
from tests.builders import START, Json, StripeStory
from tests.road import Road

from tallystick.ledger import chart
from tallystick.ledger.book import Book
from tallystick.ledger.corrections import Draft, propose, reverse
from tallystick.ledger.entries import credit, debit
from tallystick.ledger.journal import Person
from tallystick.ledger.opening import Opening, OpeningBalance
from tallystick.pipeline.pulls import adoption
from tallystick.pipeline.rebuild.check import check
from tallystick.pipeline.rebuild.explanation import explain

OURS = "pay_" + "0" * 26
_ID = re.compile(r"\b(pi|ch|txn|in|pr|cbtxn|re|po|tu|du|jrn)_[0-9a-z]+")

Telling = Callable[[StripeStory], None]


def _sale_with_its_refunds(story: StripeStory) -> None:
    """Paid in euros, settled in dollars at two rates; one refund fails."""
    charge = story.succeed(story.intent(50_000, "eur", ours=OURS))
    story.refund(charge, 9000, ours=True)
    failed = story.refund(charge, 8000)
    story.update_refund(charge, failed, "failed")


def _several_captures(story: StripeStory) -> None:
    options = {"card": {"request_multicapture": "if_available"}}
    intent = story.intent(9000, capture_method="manual", payment_method_options=options)
    charge = story.authorise(intent)
    charge["payment_method_details"] = {"card": {"multicapture": {"status": "available"}}}
    story.capture(intent, charge, 4000)


def _bank_transfers(story: StripeStory) -> None:
    intent = story.intent(5000, ours=OURS, payment_method_types=["card", "customer_balance"])
    for part in (2000, 3000):
        charge = story.charge(intent)
        charge.update(amount=part, amount_captured=part)
        charge["payment_method_details"] = {"type": "customer_balance"}
        story.event("charge.succeeded", charge)
        story.settle(charge)


def _late_bank_debit(story: StripeStory) -> None:
    charge = story.succeed(story.intent(7000, ours=OURS))
    back = story.balance_transaction("payment_failure_refund", charge, -7000, 0, [])
    charge.update(status="failed", failure_balance_transaction=back["id"])
    story.event("charge.failed", charge)


def _invoices(story: StripeStory) -> None:
    """One paid by a card, one past Stripe; and a sale that turns out to pay one."""
    of = billing.invoice(story, 1000)
    intent = story.intent(1000)
    row = billing.attach(story, of, intent, 1000)
    story.succeed(intent)
    billing.paid(story, row)
    billing.paid_out_of_band(story, billing.invoice(story, 300))
    of, intent = billing.invoice(story, 2000), story.intent(2000, ours=OURS)
    story.succeed(intent)
    billing.paid(story, billing.attach(story, of, intent, 2000))


def _payment_record(story: StripeStory) -> None:
    of = billing.invoice(story, 800)
    row = billing.attach(story, of, {"id": "pi_none"}, 800)
    row["payment"] = {"type": "payment_record", "payment_record": "pr_000001"}
    billing.paid(story, row)


def _customer_balance(story: StripeStory) -> None:
    story.customer_balance_transactions.append(
        {
            "id": "cbtxn_000001",
            "object": "customer_balance_transaction",
            "amount": -600,
            "currency": "usd",
            "customer": "cus_1",
            "created": START + 5,
            "type": "adjustment",
            "invoice": None,
            "credit_note": None,
        }
    )
    customer = {"id": "cus_1", "object": "customer", "created": START, "balance": -600, "metadata": {}}
    made = story.event("customer.updated", customer)
    made["data"]["previous_attributes"] = {"balance": 0}


def _dispute(story: StripeStory) -> None:
    story.dispute(story.succeed(story.intent(6000)), ["needs_response", "under_review", "won"])


def _payouts(story: StripeStory) -> None:
    story.payout(900, "usd", ["in_transit", "paid", "failed"])


def _topups(story: StripeStory) -> None:
    topup: Json = {
        "id": "tu_000001",
        "object": "topup",
        "amount": 2500,
        "currency": "usd",
        "created": START,
        "status": "succeeded",
        "metadata": {},
    }
    topup["balance_transaction"] = story.balance_transaction("topup", topup, 2500, 0, [])["id"]
    story.event("topup.succeeded", topup)
    story.balance_transaction("topup_reversal", topup, -2500, 0, [])
    topup["status"] = "reversed"
    story.event("topup.reversed", topup)


def _connect(story: StripeStory) -> None:
    """A transfer to a connected account, and what the platform keeps as its fee."""
    transfer = {"id": "tr_000001", "object": "transfer", "amount": 3000, "currency": "usd"}
    fee = {"id": "fee_000001", "object": "application_fee", "amount": 400, "currency": "usd"}
    story.balance_transaction("transfer", transfer, -3000, 0, [])
    story.balance_transaction("application_fee", fee, 400, 0, [])


CHARGED = {"charge.succeeded", "payment_intent.succeeded", "charge.updated", "balance_transaction"}
CHARGED = {"charge.succeeded", "payment_intent.succeeded", "charge.updated"}
MOVED = {"balance_transaction"}
REFUND_ENDED = {"refund.failed", "refund.updated", "charge.refund.updated"}
STORIES: dict[Telling, dict[str, set[str]]] = {
    _sale_with_its_refunds: {
        "charge:ch:captured": {*CHARGED, *MOVED, "charge.refunded"},
        "payment:pi:sale": {*CHARGED, *MOVED, "charge.refunded"},
        "balance_transaction:txn": MOVED,
        "fx:txn": MOVED,
        "refund:re": {*REFUND_ENDED, *MOVED, "refund.created"},
        "refund:re:applied": {*REFUND_ENDED, *MOVED, "refund.created"},
        "refund:re:reversed": {*REFUND_ENDED, *MOVED},
        "refund:re:applied:reversed": REFUND_ENDED,
    },
    _several_captures: {"balance_transaction:txn:sale": MOVED},
    _bank_transfers: {"charge:ch:sale": {"charge.succeeded", "charge.updated", *MOVED}},
    _late_bank_debit: {
        "charge:ch:captured:reversed": {"charge.failed", *MOVED},
        "payment:pi:sale:reversed": {"charge.failed"},
    },
    _invoices: {
        "invoice:in:paid:pi": {*CHARGED, "invoice.paid", "invoice_payment.paid"},
        "invoice:in:paid:out_of_band": {"invoice.paid"},
        "payment:pi:sale:reversed:in": {"invoice.paid", "invoice_payment.paid"},
    },
    _payment_record: {"invoice:in:paid:pr": {"invoice.paid", "invoice_payment.paid"}},
    _customer_balance: {"customer_balance_transaction:cbtxn": {"customer.updated"}},
    _dispute: {"dispute:du:decided:txn": {"charge.dispute.closed"}},
    _payouts: {
        "payout:po:paid": {"payout.paid", "payout.failed", *MOVED},
        "payout:po:unpaid": {"payout.failed", *MOVED},
    },
    _topups: {
        "topup:tu:succeeded": {"topup.succeeded", "topup.reversed", *MOVED},
        "topup:tu:reversed": {"topup.reversed", *MOVED},
    },
    _connect: {"balance_transaction:txn": MOVED},
}


def shape(effect_key: str) -> str:
    """A key without its numbers: ``charge:ch:captured``."""
    return _ID.sub(r"\1", effect_key)


async def explained(engine: AsyncEngine) -> dict[str, set[str]]:
    """By the shape of its keys, what tells of an effect; every key that stands is asked for."""
    async with engine.connect() as connection:
        keys = list((await connection.execute(text("SELECT effect_key FROM ledger_transactions"))).scalars())
    told: dict[str, set[str]] = {}
    for key in keys:
        found = await explain(engine, key)
        assert found.implied_by, f"nothing stored implies {key}"
        assert all(each.agrees for each in found.implied_by), key
        told.setdefault(shape(key), set()).update(each.type or each.kind.value for each in found.implied_by)
    return told


@asynccontextmanager
async def opened(engine: AsyncEngine) -> AsyncIterator[None]:
    """Books that were opened before anything of the stories happened; they are what their inputs say."""
    cut_over = datetime.fromtimestamp(START, UTC) - timedelta(days=1)
    balances = (OpeningBalance("assets:stripe:balance", "usd", 500),)
    await adoption.adopt(engine, adoption.Derived(Opening(cut_over, balances), {}), "Ada")
    yield
    assert (await check(engine)).equal


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__.strip("_"))
async def test_what_stripe_told_explains_its_effects(engine: AsyncEngine, tell: Telling) -> None:
    story = StripeStory(settlement="usd")
    tell(story)
    road = Road(engine, story)
    async with opened(engine):
        await road.deliver(story.events)
        await road.finish()
        found = await explained(engine)
    assert {key: found.get(key) for key in STORIES[tell]} == STORIES[tell]


async def test_the_opening_and_an_operators_entries_explain_themselves(engine: AsyncEngine) -> None:
    book, person = Book(), Person("ada")
    legs = (debit(chart.BANK, 100, "usd"), credit(chart.STRIPE_FEES, 100, "usd"))
    async with opened(engine):
        async with engine.begin() as connection:
            draft = Draft(description="A fee given back", reason="as the bank says", lines=legs)
            entry, done = await propose(connection, book, draft, person, {"*": None})
            await book.settle_balances(connection, done)
        async with engine.begin() as connection:
            _, done = await reverse(connection, book, entry.id, person, {"*": None}, reason="a slip")
            await book.settle_balances(connection, done)
        assert await explained(engine) == {
            "opening": {"opening"},
            "journal:jrn": {"journal_entry"},
            "journal:jrn:reversed": {"journal_entry"},
        }


def test_every_key_of_the_docs_is_tried() -> None:
    tried = {key for told_by in STORIES.values() for key in told_by}
    page = Path(__file__).parents[2].joinpath("docs", "ledger.md").read_text()
    table = page.split("| fact | effect key |", 1)[1].split("\n\n", 1)[0]
    cells = (row.split("|")[2] for row in table.splitlines() if "|" in row)
    documented = {
        re.sub(r"\b[A-Z]+\b", lambda name: "du" if name[0] == "DP" else name[0].lower(), key)
        for cell in cells
        for key in re.findall(r"`([a-z_]+:[^`]+)`", cell)
    }
    assert len(documented) > 20
    assert documented <= tried
