"""Notices as a merchant's server gets them: signed, tried again, in order, and never lost."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from typing import Any

import orjson
import pytest
from aiohttp import web
from sqlalchemy import text
from standardwebhooks import WebhookVerificationError
from tests.integration.notices.conftest import Post, open_post
from tests.integration.notices.receiver import Message, receiving, status

from tallystick.embedded import EmbeddedValkey
from tallystick.outbox.signing import notice_id
from tallystick.worker import Worker


async def test_a_notice_arrives_signed_and_says_what_was_staged(post: Post) -> None:
    endpoint = await post.endpoint(event_types=["payment.*"])
    await post.tell(1, payment="pay_1")
    await post.tell(2, type="refund.failed")
    async with post.sending():
        await post.until_none_waits()
    (message,) = post.receiver.messages
    message.verify(endpoint["secret"])
    with pytest.raises(WebhookVerificationError):
        message.verify("whsec_" + base64.b64encode(b"another").decode())
    assert message.headers["content-type"] == "application/json"
    created_at = message.body["created_at"]
    assert created_at.endswith("Z")
    assert message.body == {
        "id": notice_id("payment.failed:pay_1:000001"),
        "type": "payment.failed",
        "created_at": created_at,
        "data": {"n": 1},
    }
    assert message.id == message.body["id"]
    # by hand, from the text of the specification
    key = base64.b64decode(endpoint["secret"].removeprefix("whsec_"))
    signed = f"{message.id}.{message.headers['webhook-timestamp']}.".encode() + message.raw
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert message.headers["webhook-signature"] == f"v1,{signature}"
    (entry,) = await post.log(endpoint)
    assert (entry["status"], entry["attempts"], entry["response_status"]) == ("delivered", 1, 200)
    assert (entry["notice"], entry["payment"]) == (message.id, "pay_1")
    full = await post.read(f"/webhook-deliveries/{entry['id']}")
    assert full["payload"] == message.body
    assert [(each["response_body"], each["error"]) for each in full["log"]] == [("thanks", None)]


async def test_a_payment_is_told_of_from_stripe_to_the_merchant(post: Post) -> None:
    """The API's own payment, through Stripe's event and the worker, to the endpoint."""
    endpoint = await post.endpoint(event_types=["payment.succeeded"])
    paid = await post.face.pay()
    charge = {
        "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 1000, "amount_captured": 1000,
        "captured": True, "currency": "usd", "created": 1_700_000_000, "livemode": False,
        "metadata": {"tallystick_payment": paid["id"]}, "payment_intent": paid["stripe"]["payment_intent"],
    }  # fmt: skip
    await post.execute(
        """INSERT INTO webhook_events (id, type, livemode, body, created_at, ring_at)
           VALUES ('evt_1', 'charge.succeeded', false, convert_to(:body, 'UTF8'), now(), now())""",
        body=orjson.dumps({"id": "evt_1", "type": "charge.succeeded", "created": 1_700_000_000,
                    "livemode": False, "data": {"object": charge}}).decode(),
    )  # fmt: skip
    worker = Worker(post.face.app)
    working = asyncio.create_task(worker.run())
    await post.receiver.count(1)
    worker.stop()
    await working
    (message,) = post.receiver.messages
    message.verify(endpoint["secret"])
    assert message.body["type"] == "payment.succeeded"
    data = message.body["data"]
    assert (data["payment"], data["amount"], data["currency"]) == (paid["id"], 1000, "usd")
    assert data["stripe"] == {"payment_intent": paid["stripe"]["payment_intent"], "charge": "ch_1"}
    assert [each["status"] for each in await post.log(endpoint)] == ["delivered"]


async def test_what_fails_is_tried_again_under_the_same_id(post: Post) -> None:
    endpoint = await post.endpoint()

    async def third_time(message: Message) -> web.StreamResponse:
        return web.Response(status=200 if message.number == 3 else 500, text=f"no {message.number}")

    post.receiver.answer = third_time
    await post.tell(1)
    async with post.sending():
        await post.until_none_waits()
    assert len({message.id for message in post.receiver.messages}) == 1
    assert len(post.receiver.messages) == 3
    for message in post.receiver.messages:
        message.verify(endpoint["secret"])
    (entry,) = await post.log(endpoint)
    assert (entry["status"], entry["attempts"], entry["last_error"]) == ("delivered", 3, None)
    log = (await post.read(f"/webhook-deliveries/{entry['id']}"))["log"]
    assert [(each["attempt"], each["response_status"], each["response_body"]) for each in log] == [
        (1, 500, "no 1"), (2, 500, "no 2"), (3, 200, "no 3"),
    ]  # fmt: skip
    assert log[0]["error"] == {"code": "http_status", "message": "The endpoint answered 500."}


async def test_a_notice_is_given_up_after_the_last_attempt(database_url: str, valkey: EmbeddedValkey) -> None:
    async with open_post(database_url, valkey, webhooks_retry_limit=3) as post:
        endpoint = await post.endpoint()
        post.receiver.answer = status(404)
        await post.tell(1)
        async with post.sending():
            await post.until_none_waits()
        assert len(post.receiver.messages) == 3
        (entry,) = await post.log(endpoint, "&status=failed")
        assert (entry["attempts"], entry["last_error"]["code"]) == (3, "http_status")
        assert entry["next_attempt_at"] is None


async def test_an_endpoint_is_left_alone_for_as_long_as_it_asks(post: Post) -> None:
    endpoint = await post.endpoint()
    post.receiver.answer = status(429, headers={"Retry-After": "3600"})
    await post.tell(1)
    async with post.sending():
        await post.until("SELECT count(*) FROM notice_attempts", 1)
    (entry,) = await post.log(endpoint)
    assert entry["status"] == "pending"
    async with post.face.app.engine.connect() as connection:
        waits = await connection.execute(
            text("SELECT due_at > now() + interval '59 minutes' FROM notice_deliveries")
        )
        assert waits.scalar_one()


async def test_later_notices_of_a_payment_wait_and_those_of_others_do_not(post: Post) -> None:
    await post.endpoint()
    failing = True

    async def first_fails(message: Message) -> web.StreamResponse:
        return web.Response(status=503 if failing and message.about == 1 else 200)

    post.receiver.answer = first_fails
    await post.tell(1, 2, 3, payment="pay_1")
    await post.tell(11, 12, payment="pay_2")
    await post.tell(21)
    async with post.sending():
        await post.until("SELECT count(*) FROM notice_deliveries WHERE status = 'delivered'", 3)
        await post.until("SELECT count(*) > 3 FROM notice_attempts WHERE error_code = 'http_status'", True)
        assert {message.about for message in post.receiver.messages} == {1, 11, 12, 21}
        failing = False
        await post.until_none_waits()
    taken_in_order = [message.about for message in post.receiver.messages if message.about in (2, 3)]
    assert taken_in_order == [2, 3]
    first_taken = max(n for n, each in enumerate(post.receiver.messages) if each.about == 1)
    assert [each.about for each in post.receiver.messages[first_taken + 1 :]] == [2, 3]


async def test_many_notices_of_a_payment_arrive_in_order_while_every_third_attempt_fails(post: Post) -> None:
    await post.endpoint()

    async def sometimes(message: Message) -> web.StreamResponse:
        return web.Response(status=500 if message.number % 3 == 0 else 200)

    post.receiver.answer = sometimes
    for n in range(15):
        await post.tell(n, payment="pay_1")
        await post.tell(100 + n, payment="pay_2")
    async with post.sending(), post.sending():
        await post.until_none_waits()
    arrived = [each.about for each in post.receiver.messages if each.number % 3]
    assert [n for n in arrived if n < 100] == list(range(15))
    assert [n for n in arrived if n >= 100] == list(range(100, 115))


async def test_several_workers_send_each_notice_once(post: Post) -> None:
    endpoint = await post.endpoint()
    await post.tell(*range(200))
    async with post.sending(), post.sending(), post.sending():
        await post.until_none_waits()
    assert sorted(message.about for message in post.receiver.messages) == list(range(200))
    assert {each["attempts"] for each in await post.log(endpoint)} == {1}


async def test_a_slow_endpoint_holds_up_no_other(post: Post) -> None:
    go_on = asyncio.Event()

    async def slow(_message: Message) -> web.StreamResponse:
        await go_on.wait()
        return web.Response()

    post.receiver.answer = slow
    async with receiving() as quick:
        await post.endpoint()
        await post.endpoint(quick.url)
        await post.tell(*range(60))
        async with post.sending():
            await quick.count(60)
            assert len(post.receiver.messages) == post.face.app.settings.webhooks_concurrency
            go_on.set()
            await post.until_none_waits()
    assert len(post.receiver.messages) == 60


async def test_an_endpoint_that_does_not_answer_is_a_failed_attempt(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    async def never(_message: Message) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with open_post(database_url, valkey, webhooks_timeout_s=0.2, webhooks_retry_limit=2) as post:
        endpoint = await post.endpoint()
        post.receiver.answer = never
        await post.tell(1)
        async with post.sending():
            await post.until_none_waits()
        (entry,) = await post.log(endpoint)
        assert (entry["attempts"], entry["last_error"]["code"]) == (2, "timeout")


async def test_redirects_are_not_followed_and_of_an_answer_only_the_beginning_is_read(post: Post) -> None:
    endpoint = await post.endpoint()
    async with receiving() as elsewhere:

        async def redirects(message: Message) -> web.StreamResponse:
            if message.number == 1:
                return web.Response(status=307, headers={"Location": elsewhere.url})
            return web.Response(body=b"x\0" * 500_000)

        post.receiver.answer = redirects
        await post.tell(1)
        async with post.sending():
            await post.until_none_waits()
        assert elsewhere.messages == []
    (entry,) = await post.log(endpoint)
    first, second = (await post.read(f"/webhook-deliveries/{entry['id']}"))["log"]
    assert first["error"]["code"] == "redirected"
    assert second["response_body"] == "x\ufffd" * 500


async def test_what_a_dead_worker_had_claimed_is_sent_when_its_lease_ends(post: Post) -> None:
    """As after kill -9 between sending and writing down: the endpoint gets it a second time, as the same."""
    await post.endpoint()
    await post.tell(1, payment="pay_1")
    await post.tell(2, payment="pay_1")
    dead = await _dies_after_sending(post)
    assert dead == 1
    await post.execute("UPDATE notice_deliveries SET due_at = now() WHERE attempts > 0")
    async with post.sending():
        await post.until_none_waits()
    assert [message.about for message in post.receiver.messages] == [1, 1, 2]
    assert post.receiver.messages[0].id == post.receiver.messages[1].id


async def _dies_after_sending(post: Post) -> int:
    async with post.sending() as deliveries:

        async def never(*_: Any) -> None:
            await asyncio.Event().wait()

        deliveries._write = never  # type: ignore[method-assign,assignment]
        await post.receiver.count(1)
        sent = len(post.receiver.messages)
        assert deliveries._writing is not None
        deliveries._writing.cancel()
        deliveries._writing = None
    return sent
