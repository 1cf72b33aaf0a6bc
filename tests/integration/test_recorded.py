"""Stripe's own objects, as test mode really sent them, come in as signed events of their API version.

``tests/fixtures/recorded_objects.jsonl`` holds every charge, PaymentIntent and refund that real test-mode
answers contained (API versions 2025-03 to 2026-03), secrets and links taken out. None of these payments was
made through our API: each is adopted.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import text
from tests.integration.api.conftest import SECRETS, Face, open_face

from tallystick.embedded import EmbeddedValkey
from tallystick.ledger.book import Book
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.lookups import Lookups
from tallystick.pipeline.process import Processor
from tallystick.pipeline.pulls.settlement import Settlement
from tallystick.stripe_gateway.signature import sign

Json = dict[str, Any]
RECORDED: Final = [
    orjson.loads(line)
    for line in (Path(__file__).parents[1] / "fixtures" / "recorded_objects.jsonl").read_bytes().splitlines()
]
EVENT_TYPES: Final = {
    ("payment_intent", "succeeded"): "payment_intent.succeeded",
    ("payment_intent", "requires_action"): "payment_intent.requires_action",
    ("payment_intent", "requires_capture"): "payment_intent.amount_capturable_updated",
    ("charge", "succeeded"): "charge.succeeded",
    ("refund", "succeeded"): "refund.created",
}


@pytest.fixture
async def face(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """The API in front of a fresh database; its Stripe knows none of the recorded objects."""
    async with open_face(database_url, valkey) as made:
        yield made


async def test_every_recorded_object_is_accepted_and_posts_what_it_says(face: Face) -> None:
    events = [_event(number, recorded) for number, recorded in enumerate(RECORDED)]
    for event in events:
        await _send(face, event)
    await _work_off(face)

    async with face.app.engine.connect() as connection:
        states = await connection.execute(text("SELECT status, count(*) FROM webhook_events GROUP BY 1"))
        assert dict(states.tuples().all()) == {"processed": len(events)}
    for recorded in RECORDED:
        await _check(face, recorded["object"])
    await _check_totals(face)


def _event(number: int, recorded: Json) -> Json:
    obj = recorded["object"]
    return {
        "id": f"evt_recorded_{number}",
        "object": "event",
        "type": EVENT_TYPES[obj["object"], obj["status"]],
        "created": obj["created"] + 1,
        "api_version": recorded["api_version"],
        "livemode": False,
        "data": {"object": obj},
    }


async def _send(face: Face, event: Json) -> None:
    body = orjson.dumps(event)
    headers = {"Stripe-Signature": sign(body, SECRETS[0], at=int(time.time()))}
    response = await face.http.post("/webhooks/stripe", content=body, headers=headers)
    assert response.status_code == 200, response.text


async def _work_off(face: Face) -> None:
    """What a worker does, without its loops."""
    app, book = face.app, Book()
    failures = Failures(app.engine, app.settings)
    lookups = Lookups(app.engine, app.stripe, failures, again_after_s=())
    processor = Processor(app.engine, book, app.settings, failures)
    settlement = Settlement(app.engine, app.stripe, book, app.settings, lookups)
    for _ in range(5):  # a rule asks one question after the other
        async with app.engine.connect() as connection:
            query = text("SELECT id FROM webhook_events WHERE status = 'pending'")
            pending = list((await connection.execute(query)).scalars())
        outcome = await processor.process(pending)
        await lookups.answer(outcome.questions)
        await settlement.fetch_and_post()


def _reference(value: Any) -> str | None:
    found: str | None = value["id"] if isinstance(value, dict) else value
    return found


async def _check(face: Face, obj: Json) -> None:
    keys: dict[str, list[tuple[str, str, int]]] = {}
    if obj["object"] == "refund":
        payment_id = f"pay_{obj['payment_intent']}"
        refund = (await face.http.get(f"/refunds/ref_{obj['id']}")).json()
        assert (refund["status"], refund["amount"]) == ("succeeded", obj["amount"])
        legs = [("liabilities:unapplied", "debit"), ("assets:stripe:clearing", "credit")]
        keys[f"refund:{obj['id']}"] = [(*leg, obj["amount"]) for leg in legs]
        await _check_ledger(face, payment_id, keys)
        return
    intent = _reference(obj["payment_intent"]) if obj["object"] == "charge" else obj["id"]
    answer_ = await face.http.get(f"/payments/pay_{intent}")
    payment = answer_.json()
    assert answer_.status_code == 200
    assert payment["origin"] == "adopted"
    assert (payment["amount"], payment["currency"]) == (obj["amount"], obj["currency"])
    charge, captured = _capture(obj)
    if obj["object"] == "payment_intent":
        assert payment["status"] == obj["status"]
    elif captured:
        assert payment["status"] == "succeeded"
    if charge and captured:
        assert payment["amount_captured"] == captured
        legs = [("assets:stripe:clearing", "debit"), ("liabilities:unapplied", "credit")]
        keys[f"charge:{charge}:captured"] = [(*leg, captured) for leg in legs]
    txn = obj.get("balance_transaction")
    if isinstance(txn, dict):
        keys[f"balance_transaction:{txn['id']}"] = [
            ("assets:stripe:balance", "debit", txn["net"]),
            ("expenses:stripe_fees", "debit", txn["fee"]),
            ("assets:stripe:clearing", "credit", txn["amount"]),
        ]
    await _check_ledger(face, f"pay_{intent}", keys)


def _capture(obj: Json) -> tuple[str | None, int]:
    """Which charge captured how much, by a charge or a PaymentIntent."""
    if obj["object"] == "charge":
        return obj["id"], obj["amount_captured"]
    return _reference(obj["latest_charge"]), obj["amount_received"]


async def _check_ledger(face: Face, payment: str, expected: dict[str, Any]) -> None:
    """The ledger transactions with these keys have exactly these legs."""
    async with face.app.engine.connect() as connection:
        rows = await connection.execute(
            text("""
                SELECT t.effect_key, a.name, e.direction, e.amount, t.payment_id
                  FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
                  JOIN ledger_accounts a ON a.id = e.account_id
                 WHERE t.effect_key = ANY(:keys) ORDER BY t.id, e.position"""),
            {"keys": list(expected)},
        )
        found: dict[str, list[tuple[str, str, int]]] = {}
        for key, account, direction, amount, payment_id in rows:
            found.setdefault(key, []).append((account, "debit" if direction == 1 else "credit", amount))
            assert payment_id == payment
    assert found == expected


async def _check_totals(face: Face) -> None:
    """Clearing holds exactly what was captured or refunded and whose balance transaction was not seen."""
    captures: dict[str, int] = {}
    settled: dict[str, int] = {}
    for recorded in RECORDED:
        obj = recorded["object"]
        if obj["object"] == "refund":
            captures[obj["id"]] = -obj["amount"]
        elif (capture := _capture(obj))[0]:
            captures[str(capture[0])] = capture[1]
        if isinstance(txn := obj.get("balance_transaction"), dict):
            settled[txn["id"]] = txn["amount"]
    rows = (await face.http.get("/ledger/trial-balance")).json()["data"]
    balances = {row["account"]: row["balance"] for row in rows}
    assert balances["assets:stripe:clearing"] == sum(captures.values()) - sum(settled.values())
    # this Stripe knows neither invoices nor Checkout Sessions of them: each was a sale
    assert balances["liabilities:unapplied"] == 0
    assert balances["revenue:payments"] - balances["revenue:refunds"] == sum(captures.values())
