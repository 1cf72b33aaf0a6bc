"""Books with something on every page of the console: payments, a refund, a dispute, a payout, suspense."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.ledger.seals import horizon, seal
from tallystick.pipeline.pulls.payout_contents import PayoutListings
from tests.builders import Json, StripeStory
from tests.integration.test_payout_contents import PayingStripe
from tests.road import Road

OURS = "pay_" + "7".zfill(26)
CUSTOMER = "cus_shopper"


@dataclass
class Kept:
    """What happened. The last payment's unknown movement, ``unknown``, lies in suspense and is not sealed."""

    story: StripeStory
    charge: Json
    refund: Json
    payout: Json
    unknown: Json


async def keep_books(engine: AsyncEngine) -> Kept:
    """Post it all: the payout is listed, and what came after it in a block of its own."""
    story = StripeStory()
    charge = story.succeed(story.intent(2500, "usd", ours=OURS, customer=CUSTOMER))
    refund = story.refund(charge, 700, status="succeeded", ours=True)
    gone = list(story.balance_transactions)
    payout = _payout(story, sum(txn["net"] for txn in gone))
    story.dispute(story.succeed(story.intent(4000, "usd")), ["needs_response", "lost"])
    for amount, currency in ((12999, "eur"), (5950, "eur"), (98000, "jpy")):
        story.succeed(story.intent(amount, currency))
    source = {"object": "a_thing_of_tomorrow", "id": "tot_1", "currency": "usd"}
    unknown = story.balance_transaction("a_type_of_tomorrow", source, -1234, 0, [])
    stripe = PayingStripe(story, payout, gone)
    road = Road(engine, story, stripe)
    await road.deliver(story.events)
    await seal(engine, await horizon(engine))
    await PayoutListings(engine, stripe).step()  # type: ignore[arg-type]
    await road.finish()
    return Kept(story, charge, refund, payout, unknown)


def _payout(story: StripeStory, amount: int) -> Json:
    """One that arrived yesterday, and whose list Stripe has put together."""
    made = story.payout(amount, "usd", ["paid"])
    made |= {"automatic": True, "reconciliation_status": "completed"}
    made["arrival_date"] = int(time.time()) - 86_400
    for event in story.events:
        if event["type"].startswith("payout."):
            event["data"]["object"]["arrival_date"] = made["arrival_date"]
    return made
