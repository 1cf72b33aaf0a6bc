"""A dead letter all the way: webhook, worker, replay over HTTP, worker again, on PostgreSQL and Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import orjson
import pytest
from tests.builders import Json, StripeStory
from tests.integration.api.conftest import SECRETS, Face, open_face

from tallystick.app import App
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import PayloadError
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Facts
from tallystick.stripe_gateway.signature import sign
from tallystick.worker import Worker

WHY = {"reason": "mended"}


@asynccontextmanager
async def working(app: App) -> AsyncIterator[None]:
    worker = Worker(app)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


async def deliver(face: Face, event: Json) -> None:
    body = orjson.dumps(event)
    headers = {"Stripe-Signature": sign(body, SECRETS[0], int(time.time()))}
    assert (await face.http.post("/webhooks/stripe", content=body, headers=headers)).status_code == 200


async def until(face: Face, event: str, ready: Callable[[Json], bool]) -> Json:
    """The event, once it is as it should be."""
    async with asyncio.timeout(20):
        while True:
            found: Json = (await face.http.get(f"/events/{event}")).json()
            if ready(found):
                return found
            await asyncio.sleep(0.02)


def in_status(status: str) -> Callable[[Json], bool]:
    return lambda event: bool(event["status"] == status)


async def test_a_dead_letter_is_replayed_at_once_by_the_bell(
    database_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep rests for an hour: what rings is the replay."""
    story = StripeStory()
    story.succeed(story.intent(2000, ours="pay_" + "0" * 26))
    event = next(each for each in story.events if each["type"] == "charge.succeeded")

    def broken(_event: Event, _facts: Facts) -> Effects:
        raise PayloadError("charge.amount is missing.")

    async with open_face(database_url, valkey, sweep_interval_s=3600) as face, working(face.app):
        with monkeypatch.context() as version:
            version.setitem(EVENTS, event["type"], replace(EVENTS[event["type"]], rule=broken))
            await deliver(face, event)
            dead = await until(face, event["id"], in_status("dead"))
        assert [each["code"] for each in dead["attempts"]] == ["invalid_payload"]
        answer = await face.post(f"/dead-letters/{event['id']}/replay", WHY)
        assert answer.status_code == 200, answer.text
        done = await until(face, event["id"], in_status("processed"))
        assert {each["standing"] for each in done["effects"] if each["kind"] == "ledger_transaction"} == {
            "there"
        }


async def test_what_stripe_refuses_to_show_is_a_dead_letter_and_goes_on_when_it_is_shown(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    """A refund made elsewhere asks for its charge; first the key may not read charges, then it may."""
    async with open_face(database_url, valkey, retry_limit=1) as face, working(face.app):
        paid = await face.pay(amount=2000)
        charge = paid["stripe"]["charge"]
        async with httpx.AsyncClient(base_url=face.sandbox.url, auth=("sk_test_abc", "")) as stripe:
            refund = (await stripe.post("/v1/refunds", data={"charge": charge, "amount": "500"})).json()["id"]
            told = (await stripe.get("/v1/events", params={"type": "refund.created"})).json()["data"]
        [event] = told
        await face.fault(action="status", status=403, path=f"/v1/charges/{charge}", count=1)
        await deliver(face, event)
        dead = await until(face, event["id"], in_status("dead"))
        assert dead["last_error"]["code"] == "stripe_access"
        standing = {each["key"]: each["standing"] for each in dead["effects"]}
        assert standing[f"refund:{refund}"] == "there", "the movement did not wait for the answer"
        assert dead["questions"] == [f"charge:{charge}"]
        assert (await face.post(f"/dead-letters/{event['id']}/replay", WHY)).status_code == 200
        done = await until(face, event["id"], in_status("processed"))
        standing = {each["key"]: each["standing"] for each in done["effects"]}
        assert standing[f"refund:{refund}:applied"] == "there"
