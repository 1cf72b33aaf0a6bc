"""The ledger built again from its inputs: equal whatever happened on the way, and each difference named."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.pipeline_support import effect_keys, event_states
from tests.road import Road, StoryStripe, incoming

from tallystick.db.session import open_engine
from tallystick.errors import StripeRefusedError
from tallystick.events import applications, charges
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Facts
from tallystick.ledger import chart, entries
from tallystick.ledger.book import Book
from tallystick.ledger.corrections import Draft, propose
from tallystick.ledger.entries import LedgerTransaction, credit, debit
from tallystick.ledger.journal import Person
from tallystick.pipeline import archives
from tallystick.pipeline.operations.audit import Order
from tallystick.pipeline.operations.dead_letters import discard_dead_letter
from tallystick.pipeline.operations.erasure import erase
from tallystick.pipeline.operations.replay import replay_events
from tallystick.pipeline.rebuild import inputs
from tallystick.pipeline.rebuild.check import Rebuilt, check
from tallystick.pipeline.rebuild.refinement import Difference
from tallystick.pipeline.views.selection import Selection
from tallystick.settings import load_settings

WHY = Order("ada", "to see")
ADA = {"email": "ada@example.com", "name": "Ada Lovelace"}


def told() -> StripeStory:
    """Payments of ours and of others, refunds, a dispute, a payout, in three currencies."""
    story = StripeStory()
    for number, currency in enumerate(("usd", "eur", "jpy", "usd")):
        ours = f"pay_{number:026d}" if number % 2 == 0 else None
        charge = story.succeed(story.intent(5000 + number, currency, ours=ours, customer="cus_ada"))
        charge["billing_details"] = ADA
        story.refund(charge, 700, ours=number == 0)
        failing = story.refund(charge, 300, status="pending")
        story.update_refund(charge, failing, "failed")
    story.dispute(charge, ["needs_response", "under_review", "won"])
    story.payout(900, "usd", ["in_transit", "paid"])
    story.event("climate.surprised", {"id": "clm_1", "object": "climate"})
    return story


async def posted(engine: AsyncEngine) -> tuple[Road, StripeStory]:
    road = Road(engine, story := told())
    await road.deliver(story.events)
    await road.finish()
    return road, story


async def tamper(engine: AsyncEngine, *statements: str) -> None:
    """As a superuser can: past every trigger."""
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            assert (await connection.execute(text(statement))).rowcount != 0, statement


def named(found: Rebuilt) -> dict[str, str]:
    return {each.effect_key: each.difference.value for each in found.comparison.differences}


async def equal(engine: AsyncEngine) -> Rebuilt:
    found = await check(engine)
    assert found.equal, found
    assert found.comparison.ledger_digest == found.comparison.rebuilt_digest
    return found


async def differs(engine: AsyncEngine) -> Rebuilt:
    found = await check(engine)
    assert not found.equal
    assert found.comparison.ledger_digest != found.comparison.rebuilt_digest
    return found


async def test_an_empty_ledger_is_what_no_inputs_say(engine: AsyncEngine) -> None:
    assert (await equal(engine)).ledger_transactions == 0


async def test_the_digest_is_the_same_in_any_order_and_after_all_that_happens_to_inputs(
    engine: AsyncEngine, databases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "BATCH", 7)
    monkeypatch.setattr(archives, "BLOCK", 5)
    road, story = await posted(engine)
    first = await equal(engine)
    assert first.read.inputs == {"event": len(story.events), "balance_transaction": 19}
    assert first.ledger_transactions == len(await effect_keys(engine))

    async with engine.begin() as connection:
        await connection.execute(text("UPDATE webhook_events SET received_at = now() - interval '40 days'"))
    assert await archives.archive(engine, after_days=30) == len(story.events)
    await erase(engine, "cus_ada", WHY)
    again = await equal(engine)
    selection = Selection()
    await replay_events(engine, selection, WHY, per_second=0.0, wait_s=0.0)
    put_back = await equal(engine)
    assert put_back.read.open == len(story.events)
    await road.finish()
    replayed = await equal(engine)

    url = await databases.create()
    other = open_engine(load_settings({}, require=(), database_url=url))
    shuffled = story.events + story.events[::3]
    random.Random(5).shuffle(shuffled)
    elsewhere = Road(other, story)
    for start in range(0, len(shuffled), 4):
        await elsewhere.deliver(shuffled[start : start + 4])
        if start % 3 == 0:
            await elsewhere.settlement.fetch_and_post()
    await elsewhere.finish()
    in_any_order = await equal(other)  # as the service, which may do no more than it needs
    await other.dispose()
    await databases.drop(url)
    digests = {each.comparison.ledger_digest for each in (first, again, put_back, replayed, in_any_order)}
    assert len(digests) == 1


async def test_what_is_not_done_yet_is_no_difference(engine: AsyncEngine) -> None:
    """Received, waiting for an answer, seen and not posted, at every step of the way."""
    story = told()
    road = Road(engine, story)
    half = len(story.events) // 2
    for event in story.events[:half]:
        await road.inbox.receive(incoming(event))
    found = await equal(engine)
    assert (found.read.open, found.ledger_transactions) == (half, 0)
    await road.processor.process([event["id"] for event in story.events[:half]])  # answers nothing
    found = await equal(engine)
    assert 0 < found.read.open < half
    assert found.ledger_transactions > 0
    await road.deliver(story.events)
    await road.settlement._list_due()
    found = await equal(engine)
    assert found.read.open >= 19
    await road.finish()
    assert (await equal(engine)).read.open == 0


TAMPERINGS: dict[tuple[str, int], tuple[list[str], str, tuple[str, ...]]] = {
    ("charge_captured", 0): (
        ["UPDATE ledger_entries SET amount = amount + 1 WHERE transaction_id = {id}"], "changed", ("legs",),
    ),
    ("charge_captured", 1): (
        ["""UPDATE ledger_entries SET account_id = (
              SELECT min(id) FROM ledger_accounts WHERE name = 'assets:stripe:balance')
              WHERE direction = 1 AND transaction_id = {id}"""], "changed", ("legs",),
    ),
    ("charge_captured", 2): (
        ["DELETE FROM ledger_entries WHERE direction = 1 AND transaction_id = {id}"], "changed", ("legs",),
    ),
    ("charge_captured", 3): (
        ["UPDATE ledger_transactions SET digest = sha256('x') WHERE id = {id}"], "changed", ("legs",),
    ),
    ("refund", 0): (
        ["UPDATE ledger_transactions SET kind = 'gift' WHERE id = {id}"], "changed", ("kind",),
    ),
    ("refund", 1): (
        ["""UPDATE ledger_transactions SET occurred_at = occurred_at - interval '1 day' WHERE id = {id}"""],
        "changed", ("occurred_at",),
    ),
    ("refund", 2): (
        ["UPDATE ledger_transactions SET payment_id = 'pay_other' WHERE id = {id}"], "changed", ("payment",),
    ),
    ("refund", 3): (
        ["DELETE FROM ledger_entries WHERE transaction_id = {id}",
         "DELETE FROM ledger_transactions WHERE id = {id}"], "missing", (),
    ),
    ("sale", 0): (
        ["UPDATE ledger_transactions SET effect_key = 'payment:pi_nobody:sale' WHERE id = {id}"],
        "missing", (),
    ),
    ("balance_transaction_charge", 0): (
        ["""UPDATE balance_transactions SET body = convert_to(replace(replace(
              convert_from(body, 'UTF8'), '4825', '4824'), '175', '176'), 'UTF8')
             WHERE 'balance_transaction:' || id = '{key}'"""], "changed", ("legs",),
    ),
    ("balance_transaction_charge", 1): (
        ["DELETE FROM balance_transactions WHERE 'balance_transaction:' || id = '{key}'"],
        "unexplained", (),
    ),
}  # fmt: skip


async def test_what_a_superuser_changes_is_named(engine: AsyncEngine) -> None:
    await posted(engine)
    query = text("SELECT kind, id, effect_key FROM ledger_transactions ORDER BY id")
    places: dict[str, list[Any]] = {}
    async with engine.connect() as connection:
        for row in await connection.execute(query):
            places.setdefault(row.kind, []).append(row)
    expected: dict[str, tuple[str, tuple[str, ...]]] = {"payment:pi_nobody:sale": ("unexplained", ())}
    for (kind, number), (statements, difference, parts) in TAMPERINGS.items():
        place = places[kind][number]
        await tamper(engine, *(each.format(id=place.id, key=place.effect_key) for each in statements))
        expected[place.effect_key] = (difference, parts)
    found = await differs(engine)
    listed = {each.effect_key: each for each in found.comparison.differences}
    assert {key: (each.difference, each.parts) for key, each in listed.items()} == expected
    assert all(each.inputs for each in listed.values() if each.difference != "unexplained")
    assert all((each.transaction is None) == (each.difference == "missing") for each in listed.values())
    assert found.comparison.counts == {
        Difference.CHANGED: 8, Difference.MISSING: 2, Difference.UNEXPLAINED: 2,
    }  # fmt: skip


async def test_an_effect_slipped_in_is_unexplained(engine: AsyncEngine) -> None:
    await posted(engine)
    legs = (debit(chart.BANK, 100, "usd"), credit(chart.REVENUE_PAYMENTS, 100, "usd"))
    async with engine.begin() as connection:
        at = (await connection.execute(text("SELECT now()"))).scalar_one()
        forged = LedgerTransaction("payment:pi_forged:sale", "sale", "A sale", at, legs, "evt_forged")
        book = Book()
        await book.settle_balances(connection, await book.post(connection, [forged]))
    assert named(await differs(engine)) == {"payment:pi_forged:sale": "unexplained"}


async def test_effects_of_an_event_that_is_gone_are_unexplained_where_nothing_else_implies_them(
    engine: AsyncEngine,
) -> None:
    await posted(engine)
    await tamper(engine, "DELETE FROM webhook_events WHERE type = 'charge.succeeded'")
    found = await check(engine)
    assert set(named(found).values()) <= {"changed"}, "its charge is told by other inputs, its time is not"
    await tamper(engine, "DELETE FROM webhook_events WHERE type = 'charge.dispute.closed'")
    decided = {key for key in await effect_keys(engine) if ":decided:" in key}
    assert decided
    unexplained = {key for key, what in named(await check(engine)).items() if what == "unexplained"}
    assert unexplained == decided


async def test_an_input_that_cannot_be_read_any_more_is_named(engine: AsyncEngine) -> None:
    _, story = await posted(engine)
    event = next(each for each in story.events if each["type"] == "charge.updated")["id"]
    await tamper(engine, f"UPDATE webhook_events SET body = '{{}}' WHERE id = '{event}'")
    found = await check(engine)
    assert not found.equal
    assert [(each.kind, each.id) for each in found.read.named] == [("event", event)]
    assert found.read.named[0].error.startswith("PayloadError")


async def test_a_fact_that_is_gone_leaves_its_effects_unanswered(engine: AsyncEngine) -> None:
    await posted(engine)
    await tamper(engine, "DELETE FROM fetched_objects")
    found = await differs(engine)
    assert found.read.unanswered > 0
    assert found.comparison.counts[Difference.UNANSWERED] > 0
    assert not {Difference.MISSING, Difference.CHANGED} & found.comparison.counts.keys()


def new_rule(monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]) -> None:
    """Another way to post sales, version 2."""
    old = entries.post

    def post(key: str, kind: str, legs: Any, **about: Any) -> Any:
        if kind != "sale":
            return old(key, kind, legs, **about)
        return change(old, key, kind, list(legs), **{**about, "rule_version": 2})

    for module in (applications, charges):
        monkeypatch.setattr(module, "post", post)


def _to_another_account(old: Any, key: str, kind: str, legs: Any, **about: Any) -> Any:
    cards = "revenue:cards"
    legs = [replace(leg, account=cards) if leg.account == chart.REVENUE_PAYMENTS else leg for leg in legs]
    return old(key, kind, legs, **about)


def _under_another_key(old: Any, key: str, kind: str, legs: Any, **about: Any) -> Any:
    return old(key.replace("payment:", "sale_of:"), kind, legs, **about)


async def test_another_version_of_a_rule_is_no_damage(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    road, _ = await posted(engine)
    sales = {key for key in await effect_keys(engine) if key.endswith(":sale")}
    assert sales
    with monkeypatch.context() as patched:
        new_rule(patched, _to_another_account)
        assert named(await differs(engine)) == dict.fromkeys(sales, "rule_changed")
    with monkeypatch.context() as patched:
        new_rule(patched, _under_another_key)
        renamed = {key.replace("payment:", "sale_of:") for key in sales}
        assert named(await differs(engine)) == dict.fromkeys(sales | renamed, "rule_changed")
        # what the new version posted itself, and is gone since, is damage
        later = StripeStory(_numbers=itertools.count(1000))
        intent = later.intent(800, ours="pay_" + "9" * 26)
        later.succeed(intent)
        await road.deliver(later.events)
        key = f"sale_of:{intent['id']}:sale"
        assert named(await check(engine)) == dict.fromkeys(sales | renamed, "rule_changed")
        one = f"(SELECT id FROM ledger_transactions WHERE effect_key = '{key}')"
        await tamper(
            engine,
            f"DELETE FROM ledger_entries WHERE transaction_id = {one}",
            f"UPDATE ledger_transactions SET effect_key = 'x' WHERE effect_key = '{key}'",
        )
        found = named(await check(engine))
        assert found[key] == "missing"


async def test_what_an_older_version_ignored_is_not_processed_yet(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.delitem(EVENTS, "charge.dispute.closed")
        road, _ = await posted(engine)
        await equal(engine)
    found = await differs(engine)
    assert found.comparison.counts.keys() == {Difference.NOT_PROCESSED_YET}
    assert all(":decided:" in key for key in named(found))
    await replay_events(engine, Selection(types=("charge.dispute.*",)), WHY, per_second=0.0, wait_s=0.0)
    await road.finish()
    assert (await equal(engine)).comparison.rebuilt_digest == found.comparison.rebuilt_digest


class RefusingStripe(StoryStripe):
    """Stripe that shows no charge to this key."""

    async def retrieve_charge(self, charge: str) -> Json | None:  # noqa: ARG002
        raise StripeRefusedError("The key may not read charges.")


async def test_effects_of_what_was_given_up_must_not_stand(engine: AsyncEngine) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(5000))
    story.refund(charge, 1000)
    [refund] = [each for each in story.events if each["type"] == "refund.created"]
    road = Road(engine, story, RefusingStripe(story), retry_limit=1)
    await road.deliver([refund])
    assert await event_states(engine) == {refund["id"]: ("dead", 1)}
    key = f"refund:{refund['data']['object']['id']}"
    assert await effect_keys(engine) == {key}, "it had posted the movement before it was given up"
    assert named(await differs(engine)) == {key: "given_up"}
    async with engine.begin() as connection:
        await discard_dead_letter(connection, refund["id"], WHY)
    assert named(await differs(engine)) == {key: "given_up"}
    await road.settlement.pull()  # its balance transaction tells of it, too
    await equal(engine)


async def test_a_dead_letter_without_effects_is_no_difference(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_event: Event, _facts: Facts) -> Effects:
        raise ZeroDivisionError

    with monkeypatch.context() as broke:
        broke.setitem(EVENTS, "charge.succeeded", replace(EVENTS["charge.succeeded"], rule=broken))
        story = StripeStory()
        story.succeed(story.intent(5000))
        road = Road(engine, story, retry_limit=1)
        await road.deliver([each for each in story.events if each["type"] == "charge.succeeded"])
        await equal(engine)
    found = await equal(engine)
    assert (found.read.inputs, found.ledger_transactions) == ({"event": 1}, 0)


async def test_what_was_posted_before_its_payment_was_known_to_be_ours_is_no_difference(
    engine: AsyncEngine,
) -> None:
    """A refund made elsewhere: its movement posts at once, and only its charge tells whose it is."""
    story = StripeStory()
    ours = "pay_" + "0" * 26
    charge = story.succeed(story.intent(5000, ours=ours))
    refund = story.refund(charge, 1000)
    road = Road(engine, story)
    await road.deliver([each for each in story.events if each["type"].startswith("refund.")])
    query = text("SELECT payment_id FROM ledger_transactions WHERE effect_key = :key")
    async with engine.connect() as connection:
        posted_for = (await connection.execute(query, {"key": f"refund:{refund['id']}"})).scalar_one()
    assert posted_for != ours
    await road.deliver(story.events)
    await equal(engine)
    await road.finish()
    await equal(engine)


async def test_an_event_that_contradicts_the_ledger_is_a_dead_letter_and_no_difference(
    engine: AsyncEngine,
) -> None:
    road, story = await posted(engine)
    event = next(each for each in story.events if each["type"] == "charge.succeeded")
    other = {**event, "id": "evt_other"}
    other["data"] = {"object": {**event["data"]["object"], "amount": 1, "amount_captured": 1}}
    await road.deliver([other])
    assert (await event_states(engine))["evt_other"][0] == "dead"
    await equal(engine)


async def test_events_of_connected_accounts_are_not_ours(engine: AsyncEngine) -> None:
    story = StripeStory()
    story.succeed(story.intent(5000))
    for event in story.events:
        event["account"] = "acct_1"
    await Road(engine, story).deliver(story.events)
    found = await equal(engine)
    assert (found.read.inputs["event"], found.ledger_transactions) == (len(story.events), 0)


async def test_operators_entries_are_inputs(engine: AsyncEngine) -> None:
    await posted(engine)
    legs = (debit(chart.BANK, 100, "usd"), credit(chart.STRIPE_FEES, 100, "usd"))
    async with engine.begin() as connection:
        book, person = Book(), Person("ada")
        draft = Draft(description="A fee given back", reason="as the bank says", lines=legs)
        entry, done = await propose(connection, book, draft, person, {"*": None})
        await book.settle_balances(connection, done)
        waiting, _ = await propose(connection, book, draft, person, {"*": 0})
    assert (await equal(engine)).read.inputs["journal_entry"] == 1
    await _change_lines(engine, entry.id)
    assert named(await differs(engine)) == {f"journal:{entry.id}": "changed"}
    await tamper(engine, f"DELETE FROM journal_entries WHERE id = '{entry.id}'")
    assert named(await differs(engine)) == {f"journal:{entry.id}": "unexplained"}
    assert waiting.status == "pending_approval"


async def _change_lines(engine: AsyncEngine, entry: str) -> None:
    statement = f"""UPDATE journal_entries
       SET lines = CAST(replace(CAST(lines AS text), '100', '101') AS jsonb) WHERE id = '{entry}'"""
    await tamper(engine, statement)


async def test_only_so_many_differences_are_named_and_all_are_counted(engine: AsyncEngine) -> None:
    await posted(engine)
    await tamper(engine, "UPDATE ledger_transactions SET kind = kind || '_'")
    found = await check(engine, limit=3)
    keys = sorted(await effect_keys(engine))
    assert [each.effect_key for each in found.comparison.differences] == keys[:3]
    assert found.comparison.counts == {Difference.CHANGED: len(keys)}


async def test_runs_beside_each_other_do_not_meet(engine: AsyncEngine) -> None:
    await posted(engine)
    await asyncio.gather(*(equal(engine) for _ in range(3)))
    async with engine.connect() as connection:
        left = await connection.execute(text("SELECT count(*) FROM pg_class WHERE relname LIKE 'rebuild%'"))
        assert left.scalar_one() == 0
