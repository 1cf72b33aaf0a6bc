"""The control API: time, snapshots, keys, limits, disorder and faults."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk, listening

from tallystick.sandbox.server import RunningSandbox

PAY: dict[str, Any] = {
    "amount": 2000,
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
}
DAY = 86400


async def refused(raw: Raw, path: str, body: Any, method: str = "POST") -> str:
    """The message with which a control call is refused."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{raw.url}/_control/{path}", json=body) as answer,
    ):
        shown = await answer.json()
        assert answer.status in (400, 404), shown
        return str(shown["error"]["message"])


async def all_done(raw: Raw) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            log: dict[str, Any] = await raw.control("GET", "deliveries")
            if not log["pending"]:
                return log
            await asyncio.sleep(0.01)


# Time


async def test_the_clock_moves_and_what_falls_due_happens_in_order(raw: Raw, sdk: Sdk) -> None:
    await raw.control("POST", "settings", {"settlement_delay": 60, "available_after_days": 2})
    before = (await raw.control("GET", "clock"))["now"]
    intent = await sdk("payment_intents.create", PAY)
    assert (await sdk("charges.retrieve", intent.latest_charge)).balance_transaction is None
    shown = await raw.control("POST", "clock", {"advance_seconds": 61})
    assert shown["ahead_seconds"] == 61
    assert shown["now"] - before == pytest.approx(61, abs=5)
    charge = await sdk("charges.retrieve", intent.latest_charge)
    assert charge.balance_transaction
    assert (await sdk("balance.retrieve")).pending[0].amount == 1912
    await raw.control("POST", "clock", {"to": shown["now"] + 4 * DAY})
    balance = await sdk("balance.retrieve")
    assert (balance.pending[0].amount, balance.available[0].amount) == (0, 1912)
    second = await sdk("customers.create", {})
    assert second.created - intent.created >= 4 * DAY
    events = await sdk("events.list", {"limit": 100})
    times = [event.created for event in events.data]
    assert times == sorted(times, reverse=True)


async def test_webhooks_are_signed_at_the_machines_time(raw: Raw, sdk: Sdk, receiver: Receiver) -> None:
    made = await sdk("webhook_endpoints.create", {"url": receiver.url, "enabled_events": ["*"]})
    await raw.control("POST", "clock", {"advance_seconds": 400 * DAY})
    await sdk("customers.create", {})
    await receiver.until("customer.created")
    (item,) = receiver.received
    assert stripe.Webhook.construct_event(item.body, item.signature, made.secret)
    assert abs(int(item.signature.partition("t=")[2].partition(",")[0]) - item.at) < 60


async def test_events_over_30_days_are_deleted(box: RunningSandbox, raw: Raw, sdk: Sdk) -> None:
    for _ in range(120):
        await sdk("customers.create", {})
    old = (await sdk("events.list", {"limit": 1})).data[0]
    await raw.control("POST", "clock", {"advance_seconds": 31 * DAY})
    await sdk("customers.create", {})
    assert (await raw.control("GET", "state"))["objects"]["event"] == 1
    assert len((await sdk("events.list", {"delivery_success": False})).data) == 0
    with pytest.raises(stripe.InvalidRequestError):
        await sdk("events.retrieve", old.id)
    assert box.sandbox.store.objects == 122
    assert len((await sdk("events.list", {"created": {"gte": 1}})).data) == 1
    for _ in range(12):
        await sdk("customers.create", {})
    assert len(await sdk.everything("events.list", {"limit": 5})) == 13


async def test_the_clock_goes_forward_only(raw: Raw) -> None:
    assert "forward" in await refused(raw, "clock", {"to": 5})
    assert "negative" in await refused(raw, "clock", {"advance_seconds": -1})
    assert "either" in await refused(raw, "clock", {})
    assert "number" in await refused(raw, "clock", {"advance_seconds": "1"})


# Snapshots


