"""Own accounts on the whole way: what a Checkout Session sells, and the accounts it goes to."""

from __future__ import annotations

from tests.house import house

from tallystick.embedded import EmbeddedValkey
from tallystick.pipeline.account_maps import enter
from tallystick.pipeline.rebuild.check import check


async def test_each_product_of_a_checkout_goes_to_its_account(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    """Three lines, one of an unknown product, with tax on top of one and a shipping rate."""
    async with house(database_url, valkey) as running:
        products = [(await running.stripe("/v1/products", name=name))["id"] for name in ("A", "B", "C")]
        rate = await running.stripe("/v1/tax_rates", display_name="VAT", percentage="10", inclusive="false")
        price = await running.stripe("/v1/prices", product=products[1], currency="usd", unit_amount=333)
        await enter(
            running.app.engine,
            f"[[revenue]]\naccount = 'revenue:books'\nproduct = '{products[0]}'\n"
            f"[[revenue]]\naccount = 'revenue:gifts'\nprice = '{price['id']}'\n",
        )
        form: dict[str, object] = {
            "mode": "payment",
            "success_url": "https://shop.example/",
            "line_items[0][quantity]": 2,
            "line_items[0][price_data][currency]": "usd",
            "line_items[0][price_data][unit_amount]": 1001,
            "line_items[0][price_data][product]": products[0],
            "line_items[0][tax_rates][]": rate["id"],
            "line_items[1][quantity]": 3,
            "line_items[1][price]": price["id"],
            "line_items[2][quantity]": 1,
            "line_items[2][price_data][currency]": "usd",
            "line_items[2][price_data][unit_amount]": 5000,
            "line_items[2][price_data][product]": products[2],
            "shipping_options[0][shipping_rate_data][type]": "fixed_amount",
            "shipping_options[0][shipping_rate_data][display_name]": "By bike",
            "shipping_options[0][shipping_rate_data][fixed_amount][amount]": 500,
            "shipping_options[0][shipping_rate_data][fixed_amount][currency]": "usd",
        }
        made = await running.stripe("/v1/checkout/sessions", **form)
        await running.control(f"checkout_sessions/{made['id']}/complete", payment_method="pm_card_visa")
        await running.until("revenue:payments", {"usd": 5000})
        await running.until_settled()
        assert await running.ours("revenue:books") == {"usd": 2002}
        assert await running.ours("revenue:gifts") == {"usd": 999}
        assert await running.ours("revenue:shipping") == {"usd": 500}
        assert await running.ours("liabilities:tax_payable") == {"usd": 200}
        assert (await check(running.app.engine)).equal
