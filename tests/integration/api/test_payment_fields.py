"""What a payment can be asked to do beyond an amount: every field reaches Stripe and comes back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.integration.api.conftest import Face
from tests.integration.api.test_refusals import assert_problem

ONLINE = {
    "customer_acceptance": {
        "type": "online",
        "online": {"ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0"},
        "accepted_at": 1_790_000_000,
    }
}


async def customer_with(face: Face, method: str) -> tuple[str, str]:
    """A customer at the sandbox and a payment method saved with them, as another service would do it."""
    async with httpx.AsyncClient(base_url=face.sandbox.url, auth=("sk_test_abc", "")) as stripe:
        customer = (await stripe.post("/v1/customers")).json()["id"]
        attached = await stripe.post(f"/v1/payment_methods/{method}/attach", data={"customer": customer})
        return customer, attached.json()["id"]


async def test_what_statements_and_receipts_say(face: Face) -> None:
    said = {
        "receipt_email": "ada@example.com",
        "statement_descriptor_suffix": "ORDER 7",
        "setup_future_usage": "off_session",
    }
    paid = await face.pay(**said)
    assert {name: paid[name] for name in said} == said
    (intent,) = await face.intents()
    assert {name: intent[name] for name in said} == said


async def test_an_update_sets_keeps_and_unsets(face: Face) -> None:
    paid = await face.pay(description="Order 7", metadata={"order": "7", "old": "x"})
    path = f"/payments/{paid['id']}"
    changed = (await face.post(path, {"metadata": {"old": "", "new": "y"}, "receipt_email": "a@b.co"})).json()
    assert changed["metadata"] == {"order": "7", "new": "y"}
    assert (changed["description"], changed["receipt_email"]) == ("Order 7", "a@b.co")
    (intent,) = await face.intents()
    assert intent["metadata"] == {"order": "7", "new": "y", "tallystick_payment": paid["id"]}
    cleared = (await face.post(path, {"description": "", "metadata": None, "receipt_email": None})).json()
    assert (cleared["description"], cleared["metadata"], cleared["receipt_email"]) == (None, {}, None)
    (intent,) = await face.intents()
    assert intent["metadata"] == {"tallystick_payment": paid["id"]}
    same = (await face.post(path, {})).json()
    assert {**same, "updated_at": None} == {**cleared, "updated_at": None}
    assert (await face.http.get(path)).json()["description"] is None


async def test_an_update_cannot_touch_what_is_ours(face: Face) -> None:
    paid = await face.pay()
    for body in ({"metadata": {"tallystick_payment": ""}}, {"metadata": {"tallystick_x": "1"}}):
        assert_problem(await face.post(f"/payments/{paid['id']}", body), 400, "invalid_request")
    assert_problem(await face.post("/payments/pay_none", {"description": "x"}), 404, "not_found")
    assert_problem(await face.post(f"/payments/{paid['id']}", {"amount": 5}), 400, "invalid_request")


async def test_an_update_is_done_once_a_key(face: Face) -> None:
    paid = await face.pay()
    path = f"/payments/{paid['id']}"
    first = await face.post(path, {"description": "one"}, key="k")
    await face.post(path, {"description": "two"})
    again = await face.post(path, {"description": "one"}, key="k")
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await face.http.get(path)).json()["description"] == "two"
    assert_problem(await face.post(path, {"description": ""}, key="k"), 422, "idempotency_key_reused")


async def test_off_session_with_a_saved_card(face: Face) -> None:
    customer, method = await customer_with(face, "pm_card_visa")
    paid = await face.pay(customer=customer, payment_method=method, off_session=True)
    assert (paid["status"], paid["customer"]) == ("succeeded", customer)


async def test_off_session_that_needs_the_customer(face: Face) -> None:
    """The problem says so by its own code, and the customer can finish the same payment."""
    customer, method = await customer_with(face, "pm_card_authenticationRequired")
    order = {"amount": 1000, "currency": "usd", "customer": customer, "payment_method": method}
    answer = await face.post("/payments", {**order, "confirm": True, "off_session": True}, key="k")
    problem = assert_problem(answer, 402, "customer_authentication_required")
    assert problem["decline_code"] == "authentication_required"
    payment = problem["payment"]
    assert payment["status"] == "requires_payment_method"
    assert payment["client_secret"]
    path = f"/payments/{payment['id']}/confirm"
    body = {"payment_method": method, "return_url": "https://shop.example/back"}
    on_session = (await face.post(path, body)).json()
    assert on_session["status"] == "requires_action"
    assert on_session["next_action"]["redirect_to_url"]["return_url"] == "https://shop.example/back"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"confirm": False, "off_session": True}, "off_session"),
        ({"confirm": False, "mandate_data": ONLINE}, "mandate_data"),
        ({"off_session": True}, "customer"),
        (
            {"off_session": True, "customer": "cus_1", "setup_future_usage": "off_session"},
            "setup_future_usage",
        ),
        ({"statement_descriptor": "1234"}, "statement_descriptor"),
        ({"statement_descriptor_suffix": "A<B"}, "statement_descriptor_suffix"),
        ({"statement_descriptor": "A" * 23}, "statement_descriptor"),
        ({"receipt_email": "nobody"}, "receipt_email"),
        ({"payment_method_types": ["card"]}, "payment_method_types"),
        ({"mandate_data": {"customer_acceptance": {"type": "online"}}}, "mandate_data.customer_acceptance"),
    ],
)
async def test_fields_that_do_not_fit_are_named(face: Face, wrong: dict[str, Any], param: str) -> None:
    order = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    problem = assert_problem(await face.post("/payments", {**order, **wrong}), 400, "invalid_request")
    assert problem["param"] == param
    assert await face.intents() == []


@pytest.mark.parametrize(
    ("method", "currency"), [("pm_usBankAccount_success", "usd"), ("pm_sepaDebit_success_at", "eur")]
)
async def test_a_bank_debit_is_processing(face: Face, method: str, currency: str) -> None:
    paid = await face.pay(payment_method=method, currency=currency, mandate_data=ONLINE)
    assert (paid["status"], paid["amount_captured"]) == ("processing", 0)
    (intent,) = await face.intents()
    assert intent["status"] == "processing"


async def test_redirects_can_be_allowed_before_the_return_url_is_known(face: Face) -> None:
    order = {"amount": 1000, "currency": "eur", "allow_redirects": "always"}
    begun = (await face.post("/payments", order)).json()
    (intent,) = await face.intents()
    assert intent["automatic_payment_methods"] == {"enabled": True, "allow_redirects": "always"}
    body = {"payment_method": "pm_card_visa", "return_url": "https://shop.example/back"}
    assert (await face.post(f"/payments/{begun['id']}/confirm", body)).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("amount", "currency"), [(1050, "isk"), (10_001, "ugx"), (1234, "kwd"), (49, "usd"), (100_000_000, "jpy")]
)
async def test_amounts_that_stripe_would_refuse(face: Face, amount: int, currency: str) -> None:
    problem = assert_problem(
        await face.post("/payments", {"amount": amount, "currency": currency}), 400, "invalid_amount"
    )
    assert problem["param"] == "amount"
    assert await face.intents() == []


async def test_parts_of_a_payment_keep_to_the_rules_of_its_currency(face: Face) -> None:
    """Captures and refunds too: whole krónur, and three decimals whose last is 0."""
    for currency, amount, odd in (("isk", 100_000, 1050), ("kwd", 10_000, 1234)):
        held = await face.pay(currency=currency, amount=amount, capture_method="manual")
        path = f"/payments/{held['id']}"
        for verb in ("capture", "refund"):
            if verb == "refund":
                await face.post(f"{path}/capture")
            for wrong in (odd, 0, -100):
                problem = assert_problem(
                    await face.post(f"{path}/{verb}", {"amount": wrong}), 400, "invalid_amount"
                )
                assert problem["param"] == "amount"
    assert await face.stripe_refunds() == []
