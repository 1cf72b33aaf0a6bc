"""Test cards, each by its documented behaviour; what a decline looks like is in the tests of payments."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk
from tests.integration.sandbox.test_sandbox_payments import NO_REDIRECT, happened, pay

from tallystick.sandbox import cards

SET_UP: dict[str, Any] = {"confirm": True, **NO_REDIRECT}


async def saved(sdk: Sdk, raw: Raw, method: str) -> dict[str, Any]:
    """A customer's payment method, set up (and authenticated where the card wants it), as pay() takes it."""
    customer = await sdk("customers.create", {})
    given = {"customer": customer.id, "payment_method": method, **SET_UP}
    intent = await sdk("setup_intents.create", given)
    if intent.status == "requires_action":
        path = f"setup_intents/{intent.id}/authenticate"
        shown = await raw.control("POST", path, {"outcome": "succeed"})
        assert shown["status"] == "succeeded"
    return {"method": intent.payment_method, "customer": customer.id}


async def refusal(sdk: Sdk, **given: Any) -> tuple[str, str]:
    """The codes with which a payment is declined."""
    with pytest.raises(stripe.CardError) as caught:
        await pay(sdk, **given)
    error: Any = caught.value.error
    return error.code, error.decline_code


@pytest.mark.parametrize(
    ("method", "attended", "away"),
    [
        ("pm_card_visa", "succeeded", None),
        ("pm_card_authenticationRequiredOnSetup", "requires_action", None),
        ("pm_card_authenticationRequiredSetupForOffSession", "requires_action", None),
        ("pm_card_authenticationRequired", "requires_action", "authentication_required"),
        ("pm_card_threeDSecureRequired", "requires_action", "authentication_required"),
        (
            "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
            "requires_action",
            "insufficient_funds",
        ),
    ],
)
async def test_who_authenticates_a_saved_card(
    sdk: Sdk, raw: Raw, method: str, attended: str, away: str | None
) -> None:
    own = await saved(sdk, raw, method)
    assert (await pay(sdk, **own)).status == attended
    if away is None:
        assert (await pay(sdk, **own, off_session=True)).status == "succeeded"
    else:
        assert (await refusal(sdk, **own, off_session=True))[1] == away


async def test_a_card_that_was_never_set_up(sdk: Sdk) -> None:
    once = {"method": "pm_card_authenticationRequiredOnSetup", "off_session": True}
    assert await refusal(sdk, **once) == ("authentication_required", "authentication_required")
    already = "pm_card_authenticationRequiredSetupForOffSession"
    assert (await pay(sdk, already, off_session=True)).status == "succeeded"


async def test_authentication_where_it_is_optional(sdk: Sdk) -> None:
    asked = {"payment_method_options": {"card": {"request_three_d_secure": "any"}}}
    assert (await pay(sdk, "pm_card_threeDSecureOptional")).status == "succeeded"
    assert (await pay(sdk, "pm_card_threeDSecureOptional", **asked)).status == "requires_action"
    assert (await pay(sdk, "pm_card_visa", **asked)).status == "succeeded"
    set_up = {"payment_method": "pm_card_threeDSecureOptional", **SET_UP}
    assert (await sdk("setup_intents.create", set_up)).status == "succeeded"
    assert (await sdk("setup_intents.create", {**set_up, **asked})).status == "requires_action"


async def test_a_set_up_that_is_not_authenticated(sdk: Sdk, raw: Raw) -> None:
    given = {"payment_method": "pm_card_authenticationRequired", **SET_UP}
    intent = await sdk("setup_intents.create", given)
    await raw.control("POST", f"setup_intents/{intent.id}/authenticate", {"outcome": "fail"})
    intent = await sdk("setup_intents.retrieve", intent.id)
    assert (intent.status, intent.last_setup_error.code) == (
        "requires_payment_method",
        "setup_intent_authentication_failure",
    )
    assert (await happened(sdk))[-1] == "setup_intent.setup_failed"