async def test_a_snapshot_brings_everything_back(raw: Raw, sdk: Sdk, receiver: Receiver) -> None:
    await sdk("webhook_endpoints.create", {"url": receiver.url, "enabled_events": ["*"]})
    gone = await sdk("customers.create", {})
    await sdk("customers.delete", gone.id)
    paid = await sdk("payment_intents.create", PAY, idempotency_key="once")
    await raw.control("POST", "settings", {"fee_fixed": 35})
    await all_done(raw)
    taken = await raw.control("POST", "snapshots", {"name": "paid"})
    assert taken["records"] > 10
    state = await raw.control("GET", "state")

    await raw.control("POST", "settle")
    await sdk("refunds.create", {"payment_intent": paid.id})
    await raw.control("POST", "settings", {"fee_fixed": 99})
    await raw.control("POST", "clock", {"advance_seconds": 9 * DAY})
    await raw.control("POST", "snapshots/paid/restore")
    again = await raw.control("GET", "state")
    assert {**again, "now": 0} == {**state, "now": 0}
    assert again["now"] - state["now"] < 60
    assert (await sdk("refunds.list")).data == []
    assert (await sdk("customers.retrieve", gone.id)).deleted
    assert (await raw.control("GET", "settings"))["fee_fixed"] == 35
    assert (await sdk("payment_intents.create", PAY, idempotency_key="once")).id == paid.id

    await raw.control("POST", "settle")
    charge = await sdk("charges.retrieve", paid.latest_charge, {"expand": ["balance_transaction"]})
    assert charge.balance_transaction.fee == 93
    await receiver.until("charge.updated", "charge.updated")
    assert [it["name"] for it in (await raw.control("GET", "snapshots"))["snapshots"]] == ["paid"]
    await raw.control("DELETE", "snapshots/paid")
    assert "No such snapshot" in await refused(raw, "snapshots/paid/restore", {})
    assert "name" in await refused(raw, "snapshots", {"name": ""})


# Keys and limits


async def test_a_restricted_key_does_what_it_may(raw: Raw) -> None:
    key = {"Authorization": "Bearer rk_test_reports"}
    assert (await raw("GET", "/v1/charges", headers=key))[0] == 200
    permissions = {"charges": "read", "customers": "write", "checkout/sessions": "read"}
    await raw.control("POST", "restricted_keys", {"key": "rk_test_reports", "permissions": permissions})
    for method, path, status in [
        ("GET", "/v1/charges", 200),
        ("POST", "/v1/charges", 403),
        ("POST", "/v1/customers", 200),
        ("GET", "/v1/customers", 200),
        ("GET", "/v1/refunds", 403),
        ("GET", "/v1/checkout/sessions", 200),
        ("POST", "/v1/checkout/sessions", 403),
    ]:
        answered, body, _ = await raw(method, path, headers=key)
        assert answered == status, (method, path, body)
    assert "'rak_checkout_session_write' permission" in body["error"]["message"]
    assert "rk_test_" in body["error"]["message"]
    assert "reports" not in body["error"]["message"].partition("'")[2].partition("'")[0][:-4]
    client = Sdk(raw.url)
    client.client = stripe.StripeClient(
        "rk_test_reports", base_addresses={"api": raw.url}, http_client=client._http
    )
    with pytest.raises(stripe.PermissionError):
        await client("refunds.list")
    await client.close()
    assert len((await raw.control("GET", "restricted_keys"))["restricted_keys"]) == 1
    await raw.control("DELETE", "restricted_keys/rk_test_reports")
    assert (await raw("GET", "/v1/refunds", headers=key))[0] == 200
    assert "rk_test_" in await refused(raw, "restricted_keys", {"key": "sk_test_1", "permissions": {}})
    bad = {"key": "rk_test_1", "permissions": {"charges": "all"}}
    assert "one of" in await refused(raw, "restricted_keys", bad)


