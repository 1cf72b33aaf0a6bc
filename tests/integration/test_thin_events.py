"""Thin events: what they name is fetched by the worker, and the books come out the same."""

from __future__ import annotations

from sqlalchemy import text
from tests.house import house

from tallystick.embedded import EmbeddedValkey

NO_REDIRECT = {
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


async def test_an_account_that_sends_thin_events_has_the_same_books(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    async with house(database_url, valkey, thin=True) as running:
        for amount in (1000, 2000):
            paid = await running.stripe(
                "/v1/payment_intents",
                amount=amount,
                currency="usd",
                confirm="true",
                payment_method="pm_card_visa",
                **NO_REDIRECT,
            )
            await running.stripe("/v1/refunds", payment_intent=paid["id"], amount=300)
        await running.until("revenue:payments", {"usd": 3000})
        await running.until("revenue:refunds", {"usd": 600})
        await running.until("liabilities:unapplied", {})
        await running.until_settled()
        await running.until_processed()
        async with running.app.engine.connect() as connection:
            rows = await connection.execute(text("SELECT type, status FROM webhook_events"))
            events = [tuple(row) for row in rows]
        assert ("v1.charge.succeeded", "processed") in events
        assert all(event_type.startswith("v1.") for event_type, _ in events)
