"""Disputes, wherever they come from, appear with their payment and on their own, and are told of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import text
from tests.house import House, Json, house

from tallystick.api.keys import create_key
from tallystick.api.server import create_app
from tallystick.embedded import EmbeddedValkey


class Shop:
    """A running installation, and its API."""

    def __init__(self, running: House, http: httpx.AsyncClient) -> None:
        self.running = running
        self.http = http

    async def get(self, path: str, **query: str) -> Json:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def until(self, path: str, **fields: object) -> Json:
        """Wait until what is at the path says this."""
        deadline = time.monotonic() + 60
        while True:
            answer = await self.http.get(path)
            found: Json = answer.json()
            if {name: found.get(name) for name in fields} == fields:
                return found
            assert time.monotonic() < deadline, answer.text
            await asyncio.sleep(0.05)


@asynccontextmanager
async def open_shop(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Shop]:
    async with house(database_url, valkey) as running:
        async with running.app.engine.begin() as connection:
            key = (await create_key(connection, "test", ["admin"]))[1]
        transport = httpx.ASGITransport(create_app(running.app))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {key}"}
        ) as http:
            yield Shop(running, http)


@pytest.fixture
async def shop(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Shop]:
    async with open_shop(database_url, valkey) as opened:
        yield opened


async def notices(shop: Shop) -> list[tuple[str, Json]]:
    async with shop.running.app.engine.connect() as connection:
        query = "SELECT type, data FROM outbox WHERE type LIKE 'dispute.%' ORDER BY id"
        return [(row.type, row.data) for row in await connection.execute(text(query))]


async def test_a_dispute_of_our_payment_until_it_is_lost(shop: Shop) -> None:
    order = {"amount": 3000, "currency": "usd", "payment_method": "pm_card_createDispute", "confirm": True}
    paid = (await shop.http.post("/payments", json=order)).json()
    (found,) = (await shop.running.client.get("/v1/disputes")).json()["data"]
    dispute = await shop.until(f"/disputes/{found['id']}", status="needs_response")
    assert (dispute["payment"], dispute["amount"], dispute["reason"]) == (paid["id"], 3000, "fraudulent")
    assert dispute["evidence_due_at"] is not None
    assert dispute["stripe"] == {key: paid["stripe"][key] for key in ("payment_intent", "charge")}
    (shown,) = (await shop.get(f"/payments/{paid['id']}"))["disputes"]
    # another of its events may have come in between
    assert {**shown, "updated_at": None} == {**dispute, "updated_at": None}
    await shop.running.control(f"disputes/{found['id']}/lose")
    lost = await shop.until(f"/disputes/{found['id']}", status="lost")
    (listed,) = (await shop.get("/disputes", payment=paid["id"], status="lost"))["data"]
    assert {**listed, "updated_at": None} == {**lost, "updated_at": None}
    assert (await shop.get("/disputes", status="needs_response"))["data"] == []
    told = await notices(shop)
    assert {kind for kind, _ in told} >= {"dispute.created", "dispute.closed"}
    assert all(data["payment"] == paid["id"] for _, data in told)


async def test_what_began_elsewhere_appears_with_its_refund_and_dispute(shop: Shop) -> None:
    """Another service of the same account takes a payment; the customer's bank asks, then disputes."""
    intent = await shop.running.stripe(
        "/v1/payment_intents",
        **{
            "amount": 5000, "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            "metadata[order]": "77",
        },
    )  # fmt: skip
    refund = await shop.running.stripe("/v1/refunds", payment_intent=intent["id"], amount=1000)
    inquiry = await shop.running.control("disputes", payment_intent=intent["id"], inquiry=True)
    adopted = f"pay_{intent['id']}"
    dispute = await shop.until(f"/disputes/{inquiry['id']}", status="warning_needs_response")
    assert (dispute["payment"], dispute["charge_refundable"]) == (adopted, True)
    await shop.running.control(f"disputes/{inquiry['id']}/escalate")
    dispute = await shop.until(f"/disputes/{inquiry['id']}", status="needs_response")
    payment = await shop.until(f"/payments/{adopted}", amount_refunded=1000)
    assert (payment["origin"], payment["metadata"]) == ("adopted", {"order": "77"})
    assert [each["stripe"]["refund"] for each in payment["refunds"]] == [refund["id"]]
    assert [each["id"] for each in payment["disputes"]] == [dispute["id"]]
    assert payment["ledger"]
    assert [each["id"] for each in (await shop.get("/refunds", payment=adopted))["data"]] == [
        f"ref_{refund['id']}"
    ]


async def test_no_such_dispute(shop: Shop) -> None:
    for name in ("du_none", "%00", "x" * 400):
        assert (await shop.http.get(f"/disputes/{name}")).status_code == 404
    assert (await shop.http.get("/disputes", params={"status": "a b"})).status_code == 400
