"""How the API behaves: keys, versions, validation, idempotency, the control API's settings and faults."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.integration.sandbox.support import Raw, Sdk

CREATE = {"amount": "2000", "currency": "usd"}
PAY = {
    **CREATE,
    "payment_method": "pm_card_visa",
    "confirm": "true",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        ("Bearer", 401),
        ("Bearer sk_live_123", 401),
        ("Bearer pk_test_123", 403),
        ("Basic !!!", 401),
        ("Bearer sk_test_123", 200),
        ("Bearer rk_test_123", 200),
        (f"Basic {base64.b64encode(b'sk_test_123:').decode()}", 200),
    ],
)
async def test_keys(raw: Raw, authorization: str, status: int) -> None:
    got, body, headers = await raw("GET", "/v1/balance", headers={"Authorization": authorization})
    assert got == status
    assert headers["request-id"].startswith("req_")
    if status == 401:
        assert body["error"]["type"] == "invalid_request_error"


async def test_another_account_is_refused(raw: Raw) -> None:
    status, body, _ = await raw("GET", "/v1/balance", headers={"Stripe-Account": "acct_other"})
    assert (status, body["error"]["code"]) == (403, "account_invalid")


async def test_versions_in_and_out(raw: Raw) -> None:
    for sent, answered in [
        ("", "2026-08-26.dahlia"),
        ("2025-03-31.basil", "2025-03-31.basil"),
        ("nonsense", "2026-08-26.dahlia"),
    ]:
        headers = {"Stripe-Version": sent}
        assert (await raw("GET", "/v1/balance", headers=headers))[2]["stripe-version"] == answered


@pytest.mark.parametrize("version", ["1999-01-01", "2025-09-30.acacia", "2019-2-19", "latest"])
async def test_a_version_that_there_is_not_is_refused(raw: Raw, version: str) -> None:
    status, body, headers = await raw("GET", "/v1/customers", headers={"Stripe-Version": version})
    assert (status, body["error"]["message"]) == (400, f"Invalid Stripe API version: {version}")
    assert headers["stripe-version"] == "2026-08-26.dahlia"
    endpoint = {"url": "http://127.0.0.1:1", "enabled_events[]": "*", "api_version": version}
    status, body, _ = await raw("POST", "/v1/webhook_endpoints", endpoint)
    assert (status, body["error"]["param"]) == (400, "api_version")


async def test_a_version_newer_than_the_sandbox_is_taken(raw: Raw) -> None:
    status, _, headers = await raw("GET", "/v1/customers", headers={"Stripe-Version": "2027-03-31.future"})
    assert (status, headers["stripe-version"]) == (200, "2027-03-31.future")


async def test_old_versions_have_old_shapes(raw: Raw, sdk: Sdk) -> None:
    _, new, _ = await raw("POST", "/v1/payment_intents", PAY)
    path = f"{raw.url}/v1/payment_intents/{new['id']}"
    headers = {"Authorization": "Bearer sk_test_x", "Stripe-Version": "2020-08-27"}
    async with aiohttp.ClientSession() as session, session.get(path, headers=headers) as answer:
        old = await answer.json()
    assert old["charges"]["data"][0]["id"] == new["latest_charge"]
    assert old["charges"]["data"][0]["refunds"]["data"] == []
    assert (old["invoice"], "payment_record" in old, "payment_record" in new) == (None, False, True)


PM, EMAIL, WHOLE, MONTH = "payment_method", "receipt_email", "statement_descriptor", "exp_month"
CARD = {
    "type": "card",
    "card[number]": "4242424242424242",
    "card[exp_month]": "1",
    "card[exp_year]": "2040",
}


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "code", "param"),
    [
        ("GET", "/v1/nonsense", None, 404, None, None),
        ("PUT", "/v1/customers", None, 404, None, None),
        ("GET", "/v1/charges/ch_none", None, 404, "resource_missing", "id"),
        ("GET", "/v1/payment_intents/pi_none", None, 404, "resource_missing", "intent"),
        ("POST", "/v1/payment_methods/pm_none/attach", {"customer": "cus_x"}, 404, "resource_missing", PM),
        ("POST", "/v1/customers", {"email": "ada"}, 400, "email_invalid", "email"),
        ("POST", "/v1/payment_intents", {**CREATE, "receipt_email": "a b@c"}, 400, "email_invalid", EMAIL),
        ("POST", "/v1/payment_intents", {**CREATE, "statement_descriptor": "A SHOP"}, 400, None, WHOLE),
        ("POST", "/v1/payment_intents", {**CREATE, f"{WHOLE}_suffix": "12345"}, 400, None, f"{WHOLE}_suffix"),
        ("POST", "/v1/payment_intents", {**CREATE, f"{WHOLE}_suffix": "A<B"}, 400, None, f"{WHOLE}_suffix"),
        ("POST", "/v1/payment_methods", {**CARD, "card[cvc]": "99"}, 402, "invalid_cvc", "cvc"),
        (
            "POST",
            "/v1/payment_methods",
            {**CARD, "card[exp_month]": "0"},
            402,
            "invalid_expiry_month",
            MONTH,
        ),
        ("GET", "/v1/charges?starting_after=ch_none", None, 400, "resource_missing", "starting_after"),
        ("POST", "/v1/refunds", {"charge": "ch_none"}, 400, "resource_missing", "charge"),
        ("POST", "/v1/customers/cus_none/subscriptions", {}, 404, "resource_missing", "customer"),
        ("POST", "/v1/refunds", {}, 400, None, "charge"),
        ("POST", "/v1/payment_intents", {"amount": "2000"}, 400, "parameter_missing", "currency"),
        ("POST", "/v1/payment_intents", {**CREATE, "x": "1"}, 400, "parameter_unknown", "x"),
        ("POST", "/v1/payment_intents", {**CREATE, "metadata": "x"}, 400, None, "metadata"),
        (
            "POST",
            "/v1/payment_intents",
            {**CREATE, "shipping[x]": "1"},
            400,
            "parameter_unknown",
            "shipping[x]",
        ),
        (
            "POST",
            "/v1/payment_intents",
            {**CREATE, "amount": "x"},
            400,
            "parameter_invalid_integer",
            "amount",
        ),
        ("POST", "/v1/payment_intents", {**CREATE, "amount": ""}, 400, "parameter_invalid_empty", "amount"),
        (
            "POST",
            "/v1/payment_intents",
            {**CREATE, "amount": "0"},
            400,
            "parameter_invalid_integer",
            "amount",
        ),
        ("POST", "/v1/payment_intents", {**CREATE, "amount": "49"}, 400, "amount_too_small", "amount"),
        ("POST", "/v1/payment_intents", {**CREATE, "amount": "100000000"}, 400, "amount_too_large", "amount"),
        (
            "POST",
            "/v1/payment_intents",
            {"amount": "1001", "currency": "kwd"},
            400,
            "invalid_charge_amount",
            "amount",
        ),
        ("POST", "/v1/payment_intents", {**CREATE, "currency": "xxx"}, 400, None, "currency"),
        ("POST", "/v1/payment_intents", {**CREATE, "capture_method": "later"}, 400, None, "capture_method"),
        (
            "POST",
            "/v1/payment_intents",
            {**CREATE, "customer": "cus_none"},
            400,
            "resource_missing",
            "customer",
        ),
        (
            "POST",
            "/v1/payment_intents",
            {**CREATE, "payment_method_types[]": "card"},
            400,
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        ),
        ("POST", "/v1/payment_intents", {**CREATE, "return_url": "https://x"}, 400, None, "return_url"),
        (
            "POST",
            "/v1/payment_methods",
            {"type": "card", "card[number]": "4242424242424241"},
            402,
            "incorrect_number",
            "number",
        ),
        ("GET", "/v1/charges?limit=0", None, 400, "parameter_invalid_integer", "limit"),
        ("GET", "/v1/charges?limit=101", None, 400, "parameter_invalid_integer", "limit"),
        ("GET", "/v1/charges?x=1", None, 400, "parameter_unknown", "x"),
        ("GET", "/v1/charges?expand[]=data.nonsense.x", None, 200, None, None),
    ],
)
async def test_what_is_refused(
    raw: Raw, *, method: str, path: str, data: Any, status: int, code: str | None, param: str | None
) -> None:
    got, body, _ = await raw(method, path, data)
    assert got == status, body
    if status != 200:
        error = body["error"]
        assert (error.get("code"), error.get("param")) == (code, param)
        assert error["request_log_url"]
        assert ("doc_url" in error) == (code is not None)


async def test_how_errors_name_choices_and_bounds(raw: Raw) -> None:
    for path, told in (
        ("/v1/charges?limit=0", "This value must be greater than or equal to 1."),
        ("/v1/charges?limit=101", "This value must be less than or equal to 100 (it currently is '101')."),
        ("/v1/topups?status=x", "Invalid status: must be one of canceled, failed, pending, or succeeded"),
    ):
        status, body, _ = await raw("GET", path)
        assert (status, body["error"]["message"]) == (400, told)
    status, body, _ = await raw("POST", "/v1/setup_intents", {"usage": "x"})
    assert body["error"]["message"] == "Invalid usage: must be one of off_session or on_session"


async def test_expanding_what_cannot_be(raw: Raw) -> None:
    _, intent, _ = await raw("POST", "/v1/payment_intents", PAY)
    for path in ("nonsense", "latest_charge.nonsense", "a.b.c.d.e"):
        status, body, _ = await raw("GET", f"/v1/payment_intents/{intent['id']}?expand[]={path}")
        assert (status, body["error"]["param"]) == (400, "expand")


async def test_confirming_with_redirects_needs_a_return_url(raw: Raw) -> None:
    data = {**CREATE, "payment_method": "pm_card_visa", "confirm": "true"}
    status, body, _ = await raw("POST", "/v1/payment_intents", data)
    assert status == 400
    assert "you must provide a `return_url`" in body["error"]["message"]
    state = await raw.control("GET", "state")
    assert state["objects"]["payment_intent"] == state["objects"]["payment_method"] == 0  # undone
    assert state["objects"]["event"] == 0


async def test_payment_method_types_before_endive(raw: Raw) -> None:
    headers = {"Stripe-Version": "2026-03-25.dahlia"}
    data = {**CREATE, "payment_method_types[]": "card", "payment_method": "pm_card_visa", "confirm": "true"}
    status, body, _ = await raw("POST", "/v1/payment_intents", data, headers=headers)
    assert (status, body["automatic_payment_methods"], body["status"]) == (200, None, "succeeded")


async def test_metadata_and_unsetting(raw: Raw) -> None:
    data = {**CREATE, "metadata[a]": "1", "metadata[b]": "2", "description": "x"}
    _, intent, _ = await raw("POST", "/v1/payment_intents", data)
    path = f"/v1/payment_intents/{intent['id']}"
    _, intent, _ = await raw("POST", path, {"metadata[a]": "", "metadata[c]": "3", "description": ""})
    assert (intent["metadata"], intent["description"]) == ({"b": "2", "c": "3"}, None)
    _, intent, _ = await raw("POST", path, {"metadata": ""})
    assert intent["metadata"] == {}


async def test_idempotency_keys(raw: Raw) -> None:
    key = {"Idempotency-Key": "k1"}
    status, first, headers = await raw("POST", "/v1/payment_intents", PAY, headers=key)
    assert (status, headers["idempotency-key"]) == (200, "k1")
    status, again, replayed = await raw("POST", "/v1/payment_intents", PAY, headers=key)
    assert (status, again, replayed["idempotent-replayed"]) == (200, first, "true")
    assert replayed["original-request"] == headers["request-id"]
    status, body, _ = await raw("POST", "/v1/payment_intents", {**PAY, "amount": "2001"}, headers=key)
    assert (status, body["error"]["type"]) == (400, "idempotency_error")
    status, body, _ = await raw("POST", "/v1/customers", {}, headers=key)
    assert (status, body["error"]["type"]) == (400, "idempotency_error")

    key = {"Idempotency-Key": "k2"}
    status, declined, _ = await raw(
        "POST", "/v1/payment_intents", {**PAY, "payment_method": "pm_card_chargeDeclined"}, headers=key
    )
    assert status == 402
    status, again, replayed = await raw(
        "POST", "/v1/payment_intents", {**PAY, "payment_method": "pm_card_chargeDeclined"}, headers=key
    )
    assert (status, again, replayed["idempotent-replayed"]) == (402, declined, "true")

    key = {"Idempotency-Key": "k3"}
    assert (await raw("POST", "/v1/payment_intents", {"amount": "1"}, headers=key))[0] == 400
    assert (await raw("POST", "/v1/payment_intents", PAY, headers=key))[0] == 200  # not kept
    too_long = {"Idempotency-Key": "k" * 256}
    assert (await raw("POST", "/v1/payment_intents", PAY, headers=too_long))[0] == 400


async def test_a_stored_500_is_replayed(raw: Raw) -> None:
    await raw.control("POST", "faults", {"action": "status", "status": 500, "stored": True})
    key = {"Idempotency-Key": "k"}
    for replayed in (None, "true"):
        status, body, headers = await raw("POST", "/v1/payment_intents", PAY, headers=key)
        assert (status, body["error"]["type"]) == (500, "api_error")
        assert headers.get("idempotent-replayed") == replayed


async def test_a_key_in_flight(raw: Raw) -> None:
    await raw.control("POST", "settings", {"latency_ms": [100, 100]})
    key = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(raw("POST", "/v1/payment_intents", PAY, headers=key) for _ in range(2)))
    by_status = {status: body for status, body, _ in answers}
    assert set(by_status) == {200, 409}
    assert by_status[409]["error"]["code"] == "idempotency_key_in_use"
    await raw.control("POST", "settings", {"latency_ms": [0, 0]})
    status, body, _ = await raw("POST", "/v1/payment_intents", PAY, headers=key)
    assert (status, body) == (200, by_status[200])


async def test_faults(raw: Raw) -> None:
    rules = [
        {"action": "status", "status": 429, "code": "lock_timeout", "path": "/v1/customers", "count": 2},
        {"action": "timeout", "seconds": 0.05, "path": "/v1/refunds"},
        {"action": "delay", "seconds": 0.05, "path": "/v1/events"},
    ]
    await raw.control("POST", "faults", {"rules": rules})
    for status in (429, 429, 200):
        got, body, _ = await raw("GET", "/v1/customers")
        assert got == status
        assert status == 200 or body["error"]["code"] == "lock_timeout"
    with pytest.raises((aiohttp.ServerDisconnectedError, ConnectionResetError)):
        await raw("POST", "/v1/refunds")  # a GET aiohttp would try again by itself
    assert (await raw("GET", "/v1/events"))[0] == 200
    assert (await raw.control("DELETE", "faults"))["removed"] == 3

    await raw.control("POST", "faults", {"action": "status", "share": 0.5, "count": None, "seed": 3})
    seen = [(await raw("GET", "/v1/balance"))[0] for _ in range(20)]
    await raw.control("POST", "faults", {"action": "delay", "count": 0, "seed": 3})
    assert [(await raw("GET", "/v1/balance"))[0] for _ in range(20)] == seen
    assert set(seen) == {200, 500}


async def test_control_refuses_nonsense(raw: Raw) -> None:
    async with aiohttp.ClientSession() as session:
        for path, body in [
            ("settings", {"nonsense": 1}),
            ("settings", {"fee_percent": "much"}),
            ("settings", {"settlement_currencies": ["xxx"]}),
            ("settings", {"latency_ms": [5, 1]}),
            ("faults", {"action": "explode"}),
            ("faults", {"action": "cut", "nonsense": 1}),
            ("deliveries/policy", {"nonsense": 1}),
            ("settings", []),
        ]:
            async with session.post(f"{raw.url}/_control/{path}", json=body) as answer:
                assert answer.status == 400, path
        async with session.post(f"{raw.url}/_control/nonsense") as answer:
            assert answer.status == 404


async def test_reset(raw: Raw) -> None:
    await raw("POST", "/v1/payment_intents", PAY, headers={"Idempotency-Key": "k"})
    await raw.control("POST", "settings", {"fee_fixed": 0})
    await raw.control("POST", "reset")
    state = await raw.control("GET", "state")
    assert not any(state["objects"].values())
    assert (state["timers"], state["idempotency_keys"], state["balances"]) == (0, 0, {})
    assert (await raw.control("GET", "settings"))["fee_fixed"] == 30


RECORDED = json.loads((Path(__file__).parent / "recorded_keys.json").read_text())


@pytest.mark.parametrize("version", sorted(RECORDED))
async def test_key_sets_are_those_of_recorded_answers(raw: Raw, version: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def ask(method: str, path: str, data: Any = None) -> Any:
            headers = {"Authorization": "Bearer sk_test_x", "Stripe-Version": version}
            async with session.request(method, raw.url + path, data=data, headers=headers) as answer:
                return await answer.json()

        customer = await ask("POST", "/v1/customers", {"email": "a@example.com"})
        method = await ask("POST", "/v1/payment_methods/pm_card_visa/attach", {"customer": customer["id"]})
        intent = await ask("POST", "/v1/payment_intents", {**PAY, "expand[]": "latest_charge"})
        await raw.control("POST", "settle")
        expand = "expand[]=balance_transaction&expand[]=refunds"
        charge = await ask("GET", f"/v1/charges/{intent['latest_charge']['id']}?{expand}")
        refund = await ask("POST", "/v1/refunds", {"charge": charge["id"], "amount": "1000"})
        missing = await ask("GET", "/v1/customers/cus_none")
        refused = await ask(
            "POST", "/v1/payment_methods/pm_card_chargeDeclined/attach", {"customer": customer["id"]}
        )
        ours = {
            "customer": customer,
            "payment_method": method,
            "payment_method.card": method["card"],
            "payment_intent": intent,
            "charge": charge,
            "charge.outcome": charge["outcome"],
            "charge.payment_method_details.card": charge["payment_method_details"]["card"],
            "charge.refunds": charge["refunds"],
            "balance_transaction": charge["balance_transaction"],
            "balance_transaction.fee_details": charge["balance_transaction"]["fee_details"][0],
            "refund": refund,
            "refund.destination_details.card": refund["destination_details"]["card"],
            "error.resource_missing": missing["error"],
            "error.card_declined": refused["error"],
        }
    for name, keys in RECORDED[version].items():
        assert sorted(ours[name]) == keys, name
