"""Why an effect stands: every input that implies it, wherever it is stored."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.integration.test_rebuild import tamper
from tests.road import Road, incoming

from tallystick.errors import NotFoundError
from tallystick.ledger import chart
from tallystick.ledger.book import Book
from tallystick.ledger.corrections import Draft, propose, reverse
from tallystick.ledger.entries import credit, debit
from tallystick.ledger.journal import Person
from tallystick.pipeline import archives
from tallystick.pipeline.rebuild.explanation import Explanation, explain
from tallystick.pipeline.rebuild.inputs import Bearing


def told_by(found: Explanation) -> list[str]:
    return sorted(each.type or each.kind.value for each in found.implied_by)


async def posted(engine: AsyncEngine, story: StripeStory) -> None:
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()


@pytest.mark.parametrize("archived", [False, True])
async def test_inputs_are_found_with_their_facts_legs_and_versions(
    engine: AsyncEngine, archived: bool
) -> None:
    """A refund made elsewhere of a sale of ours: its application rests on a fact, the charge."""
    story = StripeStory()
    story.succeed(story.intent(9000))
    charge = story.succeed(story.intent(5000, ours="pay_" + "0" * 26))
    refund = story.refund(charge, 700)
    await posted(engine, story)
    if archived:
        async with engine.begin() as connection:
            await connection.execute(
                text("UPDATE webhook_events SET received_at = now() - interval '40 days'")
            )
        assert await archives.archive(engine, after_days=30) == len(story.events)

    captured = await explain(engine, f"charge:{charge['id']}:captured")
    assert told_by(captured) == [
        "balance_transaction", "charge.refunded", "charge.succeeded", "charge.updated",
        "payment_intent.succeeded",
    ]  # fmt: skip
    assert captured.standing is not None
    assert captured.rule_version == 1
    assert all(each.agrees and each.bearing is Bearing.DONE for each in captured.implied_by)
    assert min(each.occurred_at for each in captured.implied_by) == captured.standing.occurred_at

    applied = await explain(engine, f"refund:{refund['id']}:applied")
    [told] = applied.implied_by
    assert told.type == "refund.created"
    assert [fact.question for fact in told.facts] == [f"charge:{charge['id']}"]
    assert told.facts[0].fetched_at is not None

    txn = charge["balance_transaction"]
    assert told_by(await explain(engine, f"balance_transaction:{txn}")) == ["balance_transaction"]
    with pytest.raises(NotFoundError):
        await explain(engine, "payment:pi_nobody_9:sale")
    await tamper(
        engine,
        "UPDATE ledger_entries SET amount = amount + 1 WHERE transaction_id ="
        f" (SELECT id FROM ledger_transactions WHERE effect_key = 'balance_transaction:{txn}')",
    )
    assert [each.agrees for each in (await explain(engine, f"balance_transaction:{txn}")).implied_by] == [
        False
    ]


async def test_what_does_not_stand_is_explained_by_what_is_not_done(engine: AsyncEngine) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(5000))
    road = Road(engine, story)
    await receive(road, story.events)
    found = await explain(engine, f"charge:{charge['id']}:captured")
    assert found.standing is None
    assert {(each.bearing, each.agrees) for each in found.implied_by} == {(Bearing.OPEN, None)}


async def receive(road: Road, events: Sequence[Json]) -> None:
    for event in events:
        await road.inbox.receive(incoming(event))


async def test_an_operators_entry_and_its_reversal_explain_themselves(engine: AsyncEngine) -> None:
    legs = (debit(chart.BANK, 100, "usd"), credit(chart.STRIPE_FEES, 100, "usd"))
    book, person = Book(), Person("ada")
    async with engine.begin() as connection:
        draft = Draft(description="A fee given back", reason="as the bank says", lines=legs)
        entry, done = await propose(connection, book, draft, person, {"*": None})
        await book.settle_balances(connection, done)
    async with engine.begin() as connection:
        back, done = await reverse(connection, book, entry.id, person, {"*": None}, reason="a slip")
        await book.settle_balances(connection, done)
    for ident, key in ((entry.id, f"journal:{entry.id}"), (back.id, f"journal:{entry.id}:reversed")):
        [told] = (await explain(engine, key)).implied_by
        assert (told.kind, told.input, told.agrees) == ("journal_entry", ident, True)
