"""A payment's timeline: every command, event, attempt, change of status, refund, dispute and ledger entry."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.builders import StripeStory
from tests.integration.api.conftest import Face
from tests.integration.api.test_disputes import Shop, open_shop
from tests.integration.api.test_refusals import assert_problem
from tests.road import Road, incoming

from tallystick.embedded import EmbeddedValkey

Told = list[tuple[str, str, str | None]]


@pytest.fixture
async def shop(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Shop]:
    async with open_shop(database_url, valkey) as opened:
        yield opened


def told(payment: dict[str, object], *kinds: str) -> Told:
    """Type, name and status of the entries of these kinds."""
    entries = payment["timeline"]
    assert isinstance(entries, list)
    seconds = [entry["at"][:19] for entry in entries]
    assert seconds == sorted(seconds)
    return [
        (entry["type"], entry["name"], entry["status"])
        for entry in entries
        if not kinds or entry["type"] in kinds
    ]


async def settled(shop: Shop, payment: str, *, transactions: int) -> dict[str, object]:
    """The payment, once so many ledger transactions are posted for it."""
    deadline = time.monotonic() + 60
    while True:
        found = await shop.get(f"/payments/{payment}")
        if len(found["ledger"]) >= transactions:
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


async def test_a_payment_from_its_decline_to_its_refund(shop: Shop) -> None:
    order = {"amount": 2500, "currency": "usd", "payment_method": "pm_card_chargeDeclined", "confirm": True}
    declined = await shop.http.post("/payments", json=order)
    assert declined.status_code == 402
    payment = declined.json()["payment_id"]
    path = f"/payments/{payment}"
    await shop.http.post(f"{path}/confirm", json={"payment_method": "pm_card_visa"})
    refund = (await shop.http.post(f"{path}/refund", json={"amount": 500})).json()
    refused = await shop.http.post(f"{path}/cancel")
    assert refused.status_code == 409
    seen = await settled(shop, payment, transactions=6)
    assert told(seen, "command") == [
        ("command", "create", "card_declined"),
        ("command", "confirm", "done"),
        ("command", "refund", "done"),
        ("command", "cancel", "invalid_state"),
    ]
    assert told(seen, "attempt") == [("attempt", "charge", "failed"), ("attempt", "charge", "succeeded")]
    assert [status for _, _, status in told(seen, "status")] == [
        "requires_confirmation",
        "requires_payment_method",
        "succeeded",
    ]
    assert told(seen, "refund") == [("refund", "refund", "succeeded")]
    entries = seen["timeline"]
    assert isinstance(entries, list)
    (failed,) = [entry for entry in entries if entry["status"] == "failed"]
    assert failed["error"]["code"] == "card_declined"
    assert {entry["id"] for entry in entries if entry["type"] == "refund"} == {refund["id"]}
    effects = [entry["name"] for entry in entries if entry["type"] == "ledger_transaction"]
    ledger = seen["ledger"]
    assert isinstance(ledger, list)
    assert sorted(effects) == sorted(item["effect_key"] for item in ledger)
    events = {entry["name"] for entry in entries if entry["type"] == "event"}
    assert events >= {
        "payment_intent.created", "charge.failed", "payment_intent.payment_failed", "charge.succeeded",
        "payment_intent.succeeded", "refund.created",
    }  # fmt: skip


async def test_a_dispute_in_the_timeline(shop: Shop) -> None:
    order = {"amount": 3000, "currency": "usd", "payment_method": "pm_card_createDispute", "confirm": True}
    paid = (await shop.http.post("/payments", json=order)).json()
    (dispute,) = (await shop.running.client.get("/v1/disputes")).json()["data"]
    await shop.until(f"/disputes/{dispute['id']}", status="needs_response")
    await shop.running.control(f"disputes/{dispute['id']}/lose")
    await shop.until(f"/disputes/{dispute['id']}", status="lost")
    seen = await shop.get(f"/payments/{paid['id']}")
    assert told(seen, "dispute") == [
        ("dispute", "dispute", "needs_response"),
        ("dispute", "dispute", "lost"),
    ]


async def test_before_any_event_the_answers_alone_tell(face: Face) -> None:
    held = await face.pay(capture_method="manual")
    await face.post(f"/payments/{held['id']}/capture", {"amount": 400})
    seen = (await face.http.get(f"/payments/{held['id']}")).json()
    assert told(seen, "command", "status") == [
        ("command", "create", "done"),
        ("command", "capture", "done"),
        ("status", "payment", "succeeded"),
    ]


async def test_replayed_and_repeated_events_tell_nothing_twice(shop: Shop) -> None:
    order = {"amount": 2500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    paid = (await shop.http.post("/payments", json=order)).json()
    before = await settled(shop, paid["id"], transactions=3)
    async with shop.running.app.engine.begin() as connection:
        await connection.execute(text("UPDATE webhook_events SET status = 'pending', ring_at = now()"))
    deadline = time.monotonic() + 60
    while True:
        async with shop.running.app.engine.connect() as connection:
            query = text("SELECT count(*) FROM webhook_events WHERE status = 'pending'")
            if not (await connection.execute(query)).scalar_one():
                break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    after = await shop.get(f"/payments/{paid['id']}")
    assert told(after) == told(before)


async def test_a_command_names_the_key_that_gave_it(face: Face) -> None:
    clerk = await face.key("payments:write")
    held = await face.pay(capture_method="manual")
    path = f"/payments/{held['id']}"
    await face.http.post(f"{path}/cancel", headers={"Authorization": f"Bearer {clerk}"})
    seen = (await face.http.get(path)).json()
    commands = {each["name"]: each["api_key"] for each in seen["timeline"] if each["type"] == "command"}
    async with face.app.engine.connect() as connection:
        hints = {row.hint: row.id for row in await connection.execute(text("SELECT hint, id FROM api_keys"))}
    admin = face.http.headers["Authorization"][-4:]
    assert commands == {"create": hints[admin], "cancel": hints[clerk[-4:]]}
    assert all(each["api_key"] is None for each in seen["timeline"] if each["type"] != "command")


async def test_events_without_an_effect_yet_are_told_of(face: Face) -> None:
    story = StripeStory()
    intent = story.intent(2000)
    story.succeed(intent)
    road = Road(face.app.engine, story)
    await road.deliver(story.events)
    broken = story.event("payment_intent.succeeded", {**intent, "currency": None})
    await road.deliver([broken])
    late = story.event("charge.updated", next(iter(story.charges.values())))
    await road.inbox.receive(incoming(late))
    (payment,) = (await face.http.get("/payments")).json()["data"]
    seen = (await face.http.get(f"/payments/{payment['id']}")).json()
    events = {each["id"]: each["status"] for each in seen["timeline"] if each["type"] == "event"}
    assert (events[broken["id"]], events[late["id"]]) == ("dead", "pending")
    assert {events[each["id"]] for each in story.events} == {None, "dead", "pending"}


async def test_a_timeline_page_by_page_is_the_whole_one(face: Face) -> None:
    story = StripeStory()
    intent = story.intent(2000)
    for number in range(20):
        intent["last_payment_error"] = {"code": "card_declined", "message": f"No {number}."}
        story.event("payment_intent.payment_failed", intent)
    story.succeed(intent)
    await Road(face.app.engine, story).deliver(story.events)
    (payment,) = (await face.http.get("/payments")).json()["data"]
    whole = (await face.http.get(f"/payments/{payment['id']}")).json()
    assert whole["timeline_cursor"] is None
    path, pages, cursor = f"/payments/{payment['id']}/timeline", [], None
    while True:
        query = {"limit": 7} | ({"cursor": cursor} if cursor else {})
        page = (await face.http.get(path, params=query)).json()
        pages.append(page["data"])
        assert page["has_more"] == (page["next_cursor"] is not None)
        assert sum(each["type"] == "event" for each in page["data"]) <= 7
        if (cursor := page["next_cursor"]) is None:
            break
    told_of = list(itertools.chain.from_iterable(reversed(pages)))
    for kind in ("event", "attempt", "ledger_transaction", "command"):
        assert [each for each in told_of if each["type"] == kind] == [
            each for each in whole["timeline"] if each["type"] == kind
        ]
    statuses = [each["status"] for each in told_of if each["type"] == "status"]
    changes = [status for status, _ in itertools.groupby(statuses)]
    assert changes == [each["status"] for each in whole["timeline"] if each["type"] == "status"]
    assert_problem(await face.http.get(path, params={"cursor": "nonsense"}), 400, "invalid_request", "cursor")
    assert_problem(await face.http.get("/payments/pay_none/timeline"), 404, "not_found")
