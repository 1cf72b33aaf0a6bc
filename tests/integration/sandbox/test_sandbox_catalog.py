"""Products, prices, plans, coupons, promotion codes, tax rates and tax ids, over the official SDK."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk

MONTHLY: dict[str, Any] = {"currency": "usd", "unit_amount": 1500, "recurring": {"interval": "month"}}


async def test_products_and_their_default_price(sdk: Sdk, hooked: Receiver) -> None:
    made = await sdk(
        "products.create",
        {
            "name": "Book",
            "images": ["https://example.com/a.png"],
            "marketing_features": [{"name": "Paper"}],
            "default_price_data": {"currency": "usd", "unit_amount": 1200},
            "package_dimensions": {"height": 1, "length": 2.5, "weight": 3, "width": 4},
        },
    )
    shown = await sdk("products.retrieve", made.id, {"expand": ["default_price.currency_options"]})
    assert shown.default_price.unit_amount == 1200
    assert shown.default_price.currency_options["usd"].unit_amount == 1200
    changed = await sdk("products.update", made.id, {"name": "Novel", "images": "", "metadata": {"a": "1"}})
    assert (changed.name, changed.images) == ("Novel", [])
    found = await sdk("products.search", {"query": "active:'true' AND name~'nov' AND metadata['a']:'1'"})
    assert [item.id for item in found.data] == [made.id]
    assert not (await sdk("products.search", {"query": '-name:"Novel"'})).data
    with pytest.raises(stripe.InvalidRequestError, match="user-created prices"):
        await sdk("products.delete", made.id)
    other = await sdk("products.create", {"name": "Empty", "id": "empty-1"})
    assert (await sdk("products.delete", other.id)).deleted
    await hooked.until("product.created", "product.created", "product.updated", "product.deleted")
    assert "price.created" in hooked.types


async def test_prices_of_every_kind(sdk: Sdk) -> None:
    product = await sdk("products.create", {"name": "Thing"})
    base = {"currency": "usd", "product": product.id}
    tiers = [
        {"up_to": 10, "unit_amount": 100, "flat_amount": 500},
        {"up_to": "inf", "unit_amount_decimal": "0.5"},
    ]
    usage = await sdk(
        "billing.meters.create",
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}},
    )
    metered = {"interval": "month", "usage_type": "metered", "meter": usage.id}
    with pytest.raises(stripe.InvalidRequestError, match=r"recurring\[meter\]"):
        await sdk(
            "prices.create",
            {**base, "unit_amount": 1, "recurring": {"interval": "month", "usage_type": "metered"}},
        )
    tiered = await sdk(
        "prices.create",
        {
            **base,
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": tiers,
            "recurring": metered,
            "expand": ["tiers"],
        },
    )
    assert tiered.unit_amount is None
    assert tiered.recurring.usage_type == "metered"
    assert [(tier.up_to, tier.unit_amount) for tier in tiered.tiers] == [(10, 100), (None, None)]
    fraction = await sdk("prices.create", {**base, "unit_amount_decimal": "12.5", "lookup_key": "half"})
    assert (fraction.unit_amount, str(fraction.unit_amount_decimal)) == (None, "12.5")
    packs = await sdk(
        "prices.create",
        {**base, "unit_amount": 1000, "transform_quantity": {"divide_by": 10, "round": "up"}},
    )
    assert packs.transform_quantity.divide_by == 10
    tip = await sdk("prices.create", {**base, "custom_unit_amount": {"enabled": True, "preset": 500}})
    assert (tip.custom_unit_amount.preset, tip.unit_amount) == (500, None)
    euro = {"eur": {"unit_amount": 900, "tax_behavior": "inclusive"}}
    both = await sdk("prices.create", {**base, "unit_amount": 1000, "currency_options": euro})
    expanded = await sdk("prices.retrieve", both.id, {"expand": ["currency_options"]})
    assert expanded.currency_options["eur"].unit_amount == 900
    taken = await sdk(
        "prices.create", {**base, "unit_amount": 1, "lookup_key": "half", "transfer_lookup_key": True}
    )
    assert [item.id for item in (await sdk("prices.list", {"lookup_keys": ["half"]})).data] == [taken.id]
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        await sdk("prices.create", {**base, "unit_amount": 1, "lookup_key": "half"})
    listed = await sdk("prices.list", {"recurring": {"usage_type": "metered"}, "product": product.id})
    assert [item.id for item in listed.data] == [tiered.id]
    with pytest.raises(stripe.InvalidRequestError, match="inf"):
        await sdk(
            "prices.create",
            {
                **base,
                "billing_scheme": "tiered",
                "tiers_mode": "volume",
                "tiers": [{"up_to": 5, "unit_amount": 1}],
            },
        )


async def test_a_plan_is_a_recurring_price(sdk: Sdk, hooked: Receiver) -> None:
    plan = await sdk(
        "plans.create",
        {"id": "gold", "amount": 2000, "currency": "usd", "interval": "month", "product": {"name": "Gold"}},
    )
    assert (await sdk("prices.retrieve", "gold")).unit_amount == 2000
    price = await sdk("prices.create", {**MONTHLY, "product": plan.product})
    assert {item.id for item in (await sdk("plans.list", {"product": plan.product})).data} == {
        "gold",
        price.id,
    }
    assert (await sdk("plans.update", "gold", {"nickname": "Gilded"})).nickname == "Gilded"
    assert (await sdk("plans.delete", "gold")).deleted
    await hooked.until("plan.created", "plan.created", "plan.updated", "plan.deleted", "price.deleted")


async def test_coupons_and_promotion_codes(sdk: Sdk, raw: Raw) -> None:
    coupon = await sdk("coupons.create", {"percent_off": 25.5, "max_redemptions": 1, "id": "QUARTER"})
    assert (coupon.percent_off, coupon.duration, coupon.valid) == (25.5, "once", True)
    with pytest.raises(stripe.InvalidRequestError, match="exactly one"):
        await sdk("coupons.create", {"percent_off": 5, "amount_off": 5})
    promotion = await sdk(
        "promotion_codes.create", {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "Fall20"}
    )
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        await sdk(
            "promotion_codes.create",
            {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FALL20"},
        )
    shown = await sdk("promotion_codes.retrieve", promotion.id, {"expand": ["promotion.coupon"]})
    assert shown.promotion.coupon.percent_off == 25.5
    assert (await sdk("promotion_codes.list", {"code": "fall20"})).data[0].id == promotion.id
    assert not (await sdk("promotion_codes.update", promotion.id, {"active": False})).active
    dashed = await sdk(
        "promotion_codes.create", {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FALL-21"}
    )
    assert dashed.active

    headers = {"Stripe-Version": "2026-04-22.dahlia"}
    status, body, _ = await raw("POST", "/v1/promotion_codes", {"coupon": coupon.id}, headers=headers)
    assert (status, body["error"]["code"]) == (400, "parameter_unknown")
    status, body, _ = await raw("POST", "/v1/customers", {"coupon": coupon.id}, headers=headers)
    assert (status, body["error"]["code"]) == (400, "parameter_unknown")
    # Who names no version, as the Stripe CLI, may still write as of old.
    key = {"Authorization": "Bearer sk_test_sandbox"}
    async with (
        aiohttp.ClientSession(headers=key) as bare,
        bare.post(f"{raw.url}/v1/customers", data={"coupon": coupon.id}) as answer,
    ):
        customer = await answer.json()
    assert customer["discount"]["source"]["coupon"] == coupon.id
    assert not (await sdk("coupons.retrieve", coupon.id)).valid
    assert not (await sdk("promotion_codes.retrieve", dashed.id)).active  # no more than its coupon
    gone = await raw("DELETE", f"/v1/customers/{customer['id']}/discount")
    assert gone[1]["deleted"]
    assert (await sdk("coupons.delete", coupon.id)).deleted


async def test_tax_rates_and_ids(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    rate = await sdk(
        "tax_rates.create",
        {"display_name": "VAT", "percentage": 19.25, "inclusive": True, "country": "DE", "tax_type": "vat"},
    )
    assert rate.percentage == 19.25
    assert not (await sdk("tax_rates.update", rate.id, {"active": False})).active
    assert (await sdk("tax_rates.list", {"inclusive": True})).data[0].id == rate.id
    customer = await sdk(
        "customers.create",
        {"name": "Ada", "tax_id_data": [{"type": "eu_vat", "value": "DE123456789"}], "source": "tok_visa"},
    )
    more = await sdk("customers.tax_ids.create", customer.id, {"type": "us_ein", "value": "12-3456789"})
    assert (more.verification.status, more.country) == ("unavailable", "US")
    with pytest.raises(stripe.InvalidRequestError, match="Invalid value for eu_vat"):
        await sdk("tax_ids.create", {"type": "eu_vat", "value": "nonsense"})
    assert (await sdk("tax_ids.create", {"type": "gb_vat", "value": "123456789"})).owner.type == "self"
    shown = await sdk("customers.retrieve", customer.id, {"expand": ["tax_ids", "sources"]})
    assert shown.tax_ids.data[0].id == more.id
    assert shown.sources.data[0].id == shown.default_source
    assert (await sdk("customers.tax_ids.delete", customer.id, more.id)).deleted
    found = await sdk("customers.search", {"query": "name:'ada'"})
    assert [item.id for item in found.data] == [customer.id]
    source, _, _ = await raw("GET", f"/v1/customers/{customer.id}/sources/{shown.default_source}")
    assert source == 200
    await hooked.until("customer.source.created", "customer.tax_id.created", "customer.tax_id.deleted")


async def test_a_cash_balance_is_funded(sdk: Sdk, hooked: Receiver) -> None:
    customer = await sdk("customers.create", {"name": "Ada"})
    assert (await sdk("customers.cash_balance.retrieve", customer.id)).available is None
    for code, amount in (("usd", 1000), ("eur", 500), ("usd", 20), ("gbp", 7), ("jpy", 8)):
        txn = await sdk(
            "test_helpers.customers.fund_cash_balance", customer.id, {"amount": amount, "currency": code}
        )
        assert txn.net_amount == amount
    balance = await sdk("customers.cash_balance.retrieve", customer.id)
    assert (balance.available["usd"], balance.available["eur"]) == (1020, 500)
    listed = await sdk("customers.cash_balance_transactions.list", customer.id, {"limit": 3})
    assert [item.ending_balance for item in listed.data] == [8, 7, 1020]
    one = await sdk("customers.cash_balance_transactions.retrieve", customer.id, listed.data[0].id)
    assert one.funded.bank_transfer.type == "jp_bank_transfer"
    await hooked.until("customer_cash_balance_transaction.created", "cash_balance.funds_available")
