"""Payments through the API: what they become, and what a caller sees of it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.integration.api.conftest import Face
from tests.integration.api.test_refusals import assert_problem
from tests.integration.api.test_whole_road import bring_events

from tallystick.api import auth, keys


async def test_a_payment_that_succeeds(face: Face) -> None:
    paid = await face.pay(
        amount=1999, currency="eur", description="Order 7", metadata={"order": "7"}, customer=None
    )
    assert paid["status"] == "succeeded"
    assert (paid["object"], paid["amount"], paid["currency"]) == ("payment", 1999, "eur")
    assert (paid["amount_captured"], paid["amount_refunded"]) == (1999, 0)
    assert (paid["description"], paid["metadata"]) == ("Order 7", {"order": "7"})
    assert (paid["origin"], paid["livemode"], paid["capture_method"]) == ("api", False, "automatic")
    assert paid["client_secret"].startswith(paid["stripe"]["payment_intent"])
    assert paid["created_at"].endswith("Z")
    (intent,) = await face.intents()
    assert intent["metadata"] == {"order": "7", "tallystick_payment": paid["id"]}
    assert intent["automatic_payment_methods"] == {"enabled": True, "allow_redirects": "never"}
    read = (await face.http.get(f"/payments/{paid['id']}")).json()
    assert [entry["name"] for entry in read.pop("timeline")] == ["create", "payment"]
    assert read == {**paid, "timeline_cursor": None, "refunds": [], "disputes": [], "ledger": []}


async def test_a_payment_that_is_confirmed_later(face: Face) -> None:
    begun = (await face.post("/payments", {"amount": 500, "currency": "jpy"})).json()
    assert begun["status"] == "requires_payment_method"
    answer = await face.post(f"/payments/{begun['id']}/confirm", {"payment_method": "pm_card_visa"})
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.json()["client_secret"] == begun["client_secret"]


async def test_with_a_return_url_redirects_are_allowed(face: Face) -> None:
    await face.pay(return_url="https://shop.example/back")
    (intent,) = await face.intents()
    assert intent["automatic_payment_methods"]["allow_redirects"] == "always"


async def test_a_decline_keeps_the_payment(face: Face) -> None:
    order = {"amount": 1000, "currency": "usd", "confirm": True}
    answer = await face.post(
        "/payments", {**order, "payment_method": "pm_card_chargeDeclinedInsufficientFunds"}
    )
    problem = assert_problem(answer, 402, "card_declined")
    assert (problem["stripe_code"], problem["decline_code"]) == ("card_declined", "insufficient_funds")
    payment = problem["payment"]
    assert payment["status"] == "requires_payment_method"
    assert payment["last_error"]["decline_code"] == "insufficient_funds"
    assert problem["payment_id"] == payment["id"]
    read = (await face.http.get(f"/payments/{payment['id']}")).json()
    assert {name: read[name] for name in payment} == payment
    again = await face.post(f"/payments/{payment['id']}/confirm", {"payment_method": "pm_card_visa"})
    assert again.json()["status"] == "succeeded"
    assert again.json()["last_error"] is None


async def test_a_decline_at_confirm(face: Face) -> None:
    begun = (await face.post("/payments", {"amount": 500, "currency": "usd"})).json()
    path = f"/payments/{begun['id']}/confirm"
    answer = await face.post(path, {"payment_method": "pm_card_chargeDeclined"})
    assert assert_problem(answer, 402, "card_declined")["payment"]["id"] == begun["id"]


async def test_a_payment_that_needs_authentication(face: Face) -> None:
    paid = await face.pay(payment_method="pm_card_authenticationRequired")
    assert paid["status"] == "requires_action"
    assert paid["next_action"]
    answer = await face.post(f"/payments/{paid['id']}/refund", {})
    assert_problem(answer, 409, "invalid_state")


async def test_the_answer_to_the_latest_call_stands_within_the_second(face: Face) -> None:
    """A decline and the next attempt fall into one second of Stripe's clock, which has no finer one."""
    order = {"amount": 1000, "currency": "usd", "confirm": True, "payment_method": "pm_card_chargeDeclined"}
    declined = (await face.post("/payments", order)).json()["payment"]
    body = {"payment_method": "pm_card_authenticationRequired", "return_url": "https://shop.example/back"}
    tried = (await face.post(f"/payments/{declined['id']}/confirm", body)).json()
    assert (tried["status"], bool(tried["next_action"])) == ("requires_action", True)


async def test_a_part_is_captured(face: Face) -> None:
    paid = await face.pay(amount=6500, capture_method="manual")
    assert (paid["status"], paid["amount_capturable"], paid["amount_captured"]) == (
        "requires_capture", 6500, 0,
    )  # fmt: skip
    path = f"/payments/{paid['id']}/capture"
    for amount, code in ((0, "invalid_amount"), (-1, "invalid_amount"), (6501, "invalid_amount")):
        assert_problem(await face.post(path, {"amount": amount}), 400, code, "amount")
    captured = (await face.post(path, {"amount": 5000})).json()
    assert (captured["status"], captured["amount_captured"], captured["amount"]) == (
        "succeeded", 5000, 6500,
    )  # fmt: skip
    assert captured["client_secret"] is None
    assert_problem(await face.post(path, {}), 409, "invalid_state")


