"""Invoices, lines, discounts and promotion codes as older API versions show them."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tallystick.sandbox.server import RunningSandbox


async def ask(url: str, version: str, method: str, path: str, form: Any = None) -> dict[str, Any]:
    """An answer in a version, not held against the newest spec."""
    headers = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": version}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url + path, data=form) as answer,
    ):
        body: dict[str, Any] = await answer.json()
        assert answer.status == 200, body
        return body


async def paid(url: str, version: str) -> dict[str, Any]:
    """A paid invoice of one taxed, discounted item."""
    card = "pm_card_visa"
    customer = await ask(
        url,
        version,
        "POST",
        "/v1/customers",
        {"email": "a@example.com", "payment_method": card, "invoice_settings[default_payment_method]": card},
    )
    rate = await ask(
        url,
        version,
        "POST",
        "/v1/tax_rates",
        {"display_name": "VAT", "percentage": "19", "inclusive": "true"},
    )
    coupon = await ask(url, version, "POST", "/v1/coupons", {"percent_off": "10"})
    item = {"customer": customer["id"], "amount": "1190", "currency": "usd", "tax_rates[0]": rate["id"]}
    await ask(url, version, "POST", "/v1/invoiceitems", item)
    sent = {
        "customer": customer["id"],
        "pending_invoice_items_behavior": "include",
        "discounts[0][coupon]": coupon["id"],
    }
    invoice = await ask(url, version, "POST", "/v1/invoices", sent)
    return await ask(url, version, "POST", f"/v1/invoices/{invoice['id']}/pay")


async def test_before_basil(box: RunningSandbox) -> None:
    invoice = await paid(box.url, "2024-06-20")
    assert (invoice["paid"], invoice["tax"], invoice["total"]) == (True, 171, 1071)
    assert invoice["discount"]["coupon"]["percent_off"] == 10
    assert "source" not in invoice["discount"]
    line = invoice["lines"]["data"][0]
    assert (line["type"], line["price"]["unit_amount"], line["amount_excluding_tax"]) == (
        "invoiceitem",
        1190,
        1000,
    )
    assert line["tax_amounts"][0]["inclusive"] is True
    assert line["tax_rates"][0]["percentage"] == 19
    intent = await ask(box.url, "2024-06-20", "GET", f"/v1/payment_intents/{invoice['payment_intent']}")
    assert (intent["invoice"], intent["latest_charge"]) == (invoice["id"], invoice["charge"])
    charge = await ask(box.url, "2024-06-20", "GET", f"/v1/charges/{invoice['charge']}")
    assert charge["invoice"] == invoice["id"]


@pytest.mark.parametrize(
    ("version", "has", "lacks"),
    [
        ("2025-02-24.acacia", {"paid", "charge", "subscription"}, {"payments", "customer_account"}),
        ("2025-06-30.basil", {"parent", "total_taxes"}, {"paid", "charge", "customer_account"}),
        ("2026-03-25.dahlia", {"customer_account"}, {"paid", "amount_paid_off_stripe"}),
        ("2026-06-24.dahlia", {"amount_paid_off_stripe"}, {"paid"}),
    ],
)
async def test_each_version(box: RunningSandbox, version: str, has: set[str], lacks: set[str]) -> None:
    invoice = await paid(box.url, version)
    assert has <= set(invoice)
    assert not lacks & set(invoice)


async def test_promotion_codes_before_clover(box: RunningSandbox) -> None:
    coupon = await ask(box.url, "2025-03-31.basil", "POST", "/v1/coupons", {"percent_off": "10"})
    code = await ask(
        box.url, "2025-03-31.basil", "POST", "/v1/promotion_codes", {"coupon": coupon["id"], "code": "X1"}
    )
    assert (code["coupon"]["id"], "promotion" in code) == (coupon["id"], False)
    newer = await ask(box.url, "2025-10-29.clover", "GET", f"/v1/promotion_codes/{code['id']}")
    assert newer["promotion"] == {"coupon": coupon["id"], "type": "coupon"}
    customer = await ask(box.url, "2024-06-20", "POST", "/v1/customers", {"promotion_code": code["id"]})
    assert customer["discount"]["coupon"]["id"] == coupon["id"]
    assert customer["discount"]["promotion_code"] == code["id"]
