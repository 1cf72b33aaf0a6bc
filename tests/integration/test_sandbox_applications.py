"""Payments that were made elsewhere, from the sandbox's webhooks to what our books say they were for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.house import House, Json, house

from tallystick.embedded import EmbeddedValkey

NO_REDIRECT = {
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}
OURS = "pay_" + "0" * 26


@pytest.fixture
async def running(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[House]:
    async with house(database_url, valkey) as made:
        yield made


async def pay(running: House, amount: int, method: str = "pm_card_visa", **more: Any) -> Json:
    return await running.stripe(
        "/v1/payment_intents",
        amount=amount,
        currency="usd",
        confirm="true",
        payment_method=method,
        **{**NO_REDIRECT, **more},
    )


async def checkout(running: House, **params: Any) -> Json:
    """A Checkout Session that is paid at once."""
    form = {"mode": "payment", "success_url": "https://shop.example/", **params}
    made = await running.stripe("/v1/checkout/sessions", **form)
    return await running.control(f"checkout_sessions/{made['id']}/complete", payment_method="pm_card_visa")


async def customer_with_card(running: House) -> str:
    customer = await running.stripe("/v1/customers", email="ada@example.com")
    method = await running.stripe("/v1/payment_methods/pm_card_visa/attach", customer=customer["id"])
    default = {"invoice_settings[default_payment_method]": method["id"]}
    await running.stripe(f"/v1/customers/{customer['id']}", **default)
    return str(customer["id"])


async def finalised(running: House, customer: str, amount: int) -> str:
    item = {"customer": customer, "amount": amount, "currency": "usd"}
    await running.stripe("/v1/invoiceitems", **item)
    draft = await running.stripe("/v1/invoices", customer=customer, pending_invoice_items_behavior="include")
    made = await running.stripe(f"/v1/invoices/{draft['id']}/finalize", auto_advance="false")
    assert made["amount_due"] == amount
    return str(made["id"])


async def test_a_checkout_with_tax_and_shipping_and_all_its_refunds(running: House) -> None:
    """Tax included in one price and on top of another, and in the shipping."""
    rates = [
        await running.stripe(
            "/v1/tax_rates", display_name="VAT", percentage="19", inclusive=str(inclusive).lower()
        )
        for inclusive in (True, False)
    ]
    lines: Json = {}
    for place, (rate, amount) in enumerate(zip(rates, (1999, 1001), strict=True)):
        lines |= {
            f"line_items[{place}][quantity]": 1,
            f"line_items[{place}][price_data][currency]": "usd",
            f"line_items[{place}][price_data][unit_amount]": amount,
            f"line_items[{place}][price_data][product_data][name]": "Shirt",
            f"line_items[{place}][tax_rates][]": rate["id"],
        }
    shipping = {
        "shipping_options[0][shipping_rate_data][type]": "fixed_amount",
        "shipping_options[0][shipping_rate_data][display_name]": "By bike",
        "shipping_options[0][shipping_rate_data][fixed_amount][amount]": 490,
        "shipping_options[0][shipping_rate_data][fixed_amount][currency]": "usd",
    }
    session = await checkout(running, **lines, **shipping)
    tax, total = session["total_details"]["amount_tax"], session["amount_total"]
    assert (tax, total) == (319 + 190, 1999 + 1001 + 190 + 490)
    await running.until("liabilities:tax_payable", {"usd": tax})
    await running.until("revenue:shipping", {"usd": 490})
    await running.until("revenue:payments", {"usd": total - tax - 490})
    for amount in (1111, 1111, total - 2222):
        await running.stripe("/v1/refunds", payment_intent=session["payment_intent"], amount=amount)
    await running.until("revenue:refunds", {"usd": total - tax})
    await running.until("liabilities:tax_payable", {})
    await running.until_applied()


async def test_payments_with_nothing_to_say_are_sales(running: House) -> None:
    """One made in the Dashboard, one captured in part, a charge of old without a PaymentIntent; refunds."""
    plain = await pay(running, 5000)
    await running.stripe("/v1/refunds", payment_intent=plain["id"], amount=700)
    held = await pay(running, 4000, capture_method="manual")
    await running.stripe(f"/v1/payment_intents/{held['id']}/capture", amount_to_capture=2500)
    await pay(running, 9000, capture_method="manual")
    old = await running.stripe("/v1/charges", amount=900, currency="usd", source="tok_visa")
    await running.stripe("/v1/refunds", charge=old["id"], amount=100)
    await running.until("revenue:payments", {"usd": 5000 + 2500 + 900})
    await running.until("revenue:refunds", {"usd": 800})
    await running.until_applied()
    await running.until_posted(f"payment:{plain['id']}:sale", f"payment:{old['id']}:sale")


async def test_a_subscription_pays_its_invoice(running: House) -> None:
    """One made by call, one by Checkout, and a checkout that makes an invoice: none of them is a sale."""
    customer = await customer_with_card(running)
    price = await running.stripe(
        "/v1/prices",
        **{
            "currency": "usd",
            "unit_amount": 1900,
            "recurring[interval]": "month",
            "product_data[name]": "Plan",
        },
    )
    made = await running.stripe("/v1/subscriptions", **{"customer": customer, "items[0][price]": price["id"]})
    assert made["status"] == "active"
    line = {"line_items[0][price]": price["id"], "line_items[0][quantity]": 1}
    await checkout(running, customer=customer, **{**line, "mode": "subscription"})
    once = {
        "line_items[0][quantity]": 1,
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": 300,
        "line_items[0][price_data][product_data][name]": "Mug",
        "invoice_creation[enabled]": "true",
    }
    session = await checkout(running, customer=customer, **once)
    await running.until("assets:receivable", {"usd": -1900 - 1900 - 300})
    await running.until_applied()
    assert await running.ours("revenue:payments") == {}
    await running.until_posted(f"invoice:{session['invoice']}:paid:{session['payment_intent']}")


async def test_an_invoice_is_paid_in_two_payments_one_of_them_made_here(running: House) -> None:
    """Each was a sale until it was attached; of the one that was made here a part is left as a sale."""
    customer = await customer_with_card(running)
    invoice = await finalised(running, customer, 2000)
    elsewhere = await pay(running, 500)
    here = await pay(running, 3000, **{"metadata[tallystick_payment]": OURS})
    await running.until("revenue:payments", {"usd": 3500})
    for payment in (elsewhere, here):
        await running.stripe(f"/v1/invoices/{invoice}/attach_payment", payment_intent=payment["id"])
    await running.until("assets:receivable", {"usd": -2000})
    await running.until("revenue:payments", {"usd": 1500})
    await running.until_applied()
    await running.until_posted(
        *(f"payment:{payment['id']}:sale:reversed:{invoice}" for payment in (elsewhere, here))
    )


async def test_what_is_paid_past_stripe_or_by_a_customers_balance(running: House) -> None:
    customer = await customer_with_card(running)
    first = await finalised(running, customer, 2000)
    part = await pay(running, 500)
    await running.stripe(f"/v1/invoices/{first}/attach_payment", payment_intent=part["id"])
    await running.stripe(f"/v1/invoices/{first}/pay", paid_out_of_band="true")
    await running.until("assets:bank", {"usd": 1500})
    balances = f"/v1/customers/{customer}/balance_transactions"
    await running.stripe(balances, amount=-800, currency="usd")
    await running.until("liabilities:customer_balance", {"usd": 800})
    item = {"customer": customer, "amount": 1000, "currency": "usd"}
    await running.stripe("/v1/invoiceitems", **item)
    draft = await running.stripe("/v1/invoices", customer=customer, pending_invoice_items_behavior="include")
    paid = await running.stripe(f"/v1/invoices/{draft['id']}/pay")
    assert (paid["status"], paid["amount_paid"]) == ("paid", 200)
    await running.until("liabilities:customer_balance", {})
    # credit that was given to be used: what it is owed for is not posted, no more than the invoices
    await running.until("assets:receivable", {"usd": 800 - 2000 - 1000})
    await running.until_applied()


async def test_a_bank_debit_that_came_back_leaves_the_sale_to_the_next_attempt(running: House) -> None:
    failing = await running.stripe(
        "/v1/payment_methods",
        **{
            "type": "us_bank_account",
            "us_bank_account[account_number]": "000222222227",
            "us_bank_account[routing_number]": "110000000",
            "us_bank_account[account_holder_type]": "individual",
            "billing_details[name]": "Ada",
        },
    )
    mandate = {
        "mandate_data[customer_acceptance][type]": "online",
        "mandate_data[customer_acceptance][online][ip_address]": "127.0.0.1",
        "mandate_data[customer_acceptance][online][user_agent]": "test",
    }
    made = await pay(running, 5000, failing["id"], **mandate)
    assert made["status"] == "processing"
    charge = made["latest_charge"]
    await running.control("settle")
    await running.until_posted(f"charge:{charge}:captured", f"charge:{charge}:captured:reversed")
    paid = await running.stripe(f"/v1/payment_intents/{made['id']}/confirm", payment_method="pm_card_visa")
    assert paid["status"] == "succeeded"
    await running.until("revenue:payments", {"usd": 5000})
    await running.until_applied()


@pytest.mark.parametrize("api_version", ["2023-10-16", "2020-08-27"])
async def test_in_shapes_before_basil_the_books_are_the_same(
    database_url: str, valkey: EmbeddedValkey, api_version: str
) -> None:
    async with house(database_url, valkey, api_version=api_version) as running:
        customer = await customer_with_card(running)
        invoice = await finalised(running, customer, 2000)
        await running.stripe(f"/v1/invoices/{invoice}/pay")
        out_of_band = await finalised(running, customer, 400)
        await running.stripe(f"/v1/invoices/{out_of_band}/pay", paid_out_of_band="true")
        plain = await pay(running, 5000)
        await running.stripe("/v1/refunds", payment_intent=plain["id"], amount=700)
        await running.until("assets:receivable", {"usd": -2400})
        await running.until("revenue:payments", {"usd": 5000})
        await running.until("revenue:refunds", {"usd": 700})
        await running.until("assets:bank", {"usd": 400})
        await running.until_applied()


async def test_each_capture_of_a_payment_made_elsewhere_is_a_sale(running: House) -> None:
    several = {
        "capture_method": "manual",
        "payment_method_options[card][request_multicapture]": "if_available",
    }
    held = await pay(running, 5000, **several)
    path = f"/v1/payment_intents/{held['id']}/capture"
    await running.stripe(path, amount_to_capture=3000, final_capture="false")
    await running.stripe(path, amount_to_capture=1500, final_capture="true")
    await running.stripe("/v1/refunds", payment_intent=held["id"], amount=600)
    await running.until("revenue:payments", {"usd": 4500})
    await running.until("revenue:refunds", {"usd": 600})
    await running.until_applied()