async def test_a_rate_limit(raw: Raw, sdk: Sdk) -> None:
    await raw.control("POST", "settings", {"rate_limit": 5})
    answers = [await raw("GET", "/v1/balance") for _ in range(12)]
    (limited, *_) = [answer for answer in answers if answer[0] == 429]
    assert limited[1]["error"]["code"] == "rate_limit"
    assert limited[2]["stripe-rate-limited-reason"] == "global-rate"
    asked = [sdk("balance.retrieve") for _ in range(12)]
    with pytest.raises(stripe.RateLimitError):
        await asyncio.gather(*asked)
    await raw.control("POST", "settings", {"rate_limit": None})
    assert all([(await raw("GET", "/v1/balance"))[0] == 200 for _ in range(12)])
    assert "limit" in await refused(raw, "settings", {"rate_limit": 0})


async def test_a_full_sandbox_says_so(raw: Raw, sdk: Sdk) -> None:
    await raw.control("POST", "settings", {"max_objects": 10})
    made = [await raw("POST", "/v1/customers", {}) for _ in range(8)]
    assert [status for status, _, _ in made] == [200] * 5 + [400] * 3  # a customer and its event
    assert made[-1][1]["error"]["code"] == "sandbox_full"
    assert "max_objects" in made[-1][1]["error"]["message"]
    assert len((await sdk("customers.list")).data) == 5
    await raw.control("POST", "settings", {"max_objects": None})
    assert (await raw("POST", "/v1/customers", {}))[0] == 200


# Deliveries


async def test_deliveries_are_spoilt_by_type_share_and_count(raw: Raw, sdk: Sdk, receiver: Receiver) -> None:
    made = await sdk("webhook_endpoints.create", {"url": receiver.url, "enabled_events": ["*"]})
    rules = [
        {"types": ["charge.*"], "drop": True, "count": 1},
        {"types": ["payment_intent.created"], "duplicates": 1},
        {"types": ["payment_intent.succeeded"], "delay_seconds": 0.2},
        {"types": ["charge.succeeded"], "api_version": "2020-08-27", "wrong_secret": True},
    ]
    shown = await raw.control("POST", "deliveries/policy", {"rules": rules, "seed": 1})
    assert [rule["struck"] for rule in shown["rules"]] == [0] * 4
    await sdk("payment_intents.create", PAY)
    await sdk("payment_intents.create", PAY)
    log = await all_done(raw)
    assert log["counts"] == {"dropped": 1, "delivered": 7}
    types = receiver.types
    assert sorted(types) == sorted(
        ["payment_intent.created"] * 4 + ["charge.succeeded"] + ["payment_intent.succeeded"] * 2
    )
    assert types[-1] == "payment_intent.succeeded"
    (old,) = [item for item in receiver.received if item.event["type"] == "charge.succeeded"]
    assert old.event["api_version"] == "2020-08-27"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(old.body, old.signature, made.secret)
    assert [rule["struck"] for rule in log["policy"]["rules"]] == [1, 2, 2, 1]
    receiver.received = [item for item in receiver.received if item is not old]  # not in the spec's version


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("deliveries/policy", {"rules": [{"share": 2, "drop": True}]}),
        ("deliveries/policy", {"drop_share": 1.5}),
        ("deliveries/policy", {"api_version": "newest"}),
        ("settings", {"api_version": "newest"}),
    ],
)
async def test_what_makes_no_sense_is_refused(raw: Raw, path: str, body: dict[str, Any]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{raw.url}/_control/{path}", json=body) as answer,
    ):
        assert answer.status == 400


async def test_a_share_is_the_same_under_a_seed(raw: Raw, sdk: Sdk) -> None:
    await sdk("webhook_endpoints.create", {"url": "http://127.0.0.1:9/", "enabled_events": ["*"]})
    runs = []
    for _ in range(2):
        await raw.control("POST", "deliveries/policy", {"share": 0.5, "drop": True, "seed": 11})
        for _ in range(20):
            await sdk("customers.create", {})
        log = await raw.control("GET", "deliveries?limit=20")
        runs.append([entry["state"] == "dropped" for entry in log["deliveries"]])
    assert runs[0] == runs[1]
    assert 4 <= sum(runs[0]) <= 16
    for body, says in [
        ({"nonsense": 1}, "nonsense"),
        ({"share": "half"}, "share"),
        ({"count": True}, "count"),
        ({"delay_seconds": -1}, "negative"),
        ({"rules": 3}, "list"),
    ]:
        assert says in await refused(raw, "deliveries/policy", body)


