"""Order does not matter: any permutation, repetition and batching of events ends in the same books."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import billing_builders as billing
from tests.builders import Json, StripeStory
from tests.conftest import Databases
from tests.road import Road, picture

from tallystick.db.session import open_engine
from tallystick.settings import load_settings

AMOUNTS = st.integers(min_value=500, max_value=900_000)
REFUNDS = st.lists(
    st.tuples(
        st.sampled_from([1, 3, 7]),
        st.sampled_from(["succeeded", "pending", "pending then succeeded", "failed", "canceled"]),
        st.booleans(),
    ),
    max_size=3,
)
PAYMENTS = st.fixed_dictionaries(
    {
        "amount": AMOUNTS,
        "currency": st.sampled_from(["usd", "eur", "jpy"]),
        "ours": st.booleans(),
        "declines": st.integers(min_value=0, max_value=2),
        "action": st.booleans(),
        "end": st.sampled_from(
            ["open", "canceled", "succeeded", "captured", "captured in part", "authorised", "let go"]
        ),
        "for": st.sampled_from(["nothing", "checkout", "invoice"]),
        "refunds": REFUNDS,
        "dispute": st.sampled_from(
            [
                [],
                ["needs_response"],
                ["needs_response", "under_review", "won"],
                ["needs_response", "lost"],
                ["warning_needs_response", "needs_response", "under_review", "lost"],
                ["warning_needs_response", "warning_closed"],
            ]
        ),
    }
)

PAYOUTS = st.lists(
    st.tuples(
        AMOUNTS | st.integers(min_value=-5000, max_value=-1),
        st.sampled_from([[], ["in_transit", "paid"], ["paid", "failed"], ["failed"], ["canceled"]]),
    ),
    max_size=2,
)


def tell(
    payments: list[dict[str, Any]],
    api_version: str,
    payouts: list[tuple[int, list[str]]],
    settlement: str | None,
) -> StripeStory:
    """The story of these payments and payouts, one after the other."""
    story = StripeStory(api_version=api_version, settlement=settlement)
    for number, payment in enumerate(payments):
        ours = f"pay_{number:026d}" if payment["ours"] else None
        intent = story.intent(payment["amount"], payment["currency"], ours=ours)
        for _ in range(payment["declines"]):
            story.decline(intent)
        if payment["action"]:
            story.require_action(intent)
        row = None
        if payment["for"] == "invoice" and payment["end"] in ("succeeded", "captured"):
            of = billing.invoice(story, payment["amount"], payment["currency"])
            row = billing.attach(story, of, intent, payment["amount"])
        charge = _end(story, intent, payment["end"])
        if charge and payment["for"] == "checkout":
            billing.checkout(story, intent, tax=payment["amount"] // 7, shipping=payment["amount"] // 9)
        if row:
            billing.paid(story, row)
        if charge:
            _refund(story, charge, payment["refunds"], ours=payment["ours"])
            if payment["dispute"]:
                story.dispute(charge, payment["dispute"])
    for amount, course in payouts:
        story.payout(amount, "usd", course)
    return story


def _end(story: StripeStory, intent: Json, end: str) -> Json | None:
    if end == "canceled":
        story.cancel(intent)
    elif end == "succeeded":
        return story.succeed(intent)
    elif end != "open":
        charge = story.authorise(intent)
        if end.startswith("captured"):
            story.capture(intent, charge, intent["amount"] // (1 if end == "captured" else 2))
            return charge
        if end == "let go":
            story.cancel(intent, charge)
    return None


def _refund(story: StripeStory, charge: Json, refunds: list[tuple[int, str, bool]], *, ours: bool) -> None:
    for tenths, course, through_us in refunds:
        amount = charge["amount_captured"] * tenths // 10
        if amount > charge["amount_captured"] - charge["amount_refunded"]:
            continue
        first, _, then = course.partition(" then ")
        made_pending = then or first in ("failed", "canceled")
        refund = story.refund(
            charge, amount, status="pending" if made_pending else first, ours=ours and through_us
        )
        if made_pending:
            story.update_refund(charge, refund, then or first)


@given(data=st.data())
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_any_order_repetition_and_batching_ends_in_the_same_books(
    databases: Databases, data: st.DataObject
) -> None:
    payments: list[dict[str, Any]] = data.draw(st.lists(PAYMENTS, min_size=1, max_size=5))
    version = data.draw(st.sampled_from(["2026-10-28.endive", "2023-10-16"]))
    payouts = data.draw(PAYOUTS)
    settlement = data.draw(st.sampled_from([None, "usd"]))
    story = tell(payments, version, payouts, settlement)
    expected = await _play(databases, story, [[event] for event in story.events], settle_after=set())

    repeated = story.events + data.draw(st.lists(st.sampled_from(story.events), max_size=10))
    shuffled = data.draw(st.permutations(repeated))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled)), max_size=6)))
    bounds = [0, *cuts, len(shuffled)]
    batches = [shuffled[a:b] for a, b in itertools.pairwise(bounds) if a < b]
    settle_after = data.draw(st.sets(st.integers(0, len(batches))))
    actual = await _play(databases, story, batches, settle_after=settle_after)

    assert actual == expected
    assert _left(actual, "assets:stripe:clearing") == {}
    if all(payment["dispute"][-1:] != ["needs_response"] for payment in payments):
        assert _left(actual, "assets:stripe:disputed") == {}
    if all(course for _, course in payouts):
        assert _left(actual, "assets:stripe:payouts_in_transit") == {}
    arrived = sum(amount for amount, course in payouts if course[-1:] == ["paid"])
    assert _left(actual, "assets:bank").get("usd", 0) == arrived
    if all(payment["for"] != "invoice" or payment["ours"] or not payment["refunds"] for payment in payments):
        assert _left(actual, "liabilities:unapplied") == {}
    assert all(status != "dead" for _, status in actual["events"])


def _left(shot: dict[str, list[Any]], account: str) -> dict[str, int]:
    """What is left on an account, by currency."""
    rows = [row for row in shot["balances"] if row[0] == account]
    return {currency: debits - credits_ for _, currency, debits, credits_ in rows if debits != credits_}


async def _play(
    databases: Databases, story: StripeStory, batches: list[list[Json]], *, settle_after: set[int]
) -> dict[str, list[Any]]:
    url = await databases.create()
    engine = open_engine(load_settings({}, require=(), database_url=url))
    try:
        road = Road(engine, story)
        for number, batch in enumerate(batches):
            await road.deliver(batch)
            if number in settle_after:
                await road.settlement.fetch_and_post()
        await road.finish()
        return await picture(engine)
    finally:
        await engine.dispose()
        await databases.drop(url)
