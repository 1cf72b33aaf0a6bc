"""Payment Links, adaptive pricing, and what comes back to the bank: from the sandbox to the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.house import House, house

from tallystick.embedded import EmbeddedValkey
from tallystick.pipeline.rebuild.check import check


@pytest.fixture
async def running(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[House]:
    async with house(database_url, valkey) as made:
        yield made


async def payments(running: House) -> list[tuple[str, str, int, str]]:
    async with running.app.engine.connect() as connection:
        query = text("SELECT origin, status, amount, currency FROM payments ORDER BY created_at, id")
        return [tuple(row) for row in await connection.execute(query)]


async def test_what_a_payment_link_sells_is_a_sale(running: House) -> None:
    rate = {
        "display_name": "By bike",
        "type": "fixed_amount",
        "fixed_amount[amount]": 490,
        "fixed_amount[currency]": "usd",
    }
    shipping = await running.stripe("/v1/shipping_rates", **rate)
    link = await running.stripe(
        "/v1/payment_links",
        **{
            "line_items[0][quantity]": 2,
            "line_items[0][price_data][currency]": "usd",
            "line_items[0][price_data][unit_amount]": 1500,
            "line_items[0][price_data][product_data][name]": "Shirt",
            "shipping_options[0][shipping_rate]": shipping["id"],
        },
    )
    for _ in range(2):
        session = await running.control(f"payment_links/{link['id']}/open")
        await running.control(f"checkout_sessions/{session['id']}/complete")
    await running.until("revenue:shipping", {"usd": 980})
    await running.until_applied()
    assert await running.ours("revenue:payments") == {"usd": 6000}
    assert await payments(running) == [("adopted", "succeeded", 3490, "usd")] * 2
    assert (await check(running.app.engine)).equal


async def test_adaptive_pricing_leaves_the_books_in_the_currency_of_the_session(running: House) -> None:
    """Priced in euros, paid in pounds, settled in dollars; refunded in part at another rate."""
    rates = {"eur:gbp": "0.85", "eur:usd": "1.10"}
    await running.control("settings", settlement_currencies=[], exchange_rates=rates)
    made = await running.stripe(
        "/v1/checkout/sessions",
        **{
            "mode": "payment",
            "success_url": "https://shop.example/",
            "line_items[0][quantity]": 1,
            "line_items[0][price_data][currency]": "eur",
            "line_items[0][price_data][unit_amount]": 4000,
            "line_items[0][price_data][product_data][name]": "Coat",
        },
    )
    done = await running.control(f"checkout_sessions/{made['id']}/complete", presentment_currency="gbp")
    assert done["presentment_details"] == {"presentment_amount": 3400, "presentment_currency": "gbp"}
    await running.until("revenue:payments", {"eur": 4000})
    await running.until_applied()
    assert await running.ours("equity:fx") == {"usd": 4400, "eur": -4000}
    await running.control("settings", exchange_rates={**rates, "eur:usd": "1.20"})
    await running.stripe("/v1/refunds", payment_intent=done["payment_intent"], amount=1000)
    await running.until("expenses:fx_losses", {"usd": 100})
    await running.until_applied()
    assert await running.ours("revenue:refunds") == {"eur": 1000}
    assert await payments(running) == [("adopted", "succeeded", 4000, "eur")]
    assert (await check(running.app.engine)).equal


async def test_a_top_up_that_the_bank_takes_back(running: House) -> None:
    topup = await running.stripe("/v1/topups", amount=5000, currency="usd")
    await running.control("settle")
    await running.until("assets:bank", {"usd": -5000})
    await running.control(f"topups/{topup['id']}/reverse")
    await running.until("assets:bank", {})
    await running.until("assets:stripe:topups_in_transit", {})
    await running.until_settled()
    assert await running.ours("assets:stripe:balance") == {}
    await running.until_posted(f"topup:{topup['id']}:succeeded", f"topup:{topup['id']}:reversed")
    assert (await check(running.app.engine)).equal
