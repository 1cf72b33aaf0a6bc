"""The whole way with a widened Stripe: whatever it moves, our books are its books."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.house import House, house

from tallystick.embedded import EmbeddedValkey


@pytest.fixture
async def running(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[House]:
    async with house(database_url, valkey) as made:
        yield made


async def test_whatever_stripe_moves_our_balance_is_its_balance(running: House) -> None:
    """Payments, refunds, a dispute lost, a payout, a movement of an unknown type: made by others."""
    methods = {"payment_method": "pm_card_visa", "confirm": "true"}
    no_redirect = {
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
    }
    for currency, amount in (("usd", 5000), ("eur", 7000), ("jpy", 9000)):
        paid = await running.stripe(
            "/v1/payment_intents", amount=amount, currency=currency, **methods, **no_redirect
        )
        await running.stripe("/v1/refunds", payment_intent=paid["id"], amount=amount // 10)
    await running.stripe(
        "/v1/payment_intents",
        amount=3000,
        currency="usd",
        confirm="true",
        payment_method="pm_card_createDispute",
        **no_redirect,
    )
    await running.until("assets:stripe:disputed", {"usd": 3000})
    await running.until_settled()
    await running.control("balance_transactions", type="a_type_of_tomorrow", amount=-123, currency="usd")
    await running.until("suspense:stripe", {"usd": 123})
    await running.until_settled()
    assert await running.ours("expenses:dispute_fees") == {"usd": 1500}


async def test_what_is_billed_at_stripe_settles_in_our_books(running: House) -> None:
    """A subscription's first invoice, paid by card: its money is ours, unapplied until billing is posted."""
    customer = await running.stripe("/v1/customers", email="ada@example.com")
    await running.stripe("/v1/payment_methods/pm_card_visa/attach", customer=customer["id"])
    price = await running.stripe(
        "/v1/prices",
        **{
            "currency": "usd",
            "unit_amount": 1900,
            "recurring[interval]": "month",
            "product_data[name]": "Plan",
        },
    )
    methods = (
        await running.client.get("/v1/payment_methods", params={"customer": customer["id"], "type": "card"})
    ).json()["data"]
    made = await running.stripe(
        "/v1/subscriptions",
        **{
            "customer": customer["id"],
            "items[0][price]": price["id"],
            "default_payment_method": methods[0]["id"],
        },
    )
    assert made["status"] == "active"
    await running.until("liabilities:unapplied", {"usd": 1900})
    await running.until_settled()
