"""What becomes of a payment: states, events in order, declines, 3D Secure, capture, refunds."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk

from tallystick.sandbox import cards
from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox

NO_REDIRECT: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


async def pay(sdk: Sdk, method: str = "pm_card_visa", **params: Any) -> Any:
    given = {"amount": 2000, "currency": "usd", "payment_method": method, "confirm": True}
    return await sdk("payment_intents.create", {**given, **NO_REDIRECT, **params})


async def happened(sdk: Sdk) -> list[str]:
    """The types of all events, oldest first."""
    return [item.type for item in await sdk.everything("events.list", {"limit": 100})][::-1]


async def settle(raw: Raw) -> None:
    await raw.control("POST", "settle")


async def test_success_and_later_its_balance_transaction(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    intent = await pay(sdk, receipt_email="ada@example.com", statement_descriptor_suffix="BOOKS")
    success = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
    assert await happened(sdk) == success
    await settle(raw)
    assert await happened(sdk) == [*success, "charge.updated"]
    await hooked.until("charge.updated", "payment_intent.succeeded")
    assert hooked.of("charge.succeeded")["data"]["object"]["balance_transaction"] is None
    updated = hooked.of("charge.updated")["data"]
    assert updated["object"]["balance_transaction"].startswith("txn_3")
    assert updated["previous_attributes"] == {"balance_transaction": None}
    assert updated["object"]["calculated_statement_descriptor"] == "TALLYSTICK* BOOKS"
    first = hooked.of("payment_intent.created")
    assert first["request"]["id"].startswith("req_")
    assert first["request"]["idempotency_key"]
    assert first["data"]["object"]["status"] == "requires_confirmation"
    assert hooked.of("charge.updated")["request"] == {"id": None, "idempotency_key": None}
    assert intent.client_secret.startswith(f"{intent.id}_secret_")


async def test_synchronous_capture_has_its_balance_transaction_at_once(sdk: Sdk) -> None:
    intent = await pay(sdk, capture_method="automatic", expand=["latest_charge.balance_transaction"])
    assert intent.latest_charge.balance_transaction.amount == 2000


DECLINES = sorted(name for name, card in cards.BY_NAME.items() if card.decline and not card.authentication)


@pytest.mark.parametrize("name", DECLINES)
async def test_every_decline(sdk: Sdk, name: str) -> None:
    decline = cards.BY_NAME[name].decline
    assert decline is not None
    with pytest.raises(stripe.CardError) as caught:
        await pay(sdk, f"pm_card_{name}")
    error: Any = caught.value.error
    assert caught.value.http_status == 402
    assert (error.code, error.decline_code) == (decline.code, decline.decline_code)
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_intent.last_payment_error.charge == error.charge
    charge = await sdk("charges.retrieve", error.charge)
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, decline.code)
    assert charge.outcome.type == ("blocked" if decline.blocked else "issuer_declined")
    assert await happened(sdk) == [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
    ]
    again = await sdk("payment_intents.confirm", error.payment_intent.id, {"payment_method": "pm_card_visa"})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


async def test_a_refused_card_cannot_be_saved(sdk: Sdk) -> None:
    customer = await sdk("customers.create", {})
    with pytest.raises(stripe.CardError) as caught:
        await sdk("payment_methods.attach", "pm_card_chargeDeclined", {"customer": customer.id})
    refusal: Any = caught.value
    assert refusal.json_body["error"]["param"] == ""
    saved = await sdk("payment_methods.attach", "pm_card_chargeCustomerFail", {"customer": customer.id})
    with pytest.raises(stripe.CardError):
        await pay(sdk, saved.id, customer=customer.id)


async def test_manual_capture_in_part(sdk: Sdk, raw: Raw) -> None:
    intent = await pay(sdk, amount=6500, capture_method="manual")
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 6500)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("payment_intents.capture", intent.id, {"amount_to_capture": 6501})
    assert caught.value.code == "amount_too_large"
    intent = await sdk(
        "payment_intents.capture", intent.id, {"amount_to_capture": 5000, "expand": ["latest_charge"]}
    )
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("succeeded", 5000, 0)
    charge = intent.latest_charge
    assert (charge.amount, charge.amount_captured, charge.amount_refunded) == (6500, 5000, 0)
    await settle(raw)
    assert await happened(sdk) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
        "charge.updated",
    ]
    assert [item.amount for item in (await sdk("balance_transactions.list")).data] == [5000]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("payment_intents.capture", intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize("by", ["cancel", "refund"])
async def test_an_authorization_is_let_go_of(sdk: Sdk, by: str) -> None:
    intent = await pay(sdk, capture_method="manual")
    if by == "cancel":
        await sdk("payment_intents.cancel", intent.id)
    else:
        with pytest.raises(stripe.InvalidRequestError, match="partially refund an uncaptured"):
            await sdk("refunds.create", {"payment_intent": intent.id, "amount": 100})
        refund = await sdk("refunds.create", {"payment_intent": intent.id})
        assert refund.balance_transaction is None
    intent = await sdk("payment_intents.retrieve", intent.id, {"expand": ["latest_charge"]})
    assert (intent.status, intent.latest_charge.refunded, intent.latest_charge.captured) == (
        "canceled",
        True,
        False,
    )
    assert (await happened(sdk))[3:] == ["refund.created", "charge.refunded", "payment_intent.canceled"]
    assert not (await sdk("balance_transactions.list")).data
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("payment_intents.cancel", intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"


async def test_states_before_the_attempt(sdk: Sdk) -> None:
    intent = await sdk("payment_intents.create", {"amount": 2000, "currency": "usd", **NO_REDIRECT})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("payment_intents.confirm", intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    intent = await sdk(
        "payment_intents.update", intent.id, {"payment_method": "pm_card_visa", "amount": 3000}
    )
    assert (intent.status, intent.amount) == ("requires_confirmation", 3000)
    intent = await sdk("payment_intents.confirm", intent.id)
    assert (intent.status, intent.amount_received) == ("succeeded", 3000)
    for call in ("confirm", "cancel"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await sdk(f"payment_intents.{call}", intent.id)
        assert caught.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("payment_intents.update", intent.id, {"amount": 1})
    assert caught.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
async def test_three_d_secure_by_redirect(sdk: Sdk, raw: Raw, outcome: str) -> None:
    intent = await pay(
        sdk,
        "pm_card_threeDSecure2Required",
        automatic_payment_methods={"enabled": True},
        return_url="https://shop.example/done?order=7",
    )
    assert intent.status == "requires_action"
    page = intent.next_action.redirect_to_url.url
    async with aiohttp.ClientSession() as browser:
        async with browser.get(page) as shown:
            assert "Authenticate" in await shown.text()
        async with browser.get(page.replace("_secret_", "_secret_x")) as shown:
            assert shown.status == 404
        async with browser.post(page, data={"outcome": outcome}, allow_redirects=False) as gone:
            assert gone.status == 303
            back = gone.headers["location"]
    assert back.startswith("https://shop.example/done?order=7&payment_intent=pi_3")
    intent = await sdk("payment_intents.retrieve", intent.id, {"expand": ["latest_charge"]})
    if outcome == "succeed":
        assert back.endswith("redirect_status=succeeded")
        assert intent.latest_charge.payment_method_details.card.three_d_secure.result == "authenticated"
        assert (await happened(sdk))[1:] == [
            "payment_intent.requires_action",
            "charge.succeeded",
            "payment_intent.succeeded",
        ]
        async with aiohttp.ClientSession() as browser, browser.get(intent.latest_charge.receipt_url) as shown:
            assert "20.00 USD" in await shown.text()
    else:
        assert back.endswith("redirect_status=failed")
        assert intent.last_payment_error.code == "payment_intent_authentication_failure"
        assert (await happened(sdk))[1:] == [
            "payment_intent.requires_action",
            "payment_intent.payment_failed",
        ]


async def test_three_d_secure_by_control(sdk: Sdk, raw: Raw) -> None:
    intent = await pay(sdk, "pm_card_authenticationRequired")
    assert intent.next_action.type == "use_stripe_sdk"
    path = f"payment_intents/{intent.id}/authenticate"
    assert (await raw.control("POST", path, {"outcome": "succeed"}))["status"] == "succeeded"

    declined = await pay(sdk, "pm_card_threeDSecureRequiredChargeDeclined")
    path = f"payment_intents/{declined.id}/authenticate"
    assert (await raw.control("POST", path, {"outcome": "succeed"}))["status"] == "requires_payment_method"
    assert (await happened(sdk))[-2:] == ["charge.failed", "payment_intent.payment_failed"]


async def test_off_session_needs_a_card_that_was_set_up(sdk: Sdk, raw: Raw) -> None:
    customer = await sdk("customers.create", {})
    card = {"number": "4000002500003155", "exp_month": 1, "exp_year": 2040, "cvc": "123"}
    method = await sdk("payment_methods.create", {"type": "card", "card": card})
    await sdk("payment_methods.attach", method.id, {"customer": customer.id})
    later = {"customer": customer.id, "off_session": True}
    with pytest.raises(stripe.CardError) as caught:
        await pay(sdk, method.id, **later)
    assert caught.value.code == "authentication_required"
    intent = await pay(sdk, method.id, customer=customer.id, setup_future_usage="off_session")
    assert intent.status == "requires_action"
    await raw.control("POST", f"payment_intents/{intent.id}/authenticate", {"outcome": "succeed"})
    assert (await pay(sdk, method.id, **later)).status == "succeeded"


async def test_a_payment_method_without_a_customer_pays_once(sdk: Sdk) -> None:
    method = await sdk("payment_methods.create", {"type": "card", "card": {"token": "tok_visa"}})
    await pay(sdk, method.id)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await pay(sdk, method.id)
    customer = await sdk("customers.create", {})
    kept = await pay(sdk, customer=customer.id, setup_future_usage="off_session")
    assert (await pay(sdk, kept.payment_method, customer=customer.id)).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="belongs to the Customer"):
        await pay(sdk, kept.payment_method)


async def test_refunds_until_nothing_is_left(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    intent = await pay(sdk)
    first = await sdk("refunds.create", {"charge": intent.latest_charge, "amount": 1500})
    assert first.balance_transaction
    with pytest.raises(stripe.InvalidRequestError, match=r"20\.00 usd|6\.00 usd"):
        await sdk("refunds.create", {"payment_intent": intent.id, "amount": 600})
    await sdk("refunds.create", {"payment_intent": intent.id, "reason": "requested_by_customer"})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("refunds.create", {"payment_intent": intent.id})
    assert caught.value.code == "charge_already_refunded"
    await settle(raw)
    assert (await happened(sdk))[3:] == [
        "charge.updated",
        *["refund.created", "charge.refunded"] * 2,
        *["refund.updated", "charge.refund.updated"] * 2,
    ]
    charge = await sdk("charges.retrieve", intent.latest_charge)
    assert (charge.refunded, charge.amount_refunded) == (True, 2000)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be canceled"):
        await sdk("refunds.cancel", first.id)
    await hooked.until("charge.refunded", "charge.refunded", "refund.updated")
    assert hooked.of("charge.refunded")["data"]["previous_attributes"]


async def test_a_pending_refund_succeeds_later(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    intent = await pay(sdk, "pm_card_pendingRefund")
    refund = await sdk("refunds.create", {"payment_intent": intent.id})
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    await settle(raw)
    refund = await sdk("refunds.retrieve", refund.id)
    assert (refund.status, hasattr(refund, "pending_reason")) == ("succeeded", False)
    await hooked.until("refund.updated", "charge.refund.updated")
    assert hooked.of("refund.updated")["data"]["previous_attributes"]["status"] == "pending"


async def test_a_refund_fails_later_and_the_money_comes_back(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    intent = await pay(sdk, "pm_card_refundFail")
    refund = await sdk("refunds.create", {"payment_intent": intent.id})
    assert refund.status == "succeeded"
    await settle(raw)
    refund = await sdk("refunds.retrieve", refund.id, {"expand": ["failure_balance_transaction"]})
    assert (refund.status, refund.failure_balance_transaction.type) == ("failed", "refund_failure")
    charge = await sdk("charges.retrieve", intent.latest_charge)
    assert (charge.refunded, charge.amount_refunded) == (False, 0)
    assert [item.net for item in (await sdk("balance_transactions.list")).data] == [2000, -2000, 1912]
    await hooked.until("refund.failed", "refund.updated")


async def test_currencies_and_when_funds_are_available(sdk: Sdk, raw: Raw) -> None:
    await pay(sdk, amount=1000, currency="jpy")
    await pay(sdk, amount=10000, currency="kwd")
    await pay(sdk, "pm_card_bypassPending")
    await settle(raw)
    balance = (await sdk("balance.retrieve")).to_dict()
    assert {row["currency"]: row["amount"] for row in balance["pending"]} == {
        "usd": 0,
        "jpy": 1000 - 29 - 30,
        "kwd": 10000 - 290 - 300,
    }
    assert balance["available"][0]["amount"] == 1912
    await raw.control("POST", "settle", {"funds": True})
    balance = (await sdk("balance.retrieve")).to_dict()
    assert {row["currency"]: row["amount"] for row in balance["available"]} == {
        "usd": 1912,
        "jpy": 941,
        "kwd": 9410,
    }
    assert "balance.available" in await happened(sdk)
    assert {item.status for item in (await sdk("balance_transactions.list")).data} == {"available"}


async def test_conversion_into_the_settlement_currency(sdk: Sdk, raw: Raw) -> None:
    await raw.control(
        "POST", "settings", {"settlement_currencies": [], "exchange_rates": {"jpy:usd": "0.0066"}}
    )
    await pay(sdk, amount=1000, currency="jpy")
    await settle(raw)
    txn = (await sdk("balance_transactions.list", {"expand": ["data.source"]})).data[0]
    assert (txn.currency, txn.amount, txn.fee, txn.exchange_rate) == ("usd", 660, 19 + 30, 0.0066)
    assert (txn.source.currency, txn.source.amount) == ("jpy", 1000)
    with pytest.raises(stripe.InvalidRequestError, match="no exchange rate"):
        await pay(sdk, currency="eur")


async def test_delays_pass_by_themselves() -> None:
    async with running_sandbox(SandboxConfig(settlement_delay=0.05, refund_delay=0.05)) as box:
        sdk = Sdk(box.url)
        intent = await pay(sdk)
        box.sandbox.store.commit()
        while (await sdk("charges.retrieve", intent.latest_charge)).balance_transaction is None:
            pass
        refund = await sdk("refunds.create", {"payment_intent": intent.id})
        while refund.destination_details.card.reference_status == "pending":
            refund = await sdk("refunds.retrieve", refund.id)
        await sdk.close()


async def test_seeded_ids_repeat(box: RunningSandbox, sdk: Sdk) -> None:
    first = await pay(sdk)
    async with running_sandbox(box.sandbox.config) as other:
        again = Sdk(other.url)
        assert (await pay(again)).id == first.id
        await again.close()


async def test_an_authorization_runs_out(receiver: Receiver) -> None:
    clock = ManualClock()
    async with running_sandbox(SandboxConfig(clock=clock)) as box:
        sdk = Sdk(box.url)
        await sdk("webhook_endpoints.create", {"url": receiver.url, "enabled_events": ["*"]})
        intent = await pay(sdk, capture_method="manual")
        clock.advance(8 * 86_400)
        intent = await sdk("payment_intents.retrieve", intent.id)
        assert (intent.status, intent.cancellation_reason) == ("canceled", "automatic")
        refund = (await sdk("refunds.list", {"payment_intent": intent.id})).data[0]
        assert (refund.reason, refund.balance_transaction) == ("expired_uncaptured_charge", None)
        await receiver.until("charge.expired", "refund.created", "payment_intent.canceled")
        await sdk.close()
