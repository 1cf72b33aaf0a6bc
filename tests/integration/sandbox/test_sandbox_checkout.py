"""Checkout Sessions in every mode, their page, and SetupIntents; the older charges, searches, the portal."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk

from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.server import SandboxConfig, running_sandbox

NO_REDIRECT: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}
DONE = "https://shop.example/done?session={CHECKOUT_SESSION_ID}"


async def price(sdk: Sdk, amount: int = 1500, **values: Any) -> str:
    product = await sdk("products.create", {"name": "Shirt"})
    given = {"product": product.id, "unit_amount": amount, "currency": "usd"}
    return str((await sdk("prices.create", {**given, **values})).id)


async def session(sdk: Sdk, lines: list[Any] | None = None, **params: Any) -> Any:
    given: dict[str, Any] = {"mode": "payment", "success_url": DONE, "cancel_url": "https://shop.example/"}
    if lines is not None:
        given["line_items"] = lines
    return await sdk("checkout.sessions.create", {**given, **params})


async def complete(raw: Raw, made: Any, **body: Any) -> Any:
    return await raw.control("POST", f"checkout_sessions/{made.id}/complete", body)


async def happened(sdk: Sdk, prefix: str = "") -> list[str]:
    events = await sdk.everything("events.list", {"limit": 100})
    return [item.type for item in events if item.type.startswith(prefix)][::-1]


async def test_a_session_is_paid(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    rate = await sdk("tax_rates.create", {"display_name": "VAT", "percentage": 10, "inclusive": False})
    coupon = await sdk("coupons.create", {"percent_off": 50, "duration": "once"})
    lines = [
        {"price": await price(sdk), "quantity": 2, "tax_rates": [rate.id]},
        {
            "price_data": {"currency": "usd", "product_data": {"name": "Mug"}, "unit_amount": 500},
            "quantity": 1,
        },
    ]
    made = await session(
        sdk,
        lines,
        discounts=[{"coupon": coupon.id}],
        metadata={"order": "7"},
        payment_intent_data={"metadata": {"order": "7"}, "description": "Order 7"},
        customer_creation="always",
        expand=["line_items"],
    )
    assert made.id.startswith("cs_test_a1")
    assert (made.status, made.payment_status, made.payment_intent) == ("open", "unpaid", None)
    assert (made.amount_subtotal, made.total_details.amount_discount) == (3500, 1750)
    assert (made.total_details.amount_tax, made.amount_total) == (150, 1900)
    assert [line.description for line in made.line_items.data] == ["Shirt", "Mug"]
    listed = await sdk("checkout.sessions.line_items.list", made.id, {"limit": 1})
    assert (listed.data[0].amount_total, listed.has_more) == (1650, True)
    shown = await complete(raw, made, email="ada@example.com")
    assert (shown["status"], shown["payment_status"], shown["url"]) == ("complete", "paid", None)
    assert shown["customer_details"]["email"] == "ada@example.com"
    intent = await sdk("payment_intents.retrieve", shown["payment_intent"])
    assert (intent.amount, intent.metadata["order"], intent.customer) == (1900, "7", shown["customer"])
    assert (await sdk("coupons.retrieve", coupon.id)).times_redeemed == 1
    assert (await happened(sdk))[-4:] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    await hooked.until("checkout.session.completed")
    found = await sdk("checkout.sessions.list", {"payment_intent": intent.id})
    assert [item.id for item in found.data] == [made.id]
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        await sdk("checkout.sessions.expire", made.id)


async def test_the_page_declines_authenticates_and_pays(sdk: Sdk) -> None:
    made = await session(sdk, [{"price": await price(sdk), "quantity": 1}])
    form = {"method": "card", "email": "a@b.example", "expiry": "12/40"}
    async with aiohttp.ClientSession() as browser:
        async with browser.get(made.url) as page:
            assert "15.00 USD" in await page.text()
        async with browser.post(made.url, data={**form, "card_number": "4000000000000002"}) as page:
            assert "declined" in await page.text()
        declined = await sdk("checkout.sessions.retrieve", made.id, {"expand": ["payment_intent"]})
        assert (declined.status, declined.payment_intent.status) == ("open", "requires_payment_method")
        asked = {**form, "card_number": "4000000000003220"}
        async with browser.post(made.url, data=asked, allow_redirects=False) as page:
            assert page.status == 303
            secure = page.headers["location"]
        async with browser.post(secure, data={"outcome": "succeed"}, allow_redirects=False) as page:
            back = page.headers["location"]
        async with browser.get(back, allow_redirects=False) as page:
            assert page.headers["location"] == DONE.replace("{CHECKOUT_SESSION_ID}", made.id)
    paid = await sdk("checkout.sessions.retrieve", made.id)
    assert (paid.status, paid.payment_intent) == ("complete", declined.payment_intent.id)
    assert (await happened(sdk, "payment_intent"))[0:3] == [
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
    ]


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
async def test_a_bank_debit_answers_later(sdk: Sdk, raw: Raw, outcome: str) -> None:
    made = await session(sdk, [{"price": await price(sdk), "quantity": 1}])
    method = {"succeeded": "pm_usBankAccount_success", "failed": "pm_usBankAccount_noAccount"}[outcome]
    shown = await complete(raw, made, payment_method=method)
    assert (shown["status"], shown["payment_status"]) == ("complete", "unpaid")
    await raw.control("POST", "settle")
    assert await happened(sdk, "checkout") == [
        "checkout.session.completed",
        f"checkout.session.async_payment_{outcome}",
    ]
    later = await sdk("checkout.sessions.retrieve", made.id)
    assert later.payment_status == ("paid" if outcome == "succeeded" else "unpaid")


async def test_a_subscription_and_its_first_invoice(sdk: Sdk, raw: Raw) -> None:
    monthly = await price(sdk, 2500, recurring={"interval": "month"})
    lines = [{"price": monthly, "quantity": 2}, {"price": await price(sdk), "quantity": 1}]
    data = {"metadata": {"plan": "a"}}
    made = await session(sdk, lines, mode="subscription", subscription_data=data)
    status, answer, _ = await raw(
        "POST",
        f"/_control/checkout_sessions/{made.id}/complete",
        b'{"payment_method": "pm_card_chargeCustomerFail"}',
    )
    assert (status, answer["error"]["code"]) == (402, "card_declined")
    assert not (await sdk("subscriptions.list", {"status": "all"})).data
    shown = await complete(raw, made, email="ada@example.com")
    assert (shown["status"], shown["payment_status"], shown["payment_intent"]) == ("complete", "paid", None)
    subscription = await sdk("subscriptions.retrieve", shown["subscription"], {"expand": ["latest_invoice"]})
    assert (subscription.status, subscription.metadata["plan"]) == ("active", "a")
    assert (subscription.latest_invoice.id, subscription.latest_invoice.total) == (shown["invoice"], 6500)
    assert shown["amount_total"] == 6500


async def test_an_invoice_is_made_for_a_payment(sdk: Sdk, raw: Raw) -> None:
    lines = [{"price": await price(sdk), "quantity": 2}]
    creation = {"enabled": True, "invoice_data": {"metadata": {"order": "9"}, "footer": "Thanks"}}
    made = await session(sdk, lines, invoice_creation=creation)
    shown = await complete(raw, made, email="ada@example.com")
    invoice = await sdk("invoices.retrieve", shown["invoice"])
    assert (invoice.status, invoice.total, invoice.metadata["order"]) == ("paid", 3000, "9")
    assert shown["payment_status"] == "paid"


async def test_a_session_sets_up(sdk: Sdk, raw: Raw) -> None:
    customer = await sdk("customers.create", {"email": "ada@example.com"})
    made = await session(sdk, mode="setup", customer=customer.id, currency="usd")
    shown = await complete(raw, made)
    assert (shown["status"], shown["payment_status"]) == ("complete", "no_payment_required")
    intent = await sdk("setup_intents.retrieve", shown["setup_intent"], {"expand": ["payment_method"]})
    assert (intent.status, intent.payment_method.customer) == ("succeeded", customer.id)


async def test_a_session_runs_out() -> None:
    clock = ManualClock()
    async with running_sandbox(SandboxConfig(clock=clock)) as box:
        sdk = Sdk(box.url)
        lines = [{"price": await price(sdk), "quantity": 1}]
        recovery = {"recovery": {"enabled": True}}
        made = await session(sdk, lines, after_expiration=recovery)
        clock.advance(86_401)
        made = await sdk("checkout.sessions.retrieve", made.id)
        assert (made.status, made.url) == ("expired", None)
        assert made.after_expiration.recovery.url
        by_hand = await session(sdk, lines)
        assert (await sdk("checkout.sessions.expire", by_hand.id)).status == "expired"
        assert await happened(sdk, "checkout") == ["checkout.session.expired"] * 2
        await sdk.close()


REFUSED = [
    ({"mode": "payment"}, "line_items"),
    ({"mode": "setup", "line_items": [{"price": "p", "quantity": 1}]}, "line_items"),
    ({"line_items": [{"quantity": 1}]}, "price"),
    ({"line_items": [{"price": "none", "quantity": 1}]}, "line_items[0][price]"),
    ({"line_items": [{"price": "p", "quantity": 1}], "expires_at": 5}, "expires_at"),
    ({"line_items": [{"price": "p", "quantity": 1}], "wrong": 5}, "wrong"),
]


@pytest.mark.parametrize(("params", "param"), REFUSED)
async def test_what_a_session_refuses(sdk: Sdk, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("checkout.sessions.create", {"success_url": DONE, **params})
    refused: Any = caught.value
    assert refused.param == param


async def test_setup_intents(sdk: Sdk, raw: Raw) -> None:
    customer = await sdk("customers.create", {})
    given = {"customer": customer.id, "confirm": True, **NO_REDIRECT}
    intent = await sdk("setup_intents.create", {**given, "payment_method": "pm_card_visa"})
    assert intent.status == "succeeded"
    assert await happened(sdk, "setup_intent") == ["setup_intent.created", "setup_intent.succeeded"]
    assert (await sdk("payment_methods.list", {"customer": customer.id})).data[0].id == intent.payment_method
    asked = await sdk("setup_intents.create", {**given, "payment_method": "pm_card_authenticationRequired"})
    assert (asked.status, asked.next_action.type) == ("requires_action", "use_stripe_sdk")
    async with aiohttp.ClientSession() as browser:
        url = asked.next_action.use_stripe_sdk["stripe_js"]
        async with browser.post(url, data={"outcome": "fail"}) as page:
            assert page.status == 200
    failed = await sdk("setup_intents.retrieve", asked.id)
    assert failed.last_setup_error.code == "setup_intent_authentication_failure"
    again = await sdk("setup_intents.confirm", asked.id, {"payment_method": "pm_usBankAccount_success"})
    assert again.status == "succeeded"
    assert (await sdk("mandates.retrieve", again.mandate)).type == "multi_use"
    attempts = (await sdk("setup_attempts.list", {"setup_intent": asked.id})).data
    assert [item.status for item in attempts] == ["succeeded", "failed"]
    with pytest.raises(stripe.CardError) as caught:
        await sdk("setup_intents.create", {**given, "payment_method": "pm_card_chargeDeclined"})
    declined: Any = caught.value.error
    assert declined.setup_intent.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await sdk("setup_intents.cancel", intent.id)
    assert refused.value.code == "setup_intent_unexpected_state"
    waiting = await sdk("setup_intents.create", {"usage": "on_session"})
    canceled = await sdk("setup_intents.cancel", waiting.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    listed = (await sdk("setup_intents.list", {"customer": customer.id})).data
    assert [item.status for item in listed] == ["requires_payment_method", "succeeded", "succeeded"]


async def test_charges_of_old_and_tokens(sdk: Sdk, raw: Raw) -> None:
    card = {"number": "4242424242424242", "exp_month": "1", "exp_year": "2040", "cvc": "123"}
    token = await sdk("tokens.create", {"card": card})
    given = {"amount": 1000, "currency": "usd", "source": token.id}
    charge = await sdk("charges.create", {**given, "capture": False})
    assert (charge.payment_intent, charge.captured, charge.source.brand) == (None, False, "Visa")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("charges.create", given)
    assert caught.value.code == "token_already_used"
    captured = await sdk("charges.capture", charge.id, {"amount": 400, "expand": ["balance_transaction"]})
    assert (captured.amount_captured, captured.balance_transaction.amount) == (400, 400)
    with pytest.raises(stripe.CardError):
        await sdk("charges.create", {**given, "source": "tok_chargeDeclined"})
    held = await sdk("charges.create", {**given, "source": "tok_visa", "capture": False})
    expired = await raw("POST", f"/v1/test_helpers/charges/{held.id}/expire")
    assert (expired[1]["refunded"], (await happened(sdk))[-1]) == (True, "charge.expired")


async def test_more_is_held_and_taken_in_parts(sdk: Sdk, raw: Raw) -> None:
    requested = ("request_multicapture", "request_incremental_authorization")
    intent = await sdk(
        "payment_intents.create",
        {
            "amount": 5000,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "capture_method": "manual",
            "payment_method_options": {"card": dict.fromkeys(requested, "if_available")},
            **NO_REDIRECT,
        },
    )
    intent = await sdk("payment_intents.increment_authorization", intent.id, {"amount": 6500})
    assert (intent.amount, intent.amount_capturable) == (6500, 6500)
    for amount, left in ((2000, 4500), (1500, 3000)):
        part = {"amount_to_capture": amount, "final_capture": False}
        intent = await sdk("payment_intents.capture", intent.id, part)
        assert (intent.status, intent.amount_capturable) == ("requires_capture", left)
        await raw.control("POST", "settle")
    intent = await sdk("payment_intents.capture", intent.id, {"amount_to_capture": 1000})
    assert (intent.status, intent.amount_received) == ("succeeded", 4500)
    await raw.control("POST", "settle")
    booked = await sdk("balance_transactions.list", {"source": intent.latest_charge})
    assert [item.amount for item in booked.data] == [1000, 1500, 2000]


async def test_searches(sdk: Sdk) -> None:
    for order in range(3):
        await sdk(
            "payment_intents.create",
            {"amount": 1000 + order, "currency": "usd", "metadata": {"order": f"o-{order}"}},
        )
    found = await sdk("payment_intents.search", {"query": "metadata['order']:'o-1' AND amount>500"})
    assert [item.amount for item in found.data] == [1001]
    first = await sdk("payment_intents.search", {"query": "status:'requires_payment_method'", "limit": 2})
    assert (len(first.data), first.has_more) == (2, True)
    query = {"query": "status:'requires_payment_method'", "limit": 2, "page": first.next_page}
    rest = await sdk("payment_intents.search", query)
    assert (len(rest.data), rest.has_more) == (1, False)


async def test_the_portal(sdk: Sdk) -> None:
    customer = await sdk("customers.create", {"email": "ada@example.com"})
    made = await sdk(
        "billing_portal.sessions.create", {"customer": customer.id, "return_url": "https://shop.example/"}
    )
    async with aiohttp.ClientSession() as browser, browser.get(made.url) as page:
        assert "ada@example.com" in await page.text()
    features = {"subscription_cancel": {"enabled": True}}
    configuration = await sdk("billing_portal.configurations.create", {"features": features})
    await sdk("billing_portal.configurations.update", configuration.id, {"metadata": {"a": "1"}})
    listed = await sdk("billing_portal.configurations.list", {"is_default": True})
    assert [item.id for item in listed.data] == [made.configuration]
    assert await happened(sdk, "billing_portal") == [
        "billing_portal.configuration.created",
        "billing_portal.session.created",
        "billing_portal.configuration.created",
        "billing_portal.configuration.updated",
    ]
