"""The gateway against Stripe's own test mode: what the sandbox stands in for everywhere else."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator

import pytest

from tallystick.payments.reports import intent_report
from tallystick.payments.status import PaymentStatus
from tallystick.settings import load_settings
from tallystick.stripe_gateway.answers import DeclinedError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import PaymentIntent, Refund

KEY = os.environ.get("STRIPE_TEST_SECRET_KEY", "")
pytestmark = pytest.mark.skipif(not KEY, reason="needs Stripe's test mode: set STRIPE_TEST_SECRET_KEY")

ORDER = {
    "amount": 1234,
    "currency": "usd",
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
}


@pytest.fixture
async def stripe() -> AsyncIterator[StripeGateway]:
    gateway = StripeGateway(load_settings({}, require=(), stripe_secret_key=KEY))
    yield gateway
    await gateway.close()


async def test_a_payment_is_made_once_and_given_back(stripe: StripeGateway) -> None:
    key = f"tallystick-test-{secrets.token_hex(8)}"
    order = {**ORDER, "payment_method": "pm_card_visa"}
    first = await stripe.create_payment_intent(order, key)
    again = await stripe.create_payment_intent(order, key)
    assert first.object["id"] == again.object["id"]
    intent = PaymentIntent.read(again.object)
    report = intent_report(intent, at=again.at, source="")
    assert (report.status, report.amount_captured) == (PaymentStatus.SUCCEEDED, 1234)
    back = await stripe.create_refund({"payment_intent": intent.id, "amount": 234}, f"{key}-refund")
    assert Refund.read(back.object).amount == 234


async def test_a_decline_comes_with_its_code_and_its_intent(stripe: StripeGateway) -> None:
    order = {**ORDER, "payment_method": "pm_card_chargeDeclinedInsufficientFunds"}
    with pytest.raises(DeclinedError) as declined:
        await stripe.create_payment_intent(order, f"tallystick-test-{secrets.token_hex(8)}")
    assert declined.value.extra["decline_code"] == "insufficient_funds"
    assert declined.value.intent is not None
    assert PaymentIntent.read(declined.value.intent.object).status == "requires_payment_method"


async def test_balance_transactions_come_with_their_source(stripe: StripeGateway) -> None:
    page = await stripe.list_balance_transactions(created_gte=0, created_lt=None, starting_after=None)
    assert all(isinstance(txn["source"], dict) for txn in page["data"] if txn["type"] == "charge")