async def test_an_event_in_an_old_version_on_demand(raw: Raw, sdk: Sdk) -> None:
    receiver = Receiver()
    async with listening(receiver):
        await sdk("webhook_endpoints.create", {"url": receiver.url, "enabled_events": ["charge.succeeded"]})
        await sdk("payment_intents.create", PAY)
        await receiver.until("charge.succeeded")
        event = receiver.received[0].event
        await raw.control("POST", f"events/{event['id']}/deliver", {"api_version": "2020-08-27"})
        await receiver.until("charge.succeeded", "charge.succeeded")
    old = receiver.received[1].event
    assert (old["id"], old["api_version"]) == (event["id"], "2020-08-27")
    assert old["data"]["object"]["refunds"]["data"] == []
    assert "Invalid API version" in await refused(raw, f"events/{event['id']}/deliver", {"api_version": "x"})


# Faults


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"status": 429, "code": "lock_timeout"}, stripe.RateLimitError),
        ({"status": 429}, stripe.RateLimitError),
        ({"status": 500}, stripe.APIError),
        ({"status": 409}, stripe.APIError),
    ],
)
async def test_faults_by_status(
    raw: Raw, sdk: Sdk, rule: dict[str, Any], error: type[stripe.StripeError]
) -> None:
    await raw.control("POST", "faults", {"action": "status", "path": "/v1/customers", "count": None, **rule})
    with pytest.raises(error):
        await sdk("customers.create", {})
    assert (await sdk("balance.retrieve")).object == "balance"
    await raw.control("DELETE", "faults")
    assert (await sdk("customers.list")).data == []


@pytest.mark.parametrize("transport", ["requests", "httpx", "aiohttp"])
async def test_retries_of_the_sdk_end_in_one_object(raw: Raw, transport: str) -> None:
    rules = [
        {"action": "cut", "when": "after", "method": "POST", "path": "/v1/payment_intents"},
        {"action": "status", "status": 500, "when": "before", "method": "POST"},
        {"action": "status", "status": 409, "code": "lock_timeout", "method": "POST"},
        {"action": "cut", "when": "before", "method": "POST"},
    ]
    await raw.control("POST", "faults", {"rules": rules})
    sdk = Sdk(raw.url, transport, max_network_retries=5)
    intent = await sdk("payment_intents.create", PAY)
    assert intent.status == "succeeded"
    assert [item.id for item in (await sdk("payment_intents.list")).data] == [intent.id]
    assert [rule["struck"] for rule in (await raw.control("GET", "faults"))["faults"]] == [1] * 4
    await sdk.close()


async def test_a_share_of_faults_under_a_seed(raw: Raw) -> None:
    runs = []
    for _ in range(2):
        rule = {"action": "status", "status": 500, "share": 0.4, "count": None, "seed": 3}
        await raw.control("POST", "faults", rule)
        runs.append([(await raw("GET", "/v1/balance"))[0] for _ in range(20)])
        await raw.control("DELETE", "faults")
    assert runs[0] == runs[1]
    assert 3 <= runs[0].count(500) <= 15
    for body in ({"action": "explode"}, {"action": "cut", "nonsense": 1}, {"action": "cut", "share": 2}):
        assert await refused(raw, "faults", body)
    assert await refused(raw, "faults", {"action": "status", "status": "500"})


async def test_what_no_control_call_is(raw: Raw) -> None:
    assert "No such control call" in await refused(raw, "nonsense", {})
    assert "object" in await refused(raw, "settle", [])