async def test_all_is_captured_without_a_body(face: Face) -> None:
    paid = await face.pay(capture_method="manual")
    answer = await face.http.post(f"/payments/{paid['id']}/capture")
    assert answer.json()["amount_captured"] == 1000


async def test_a_payment_is_cancelled(face: Face) -> None:
    paid = await face.pay(capture_method="manual")
    path = f"/payments/{paid['id']}/cancel"
    answer = await face.post(path, {"cancellation_reason": "abandoned"})
    assert (answer.json()["status"], answer.json()["cancellation_reason"]) == ("canceled", "abandoned")
    assert_problem(await face.post(path, {}), 409, "invalid_state")
    assert_problem(await face.post(path, {"cancellation_reason": "whim"}), 400, "invalid_request")


async def test_a_succeeded_payment_cannot_be_cancelled_and_stays_as_it_is(face: Face) -> None:
    paid = await face.pay()
    assert_problem(await face.post(f"/payments/{paid['id']}/cancel", {}), 409, "invalid_state")
    assert (await face.http.get(f"/payments/{paid['id']}")).json()["status"] == "succeeded"


async def test_what_stripe_knows_better_is_learned_from_its_no(face: Face) -> None:
    """The webhook of a cancellation made elsewhere is still under way."""
    paid = await face.pay(capture_method="manual")
    await face.app.stripe.cancel_payment_intent(paid["stripe"]["payment_intent"], {}, "elsewhere")
    problem = assert_problem(await face.post(f"/payments/{paid['id']}/capture", {}), 409, "invalid_state")
    assert problem["payment_id"] == paid["id"]
    assert (await face.http.get(f"/payments/{paid['id']}")).json()["status"] == "canceled"


async def test_a_payment_without_a_payment_intent_cannot_go_on_yet(face: Face) -> None:
    await face.fault(action="cut", when="after", path="/v1/payment_intents", method="POST")
    lost = await face.post("/payments", {"amount": 500, "currency": "usd"})
    answer = await face.post(f"/payments/{lost.json()['payment_id']}/capture", {})
    assert_problem(answer, 409, "invalid_state")
    assert answer.headers["retry-after"]


async def test_the_list_is_paged_newest_first_without_gaps(face: Face) -> None:
    made = await asyncio.gather(*(face.pay(amount=1000 + n) for n in range(7)))
    assert len({payment["created_at"] for payment in made}) < 7  # whole seconds tie
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await face.http.get("/payments", params={"limit": "3", **cursor})).json()
        seen += page["data"]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [payment["id"] for payment in seen] == [
        payment["id"] for payment in sorted(made, key=lambda p: (p["created_at"], p["id"]), reverse=True)
    ]
    assert {payment["client_secret"] for payment in seen} == {None}


@pytest.mark.parametrize("fault", [{"action": "status", "status": 429}, {"action": "cut"}])
async def test_without_a_key_nothing_that_never_happened_is_kept(face: Face, fault: dict[str, Any]) -> None:
    await face.fault(path="/v1/payment_intents", method="POST", **fault)
    answer = await face.post("/payments", {"amount": 500, "currency": "usd"})
    problem = assert_problem(answer, 503, "stripe_unavailable")
    # a cut connection may have done it; a 429 has not
    assert ("payment_id" in problem) is (fault["action"] == "cut")
    assert (await face.rows())["payments"] == int(fault["action"] == "cut")


async def test_a_revoked_key_is_out_within_seconds(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = await face.key("payments:read")
    mine = {"Authorization": f"Bearer {secret}"}
    monkeypatch.setattr(auth, "REMEMBER_S", 0.2)
    assert (await face.http.get("/payments", headers=mine)).status_code == 200
    async with face.app.engine.begin() as connection:
        (key,) = [key for key in await keys.list_keys(connection) if key["scopes"] == ["payments:read"]]
        assert key["last_used_at"]
        assert secret not in str(key)
        assert key["hint"] == secret[-4:]
        assert await keys.is_live(connection, secret)
        assert await keys.revoke_key(connection, key["id"])
        assert not await keys.revoke_key(connection, key["id"])
        assert not await keys.is_live(connection, secret)
    await asyncio.sleep(0.25)
    answer: httpx.Response = await face.http.get("/payments", headers=mine)
    assert_problem(answer, 401, "invalid_api_key")


async def test_events_move_nothing_back_whatever_the_time_is_at_stripe(face: Face) -> None:
    """The answer to a call is dated by Stripe's clock, not by ours, which may be behind."""
    async with httpx.AsyncClient(base_url=face.sandbox.url, auth=("sk_test_abc", "")) as stripe:
        await stripe.post("/_control/clock", json={"advance_seconds": 8 * 86_400})
        paid = await face.pay(capture_method="manual")
        assert paid["status"] == "requires_capture"
        events = (await stripe.get("/v1/events", params={"type": "payment_intent.created"})).json()["data"]
    (begun,) = [event["id"] for event in events]
    await bring_events(face, only=begun)
    assert (await face.http.get(f"/payments/{paid['id']}")).json()["status"] == "requires_capture"