async def test_refusing_to_authenticate_is_a_decline_of_its_own(sdk: Sdk) -> None:
    codes = await refusal(sdk, method="pm_card_threeDSecure2Required", error_on_requires_action=True)
    assert codes == ("authentication_required", "authentication_not_handled")
    assert await happened(sdk) == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]


async def test_what_is_set_up_for_later_is_not_paid_off_session(sdk: Sdk) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await pay(sdk, off_session=True, setup_future_usage="off_session")
    assert caught.value.param == "setup_future_usage"


async def test_a_manual_confirmation_is_confirmed_twice(sdk: Sdk, raw: Raw) -> None:
    intent = await pay(sdk, "pm_card_threeDSecure2Required", confirmation_method="manual")
    assert intent.status == "requires_action"
    path = f"payment_intents/{intent.id}/authenticate"
    assert (await raw.control("POST", path, {"outcome": "succeed"}))["status"] == "requires_confirmation"
    assert (await happened(sdk))[-1] == "payment_intent.requires_action"
    intent = await sdk("payment_intents.confirm", intent.id, {"expand": ["latest_charge"]})
    assert intent.status == "succeeded"
    details = intent.latest_charge.payment_method_details
    assert details.card.three_d_secure.result == "authenticated"

    late = await pay(sdk, "pm_card_threeDSecure2Required", confirmation_method="manual")
    await raw.control("POST", f"payment_intents/{late.id}/authenticate", {"outcome": "succeed"})
    await raw.control("POST", "clock", {"advance_seconds": 3601})
    assert (await sdk("payment_intents.retrieve", late.id)).status == "requires_payment_method"


@pytest.mark.parametrize(
    ("number", "sent", "expected"),
    [
        ("4242424242424242", {"cvc": "123"}, ("pass", "pass", "pass")),
        ("4242424242424242", {}, (None, "pass", "pass")),
        ("4000000000000101", {"cvc": "123"}, ("fail", "pass", "pass")),
        ("4000000000000101", {}, (None, "pass", "pass")),
        ("4000000000000036", {"cvc": "123"}, ("pass", "pass", "fail")),
        ("4000000000000028", {"cvc": "123"}, ("pass", "fail", "pass")),
        ("4000000000000010", {"cvc": "123"}, ("pass", "fail", "fail")),
        ("4000000000000044", {"cvc": "123"}, ("pass", "unchecked", "unchecked")),
    ],
)
async def test_checks(sdk: Sdk, number: str, sent: dict[str, str], expected: tuple[str | None, ...]) -> None:
    given = {
        "type": "card",
        "card": {"number": number, "exp_month": 1, "exp_year": 2040, **sent},
        "billing_details": {"address": {"line1": "1 High Street", "postal_code": "12345"}},
    }
    method = await sdk("payment_methods.create", given)
    checks = method.card.checks
    shown = (checks.cvc_check, checks.address_line1_check, checks.address_postal_code_check)
    assert shown == expected
    assert (await pay(sdk, method.id)).status == "succeeded"


async def test_risk(sdk: Sdk) -> None:
    intent = await pay(sdk, "pm_card_riskLevelElevated", expand=["latest_charge"])
    assert intent.latest_charge.outcome.risk_level == "elevated"
    assert await refusal(sdk, method="pm_card_riskLevelHighest") == ("card_declined", "fraudulent")


async def test_cards_of_other_countries_and_networks(sdk: Sdk) -> None:
    for name, (country, brand, funding) in {
        "br": ("BR", "visa", "credit"),
        "gb_debit": ("GB", "visa", "debit"),
        "ae_mastercard": ("AE", "mastercard", "credit"),
        "th_credit": ("TH", "visa", "credit"),
        "us": ("US", "visa", "credit"),
    }.items():
        intent = await pay(sdk, f"pm_card_{name}", expand=["payment_method"])
        card = intent.payment_method.card
        assert (card.country, card.brand, card.funding) == (country, brand, funding)
    given = {"type": "card", "card": {"token": "tok_visa_cartesBancaires"}}
    card = (await sdk("payment_methods.create", given)).card
    assert card.networks.available == ["cartes_bancaires", "visa"]


