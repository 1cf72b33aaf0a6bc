"""Drives the road of an event without HTTP and Redis: inbox, processor, look-ups, settlement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import open_engine
from tallystick.embedded.cluster import SERVICE, SUPERUSER
from tallystick.ledger.book import Book
from tallystick.pipeline.failures import Clock, Failures, utc_now
from tallystick.pipeline.inbox import Inbox
from tallystick.pipeline.incoming import IncomingEvent, read_event
from tallystick.pipeline.lookups import Lookups
from tallystick.pipeline.process import Outcome, Processor
from tallystick.pipeline.pulls.settlement import Settlement
from tallystick.settings import Settings, load_settings
from tallystick.stripe_gateway.client import StripeGateway
from tests.builders import Json, StripeStory


@asynccontextmanager
async def owner_engine(service_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on the database of ``service_url`` as its owner, who may do what the service may not."""
    url = service_url.replace(f"{SERVICE}@", f"{SUPERUSER}@", 1)
    engine = open_engine(load_settings({}, require=(), database_url=url))
    try:
        yield engine
    finally:
        await engine.dispose()


class StoryStripe:
    """Answers what the worker asks of Stripe from a story."""

    def __init__(self, story: StripeStory) -> None:
        self._story = story

    async def find_payment_intent(self, intent: str) -> Json | None:
        return self._story.intents.get(intent)

    async def find_refund(self, refund: str) -> Json | None:
        return self._story.refunds.get(refund)

    async def find_dispute(self, dispute: str) -> Json | None:
        return self._story.disputes.get(dispute)

    async def retrieve_charge(self, charge: str) -> Json | None:
        return self._story.charges.get(charge)

    async def retrieve_settled_charge(self, charge: str) -> Json | None:
        found = self._story.charges.get(charge)
        settled = [
            txn
            for txn in self._story.balance_transactions
            if found and txn["id"] == found["balance_transaction"]
        ]
        return found and {
            **found,
            "balance_transaction": {**settled[0], "source": charge} if settled else None,
        }

    async def list_refunds(self, charge: str) -> Json:
        sources = [txn["source"] for txn in self._story.balance_transactions if txn["type"] == "refund"]
        return {"data": [refund for refund in sources if refund["charge"] == charge]}

    async def list_invoice_payments_of(self, payment_intent: str) -> Json:
        rows = [
            {**row, "payment": {**row["payment"], "payment_intent": self._story.intents[payment_intent]}}
            for row in self._story.invoice_payments.values()
            if row["payment"].get("payment_intent") == payment_intent
        ]
        return {"data": rows}

    async def list_checkout_sessions_of(self, payment_intent: str) -> Json:
        sessions = self._story.checkout_sessions.values()
        rows = [session for session in sessions if session["payment_intent"] == payment_intent]
        return {"data": [{**row, "payment_intent": self._story.intents[payment_intent]} for row in rows]}

    async def find_invoice(self, invoice: str) -> Json | None:
        found = self._story.invoices.get(invoice)
        rows = [row for row in self._story.invoice_payments.values() if row["invoice"] == invoice]
        return found and {**found, "payments": {"data": rows, "has_more": False}}

    async def list_customer_balance_transactions(self, customer: str) -> Json:
        rows = self._story.customer_balance_transactions
        return {"data": [row for row in reversed(rows) if row["customer"] == customer]}

    async def retrieve_balance_transaction(self, txn: str) -> Json | None:
        return next((each for each in self._story.balance_transactions if each["id"] == txn), None)

    async def list_balance_transactions(self, **_: Any) -> Json:
        return {"data": self._story.balance_transactions, "has_more": False}


class FakeClock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, time: timedelta) -> None:
        """So much time goes by."""
        self.now += time


