"""A payment from POST to ledger: the sandbox's own events, through the webhook route, to what GET shows."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import orjson
from tests.integration.api.conftest import SECRETS, Face

from tallystick.ledger.book import Book
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.lookups import Lookups
from tallystick.pipeline.process import Processor
from tallystick.pipeline.pulls.settlement import Settlement
from tallystick.stripe_gateway.signature import sign


async def bring_events(face: Face, only: str | None = None) -> None:
    """Deliver all events of the sandbox, or one of them, process them, and settle."""
    async with httpx.AsyncClient(base_url=face.sandbox.url, auth=("sk_test_abc", "")) as stripe:
        events = (await stripe.get("/v1/events", params={"limit": 100})).json()["data"]
    events = [event for event in events if only in (None, event["id"])]
    for event in events:  # newest first: the order does not matter
        body = orjson.dumps(event)
        signed = {"Stripe-Signature": sign(body, SECRETS[0], int(time.time()))}
        assert (await face.http.post("/webhooks/stripe", content=body, headers=signed)).status_code == 200
    book = Book()
    failures = Failures(face.app.engine, face.app.settings)
    processor = Processor(face.app.engine, book, face.app.settings, failures)
    await processor.process([event["id"] for event in events])
    lookups = Lookups(face.app.engine, face.app.stripe, failures)
    await Settlement(face.app.engine, face.app.stripe, book, face.app.settings, lookups).pull()


def legs(payment: dict[str, Any], effect_key: str) -> list[tuple[str, str, int]]:
    (found,) = [each for each in payment["ledger"] if each["effect_key"] == effect_key]
    return [(leg["account"], leg["direction"], leg["amount"]) for leg in found["entries"]]


async def test_a_payment_and_its_refund_reach_the_ledger(face: Face) -> None:
    paid = await face.pay(amount=2000)
    refund = (await face.post(f"/payments/{paid['id']}/refund", {"amount": 500})).json()
    await asyncio.sleep(0.8)  # balance transactions come after the charge
    await bring_events(face)
    read = (await face.http.get(f"/payments/{paid['id']}")).json()
    charge = paid["stripe"]["charge"]
    assert legs(read, f"charge:{charge}:captured") == [
        ("assets:stripe:clearing", "debit", 2000), ("liabilities:unapplied", "credit", 2000),
    ]  # fmt: skip
    assert legs(read, f"refund:{refund['stripe']['refund']}:applied") == [
        ("revenue:refunds", "debit", 500), ("liabilities:unapplied", "credit", 500),
    ]  # fmt: skip
    assert {each["effect_key"].split(":")[0] for each in read["ledger"]} == {
        "charge", "payment", "refund", "balance_transaction",
    }  # fmt: skip
    assert (read["status"], read["amount_refunded"]) == ("succeeded", 500)
    assert [each["id"] for each in read["refunds"]] == [refund["id"]]
    balance = (await face.http.get("/ledger/trial-balance")).json()
    assert [total["balanced"] for total in balance["totals"]] == [True]
    accounts = {line["account"]: line["balance"] for line in balance["data"]}
    assert accounts["assets:stripe:clearing"] == 0
    assert accounts["revenue:payments"] == 2000


async def test_events_that_come_before_the_answer_are_the_same_payment(face: Face) -> None:
    """The answer to the create is lost, and the webhooks bring the payment home before the retry."""
    order = {"amount": 700, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    await face.fault(action="cut", when="after", path="/v1/payment_intents", method="POST")
    lost = await face.post("/payments", order, key="k")
    await bring_events(face)
    read = (await face.http.get(f"/payments/{lost.json()['payment_id']}")).json()
    assert (read["status"], read["origin"], read["amount_captured"]) == ("succeeded", "api", 700)
    again = await face.post("/payments", order, key="k")
    assert (again.status_code, again.json()["id"]) == (201, read["id"])
    assert (await face.rows())["payments"] == 1


async def test_a_payment_made_elsewhere_can_be_read_and_refunded(face: Face) -> None:
    intent = await face.app.stripe.create_payment_intent(
        {
            "amount": 900,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        },
        "elsewhere",
    )
    await bring_events(face)
    payment_id = f"pay_{intent.object['id']}"
    read = (await face.http.get(f"/payments/{payment_id}")).json()
    assert (read["origin"], read["status"]) == ("adopted", "succeeded")
    refund = await face.post(f"/payments/{payment_id}/refund", {"amount": 400})
    assert refund.status_code == 201
    await bring_events(face)
    read = (await face.http.get(f"/payments/{payment_id}")).json()
    assert [each["id"] for each in read["refunds"]] == [refund.json()["id"]]
    assert read["amount_refunded"] == 400