def test_every_number_is_one() -> None:
    for number, card in cards.BY_NUMBER.items():
        assert cards._luhn(number), number
        assert cards.by_number(number) is card


async def test_a_card_is_updated_to_what_it_can_be(sdk: Sdk, raw: Raw) -> None:
    own = await saved(sdk, raw, "pm_card_visa")
    path = f"/v1/payment_methods/{own['method']}"
    for fields, code in (({"card[exp_month]": "13"}, "month"), ({"card[exp_year]": "2001"}, "year")):
        status, body, _ = await raw("POST", path, fields)
        assert (status, body["error"]["code"]) == (402, f"invalid_expiry_{code}")
    status, body, _ = await raw("POST", path, {"card[exp_year]": "41"})
    assert (status, body["card"]["exp_year"]) == (200, 2041)


async def test_a_payment_method_below_its_customer(sdk: Sdk, raw: Raw) -> None:
    own = await saved(sdk, raw, "pm_card_visa")
    method = await sdk("customers.payment_methods.retrieve", own["customer"], own["method"])
    assert method.id == own["method"]
    other = await sdk("customers.create", {})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("customers.payment_methods.retrieve", other.id, own["method"])
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    shown = await sdk("customers.payment_methods.list", own["customer"], {"allow_redisplay": "always"})
    assert shown.data == []


async def test_a_refund_below_its_charge(sdk: Sdk, raw: Raw) -> None:
    intent = await pay(sdk)
    refund = await sdk("refunds.create", {"payment_intent": intent.id})
    path = f"/v1/charges/{intent.latest_charge}/refunds/{refund.id}"
    status, body, _ = await raw("POST", path, {"metadata[a]": "1"})
    assert (status, body["metadata"]) == (200, {"a": "1"})
    other = await pay(sdk)
    status, body, _ = await raw("GET", f"/v1/charges/{other.latest_charge}/refunds/{refund.id}")
    assert (status, body["error"]["param"]) == (404, "id")


async def test_a_payout_that_is_reversed_does_not_fail_as_well(sdk: Sdk, raw: Raw) -> None:
    """Else its money would come back twice."""
    await raw.control("POST", "settings", {"payout_account": "000111111116"})
    await pay(sdk, "pm_card_bypassPending", amount=10_000)
    payout = await sdk("payouts.create", {"amount": 500, "currency": "usd"})
    for _ in range(2):
        await raw.control("POST", f"payouts/{payout.id}/advance")
    await sdk("payouts.reverse", payout.id)
    await raw.control("POST", "clock", {"advance_seconds": 60})
    assert (await sdk("payouts.retrieve", payout.id)).status == "paid"
    entries = (await sdk("balance_transactions.list", {"source": payout.id})).data
    assert [entry.amount for entry in entries] == [-500]


async def test_an_early_fraud_warning(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    intent = await pay(sdk, "pm_card_createIssuerFraudRecord")
    await raw.control("POST", "settle")
    await hooked.until("radar.early_fraud_warning.created")
    asked = {"payment_intent": intent.id, "expand": ["data.charge"]}
    (warning,) = (await sdk("radar.early_fraud_warnings.list", asked)).data
    assert (warning.actionable, warning.charge.id) == (True, intent.latest_charge)
    await sdk("refunds.create", {"payment_intent": intent.id, "amount": 100})
    assert (await sdk("radar.early_fraud_warnings.retrieve", warning.id)).actionable
    await sdk("refunds.create", {"payment_intent": intent.id})
    await hooked.until("radar.early_fraud_warning.updated")
    assert not (await sdk("radar.early_fraud_warnings.retrieve", warning.id)).actionable

    disputed = await pay(sdk, "pm_card_createIssuerFraudRecord")
    await raw.control("POST", "settle")
    await raw.control("POST", "disputes", {"charge": disputed.latest_charge})
    (warning,) = (await sdk("radar.early_fraud_warnings.list", {"charge": disputed.latest_charge})).data
    assert not warning.actionable
