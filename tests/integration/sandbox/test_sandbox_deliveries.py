"""Webhooks: signed, retried, filtered, disordered on demand, and never lost over a kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw, Received, Receiver, Sdk, listening, sandbox_process

from tallystick.sandbox import webhook_sender

NO_REDIRECT: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}
SUCCESS = ("payment_intent.created", "charge.succeeded", "payment_intent.succeeded")


async def pay(sdk: Sdk) -> Any:
    return await sdk(
        "payment_intents.create",
        {"amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True, **NO_REDIRECT},
    )


async def endpoint(sdk: Sdk, receiver: Receiver, *types: str, **params: Any) -> Any:
    given = {"url": receiver.url, "enabled_events": list(types) or ["*"], **params}
    return await sdk("webhook_endpoints.create", given)


async def all_done(raw: Raw) -> dict[str, Any]:
    """Wait until nothing is pending; the delivery log."""
    async with asyncio.timeout(10):
        while True:
            log: dict[str, Any] = await raw.control("GET", "deliveries")
            if not log["pending"]:
                return log
            await asyncio.sleep(0.01)


def verify(item: Received, secret: str) -> stripe.Event:
    return stripe.Webhook.construct_event(item.body, item.signature, secret)  # type: ignore[no-any-return]


async def test_signature_and_filter(sdk: Sdk, raw: Raw, receiver: Receiver) -> None:
    made = await endpoint(sdk, receiver, "charge.succeeded", "payment_intent.succeeded")
    await pay(sdk)
    await receiver.until("charge.succeeded", "payment_intent.succeeded")
    await all_done(raw)
    assert sorted(receiver.types) == ["charge.succeeded", "payment_intent.succeeded"]
    for item in receiver.received:
        assert verify(item, made.secret).id == item.event["id"]
        with pytest.raises(stripe.SignatureVerificationError):
            verify(item, "whsec_other")
    assert [item.event["pending_webhooks"] for item in receiver.received] == [1, 1]
    listed = await sdk("events.list", {"type": "charge.succeeded"})
    assert listed.data[0].pending_webhooks == 0


def test_the_signature_by_hand() -> None:
    header = webhook_sender.signature(b'{"a": 1}', ["whsec_a", "whsec_b"], 1700000000)
    marks = [
        hmac.new(key, b'1700000000.{"a": 1}', hashlib.sha256).hexdigest() for key in (b"whsec_a", b"whsec_b")
    ]
    assert header == f"t=1700000000,v1={marks[0]},v1={marks[1]}"


async def test_two_secrets_during_a_rotation(sdk: Sdk, raw: Raw, receiver: Receiver) -> None:
    made = await endpoint(sdk, receiver, "payment_intent.succeeded")
    path = f"webhook_endpoints/{made.id}/rotate_secret"
    rotated = await raw.control("POST", path, {"keep_seconds": 60})
    await pay(sdk)
    await receiver.until("payment_intent.succeeded")
    item = receiver.received[0]
    assert item.signature.count("v1=") == 2
    for secret in (made.secret, rotated["secret"]):
        verify(item, secret)
    last = await raw.control("POST", path, {"keep_seconds": 0})
    await pay(sdk)
    await receiver.until("payment_intent.succeeded", "payment_intent.succeeded")
    item = receiver.received[1]
    verify(item, last["secret"])
    with pytest.raises(stripe.SignatureVerificationError):
        verify(item, "whsec_none")


async def test_retries_until_it_is_taken(sdk: Sdk, raw: Raw, receiver: Receiver) -> None:
    await endpoint(sdk, receiver, "payment_intent.succeeded")
    receiver.answer = lambda count: 500 if count < 2 else 200
    await pay(sdk)
    log = await all_done(raw)
    (entry,) = log["deliveries"]
    assert (entry["state"], [status for _, status, _ in entry["attempts"]]) == ("delivered", [500, 500, 200])
    assert receiver.received[1].at - receiver.received[0].at >= 0.05
    assert receiver.received[0].body == receiver.received[2].body


async def test_given_up_and_found_again(sdk: Sdk, raw: Raw, receiver: Receiver) -> None:
    await endpoint(sdk, receiver, "payment_intent.succeeded")
    receiver.answer = lambda _count: 503
    await pay(sdk)
    log = await all_done(raw)
    assert [status for _, status, _ in log["deliveries"][0]["attempts"]] == [503] * 4
    failed = await sdk("events.list", {"delivery_success": False})
    assert [item.type for item in failed.data] == ["payment_intent.succeeded"]
    assert failed.data[0].pending_webhooks == 1
    taken = await sdk("events.list", {"delivery_success": True})
    assert "payment_intent.created" in [item.type for item in taken.data]

    receiver.answer = lambda _count: 200
    await raw.control("POST", f"events/{failed.data[0].id}/deliver", {"times": 3})
    await raw.control("POST", f"events/{failed.data[0].id}/deliver", {"wrong_secret": True})
    log = await all_done(raw)
    assert log["counts"] == {"failed": 1, "delivered": 4}


async def test_an_endpoint_that_is_not_there(sdk: Sdk, raw: Raw) -> None:
    await sdk(
        "webhook_endpoints.create", {"url": "http://127.0.0.1:9/", "enabled_events": ["customer.created"]}
    )
    await sdk("customers.create", {})
    log = await all_done(raw)
    assert all(status == 0 and error for _, status, error in log["deliveries"][0]["attempts"])


async def test_several_endpoints_each_in_its_version(sdk: Sdk, raw: Raw, receiver: Receiver) -> None:
    await endpoint(sdk, receiver, "payment_intent.succeeded")
    old = Receiver()
    async with listening(old):
        await endpoint(sdk, old, "payment_intent.succeeded", api_version="2020-08-27")
        gone = await endpoint(sdk, old, "*")
        await sdk("webhook_endpoints.delete", gone.id)
        off = await endpoint(sdk, old, "*")
        await sdk("webhook_endpoints.update", off.id, {"disabled": True})
        await pay(sdk)
        await old.until("payment_intent.succeeded")
        await receiver.until("payment_intent.succeeded")
        await all_done(raw)
    assert len(old.received) == len(receiver.received) == 1
    event = old.received[0].event
    assert event["api_version"] == "2020-08-27"
    assert event["data"]["object"]["charges"]["total_count"] == 1
    assert "payment_record" not in event["data"]["object"]
    assert receiver.received[0].event["api_version"] == "2026-08-26.dahlia"


async def test_disorder_on_demand(sdk: Sdk, raw: Raw, receiver: Receiver) -> None:
    await endpoint(sdk, receiver)
    policy = {"duplicates": 2, "shuffle_seconds": 0.1, "seed": 5}
    await raw.control("POST", "deliveries/policy", policy)
    for _ in range(3):
        await pay(sdk)
    await receiver.until(*SUCCESS * 9)
    await all_done(raw)
    assert len(receiver.received) == 27
    ids = [item.event["id"] for item in receiver.received]
    assert ids != sorted(ids, key=ids.index) or receiver.types[:9] != list(SUCCESS) * 3
    await raw.control("POST", "deliveries/policy", {"drop_share": 1.0})
    await pay(sdk)
    assert (await all_done(raw))["counts"]["dropped"] == 3
    assert len((await sdk("events.list", {"delivery_success": False})).data) == 3
    await raw.control("POST", "deliveries/policy", {"delay_seconds": 0.1})
    await pay(sdk)
    assert (await raw.control("GET", "deliveries"))["pending"] == 3
    await all_done(raw)
    assert len(receiver.received) == 30


async def test_a_slow_endpoint_does_not_hold_back_another(sdk: Sdk, receiver: Receiver) -> None:
    slow = Receiver(pause=30)
    async with listening(slow):
        await endpoint(sdk, slow)
        await endpoint(sdk, receiver)
        await asyncio.gather(*(pay(sdk) for _ in range(20)))  # 60 events, and an endpoint has 32 workers
        await receiver.until(*SUCCESS * 20, seconds=10)


# Over a restart


@contextlib.asynccontextmanager
async def process(
    data_dir: Path, *, settlement_delay: float, end: signal.Signals = signal.SIGKILL
) -> AsyncIterator[Sdk]:
    """The SDK against a sandbox in a process of its own, ended by a signal."""
    async with sandbox_process(data_dir, settlement_delay=settlement_delay, end=end) as url:
        sdk = Sdk(url)
        try:
            yield sdk
        finally:
            await sdk.close()


async def test_nothing_is_lost_over_kill_9(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _count: 500
    async with process(tmp_path, settlement_delay=1.0) as sdk:
        made = await endpoint(sdk, receiver)
        paid = await sdk(
            "payment_intents.create",
            {
                "amount": 2000,
                "currency": "usd",
                "payment_method": "pm_card_visa",
                "confirm": True,
                **NO_REDIRECT,
            },
            idempotency_key="once",
        )
        deleted = await sdk("customers.create", {})
        await sdk("customers.delete", deleted.id)
    before = len(receiver.received)
    receiver.answer = lambda _count: 200
    async with process(tmp_path, settlement_delay=1.0, end=signal.SIGTERM) as sdk:
        again = await sdk(
            "payment_intents.create",
            {
                "amount": 2000,
                "currency": "usd",
                "payment_method": "pm_card_visa",
                "confirm": True,
                **NO_REDIRECT,
            },
            idempotency_key="once",
        )
        assert again.id == paid.id
        assert (await sdk("customers.retrieve", deleted.id)).deleted
        await receiver.until(*SUCCESS, "charge.updated", "customer.deleted")
        taken = {item.event["type"] for item in receiver.received[before:]}
        assert taken >= {*SUCCESS, "charge.updated", "customer.created", "customer.deleted"}
        verify(receiver.received[-1], made.secret)
        charge = await sdk("charges.retrieve", paid.latest_charge)
        assert charge.balance_transaction
        assert (await sdk("balance.retrieve")).pending[0].amount == 1912
        refund = await sdk("refunds.create", {"charge": charge.id})
    async with process(tmp_path, settlement_delay=1.0) as sdk:
        assert (await sdk("refunds.list")).data[0].id == refund.id
        assert (await sdk("balance.retrieve")).pending[0].amount == -88
        assert (await sdk("events.list", {"type": "charge.updated"})).data[0].pending_webhooks == 0
        assert (await pay(sdk)).id != paid.id