class Road:
    """One worker's road on one database."""

    def __init__(
        self,
        engine: AsyncEngine,
        story: StripeStory,
        stripe: StoryStripe | None = None,
        *,
        clock: Clock = utc_now,
        **settings: Any,
    ) -> None:
        self.settings: Settings = load_settings({}, require=(), **settings)
        self.engine = engine
        self.stripe = cast("StripeGateway", stripe or StoryStripe(story))
        book = Book()
        failures = Failures(engine, self.settings, clock=clock)
        self.lookups = Lookups(engine, self.stripe, failures, again_after_s=())
        self.processor = Processor(engine, book, self.settings, failures)
        self.settlement = Settlement(engine, self.stripe, book, self.settings, self.lookups)
        self.inbox = Inbox(engine, lambda _ids: None, ring_grace_s=5, timeout_s=10)

    async def deliver(self, events: Sequence[Json]) -> Outcome:
        """Receive the events at once, then process them as one batch."""
        await asyncio.gather(*(self.inbox.receive(incoming(event)) for event in events))
        return await self.process([event["id"] for event in events])

    async def process(self, ids: Sequence[str]) -> Outcome:
        """Process a batch and answer the questions that it raises."""
        outcome = await self.processor.process(ids)
        await self.lookups.answer(outcome.questions)
        return outcome

    async def process_due(self, at: datetime) -> int:
        """Process what the sweep would ring for at this time; how many events that are."""
        async with self.engine.connect() as connection:
            query = text("SELECT id FROM webhook_events WHERE status = 'pending' AND ring_at <= :at")
            due = list((await connection.execute(query, {"at": at})).scalars())
        if due:
            await self.process(due)
        return len(due)

    async def finish(self) -> None:
        """Settle, and process what waits, until nothing is left."""
        await self.settlement.pull()
        for _ in range(5):
            async with self.engine.connect() as connection:
                query = text("SELECT id FROM webhook_events WHERE status = 'pending' ORDER BY seq")
                pending = list((await connection.execute(query)).scalars())
            if not pending:
                return
            await self.process(pending)
        raise AssertionError(f"still pending: {pending}")


def incoming(event: Json) -> IncomingEvent:
    """The event as the webhook route hands it on."""
    return read_event(orjson.dumps(event))


_PICTURES = {
    "payments": "SELECT to_jsonb(p) - 'updated_at' FROM payments p ORDER BY id",
    "refunds": "SELECT to_jsonb(r) - 'updated_at' FROM refunds r ORDER BY id",
    "disputes": "SELECT to_jsonb(d) - 'updated_at' FROM disputes d ORDER BY id",
    "customers": "SELECT to_jsonb(c) - 'updated_at' FROM customers c ORDER BY id",
    "payment_methods": "SELECT to_jsonb(m) - 'updated_at' FROM payment_methods m ORDER BY id",
    "ledger": """
        SELECT jsonb_build_array(t.effect_key, encode(t.digest, 'hex'), least(t.occurred_at,
               (SELECT min(d.occurred_at) FROM effect_dates d WHERE d.transaction_id = t.id)))
          FROM ledger_transactions t ORDER BY effect_key""",
    "balances": """
        SELECT jsonb_build_array(a.name, a.currency, b.debits, b.credits)
          FROM account_balances b JOIN ledger_accounts a ON a.id = b.account_id
         ORDER BY a.name, a.currency""",
    "notices": "SELECT to_jsonb(o) - 'id' - 'created_at' FROM outbox o ORDER BY notice_key",
    "abouts": "SELECT jsonb_build_array(id, about) FROM webhook_events"
    " WHERE about IS NOT NULL AND status = 'processed' ORDER BY id",
    "events": "SELECT jsonb_build_array(id, status) FROM webhook_events ORDER BY id",
}


async def picture(engine: AsyncEngine) -> dict[str, list[Any]]:
    """All that the events came to, without what may differ from run to run (our clock, our numbers)."""
    async with engine.connect() as connection:
        return {
            name: list((await connection.execute(text(query))).scalars()) for name, query in _PICTURES.items()
        }
