"""The whole way with a widened Stripe: whatever it moves, our books are its books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

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


async def _charge(running: House, method: str, amount: int, currency: str = "usd") -> dict[str, Any]:
    return await running.stripe(
        "/v1/payment_intents",
        **{
            "amount": amount,
            "currency": currency,
            "confirm": "true",
            "payment_method": method,
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        },
    )


async def test_decided_disputes_leave_nothing_disputed(running: House) -> None:
    """One lost, one won in part, an inquiry closed, in dollars and in euros."""
    for currency in ("usd", "eur"):
        for amount in (4000, 5000):
            await _charge(running, "pm_card_createDispute", amount, currency)
        await _charge(running, "pm_card_createDisputeInquiry", 6000, currency)
    disputes = (await running.client.get("/v1/disputes")).json()["data"]
    assert len(disputes) == 6
    for dispute in disputes:
        if dispute["amount"] == 5000:
            await running.control(f"disputes/{dispute['id']}/win", amount=4400)
        else:
            await running.control(f"disputes/{dispute['id']}/lose")
    await running.until("expenses:dispute_losses", await _lost_by_disputes(running))
    await running.until("assets:stripe:disputed", {})
    await running.until_settled()


async def _lost_by_disputes(running: House) -> dict[str, int]:
    """What Stripe's own balance transactions say that disputes took and did not give back, by currency."""
    listed = (await running.client.get("/v1/balance_transactions", params={"limit": 100})).json()["data"]
    about = [txn for txn in listed if txn["reporting_category"].startswith("dispute")]
    assert len(about) == 6
    lost: dict[str, int] = {}
    for txn in about:
        lost[txn["currency"]] = lost.get(txn["currency"], 0) - txn["amount"]
    return lost


async def test_payouts_leave_nothing_in_transit(running: House) -> None:
    """One that arrives, one that fails after it arrived, one reversed, one cancelled, and a top-up."""
    await _charge(running, "pm_card_bypassPending", 50_000)
    made = [await running.stripe("/v1/payouts", amount=1000 * n, currency="usd") for n in (1, 2, 3, 4)]
    await running.stripe(f"/v1/payouts/{made[3]['id']}/cancel")
    for payout in made[:3]:
        for _ in range(2):
            await running.control(f"payouts/{payout['id']}/advance")
    await running.control(f"payouts/{made[1]['id']}/fail")
    reversal = await running.stripe(f"/v1/payouts/{made[2]['id']}/reverse")
    for _ in range(2):
        await running.control(f"payouts/{reversal['id']}/advance")
    await running.until("assets:bank", {"usd": 1000})
    await running.until("assets:stripe:payouts_in_transit", {})
    await running.until_settled()
