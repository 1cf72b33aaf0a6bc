"""Every code of docs/errors.md is what somebody gets: each is produced here, from outside.

A new error is added to ``HOW``; the first test fails until it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import text
from tests.builders import StripeStory
from tests.conftest import Databases
from tests.exported import entry
from tests.exported import post as post_entries
from tests.integration.api.conftest import SECRETS, Face, open_face
from tests.integration.api.test_health import alone
from tests.pipeline_support import attempts_of
from tests.road import Road, owner_engine

from tallystick.api.description import error_kinds
from tallystick.console.forgery import check_token
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import (
    ConfigurationError,
    ForgedFormError,
    LedgerInconsistentError,
    UnbalancedError,
    UnsteadyBalanceError,
)
from tallystick.ledger.entries import debit, post
from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.books import Period
from tallystick.ledger.export.formats import FORMATS, ExportFormat
from tallystick.ledger.export.writing import export
from tallystick.pipeline.pulls.adoption import derive
from tallystick.settings import load_settings
from tallystick.stripe_gateway.operator import OperatorGateway
from tallystick.stripe_gateway.signature import sign

Answer = httpx.Response
ORDER = {"amount": 1000, "currency": "usd"}
PAID = {**ORDER, "payment_method": "pm_card_visa", "confirm": True}


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all; a request under a key that is in use is told so soon."""
    async with open_face(await databases.create(), valkey, idempotency_wait_s=0.1, body_limit=4096) as made:
        yield made


async def internal_error(face: Face) -> Answer:
    async def rename(old: str, new: str) -> None:
        async with owner_engine(face.app.settings.database_url) as owner, owner.begin() as connection:
            await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    await rename("refunds", "elsewhere")
    try:
        return await face.http.get("/refunds/ref_1")
    finally:
        await rename("elsewhere", "refunds")


async def invalid_state(face: Face) -> Answer:
    paid = await face.pay()
    return await face.post(f"/payments/{paid['id']}/cancel")


async def refund_exceeds_available(face: Face) -> Answer:
    paid = await face.pay()
    return await face.post(f"/payments/{paid['id']}/refund", {"amount": 1001})


def correction(amount: int) -> dict[str, Any]:
    legs = (("expenses:stripe_fees", "debit", amount), ("suspense:stripe", "credit", 100))
    return {
        "description": "A fee",
        "reason": "It stood in suspense",
        "lines": [
            {"account": account, "direction": direction, "amount": each, "currency": "usd"}
            for account, direction, each in legs
        ],
    }


async def second_person_required(face: Face) -> Answer:
    written = (await face.post("/journal-entries", correction(100))).json()
    return await face.post(f"/journal-entries/{written['id']}/approve")


async def customer_authentication_required(face: Face) -> Answer:
    order = {**PAID, "payment_method": "pm_card_authenticationRequired", "off_session": True}
    async with httpx.AsyncClient(base_url=face.sandbox.url, auth=("sk_test_abc", "")) as stripe:
        customer = (await stripe.post("/v1/customers")).json()["id"]
        method = (
            await stripe.post(
                "/v1/payment_methods/pm_card_authenticationRequired/attach", data={"customer": customer}
            )
        ).json()["id"]
    return await face.post("/payments", {**order, "customer": customer, "payment_method": method})


async def idempotency_key_reused(face: Face) -> Answer:
    await face.post("/payments", ORDER, key="reused")
    return await face.post("/payments", PAID, key="reused")


async def idempotency_key_in_use(face: Face) -> Answer:
    await face.fault(action="delay", path="/v1/payment_intents", method="POST", seconds=1.5)
    first = asyncio.create_task(face.post("/payments", ORDER, key="in use"))
    begun = "SELECT count(*) FROM idempotency_keys WHERE key = 'in use'"
    async with face.app.engine.connect() as connection:
        while not (await connection.execute(text(begun))).scalar_one():
            await connection.rollback()
            await asyncio.sleep(0.01)
    try:
        return await face.post("/payments", ORDER, key="in use")
    finally:
        await first


async def insufficient_scope(face: Face) -> Answer:
    reader = await face.key("payments:read")
    return await face.http.post("/payments", json=ORDER, headers={"Authorization": f"Bearer {reader}"})


async def rate_limited(face: Face) -> Answer:
    body = {"name": "slow", "scopes": ["payments:read"], "rate_limit": "1/hour"}
    slow = {"Authorization": f"Bearer {(await face.post('/api-keys', body)).json()['api_key']}"}
    await face.http.get("/payments", headers=slow)
    return await face.http.get("/payments", headers=slow)


async def stripe_unavailable(face: Face) -> Answer:
    await face.fault(action="status", status=500, path="/v1/payment_intents", method="POST")
    return await face.post("/payments", ORDER)


async def database_unavailable(face: Face) -> Answer:
    async with alone() as http:
        return await http.get("/payments", headers={"Authorization": "Bearer tsk_" + "a" * 40})


async def overloaded(face: Face) -> Answer:
    """One request begins and does not get on, the other waits behind it."""
    changed = {"stripe_secret_key": "sk_test_abc", "stripe_api_base": face.sandbox.url, "request_wait_s": 0.1}
    settings = face.app.settings
    async with (
        alone(
            database_url=settings.database_url,
            redis_url=settings.redis_url,
            database_pool_size=2,
            **changed,
        ) as http,
        face.app.engine.begin() as connection,
    ):
        http.headers["Authorization"] = face.http.headers["Authorization"]
        assert (await http.get("/payments")).status_code == 200
        await connection.execute(text("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE"))
        keyed = ({"Idempotency-Key": name} for name in ("begins", "waits"))
        both = [asyncio.create_task(http.post("/payments", json=ORDER, headers=key)) for key in keyed]
        done, (other,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await connection.rollback()
        assert (await other).status_code == 201
        return done.pop().result()


async def stripe_access(face: Face) -> Answer:
    """The same API, with a key that Stripe does not know."""
    changed = {"stripe_secret_key": "nonsense", "stripe_api_base": face.sandbox.url}
    async with alone(
        database_url=face.app.settings.database_url, redis_url=face.app.settings.redis_url, **changed
    ) as http:
        return await http.post(
            "/payments", json=ORDER, headers={"Authorization": face.http.headers["Authorization"]}
        )


async def delivered(face: Face, body: bytes, *, secret: str = SECRETS[0], age: int = 0) -> Answer:
    signature = sign(body, secret, int(time.time()) - age)
    return await face.http.post("/webhooks/stripe", content=body, headers={"Stripe-Signature": signature})


async def unbalanced(face: Face) -> str:
    """No event leads here: it is what a rule with a mistake in it runs into."""
    legs = [debit("assets:stripe:clearing", 100, "usd")]
    with pytest.raises(UnbalancedError) as caught:
        post("x", "sale", legs, description="", occurred_at=datetime.now(UTC), source="evt_1")
    return caught.value.code


async def dead_letter(face: Face, change: Callable[[dict[str, Any]], None]) -> str:
    """The code of an event that follows one of the same charge, changed."""
    story = StripeStory()
    story.succeed(story.intent(1000, "usd"))
    road = Road(face.app.engine, story)
    charge = next(event for event in story.events if event["type"] == "charge.succeeded")
    await road.deliver(story.events)
    ident = f"evt_{change.__name__}"
    again = {**charge, "id": ident, "data": {"object": {**charge["data"]["object"]}}}
    change(again["data"]["object"])
    await road.deliver([again])
    (attempt,) = await attempts_of(face.app.engine, ident)
    return str(attempt.error_code)


def other_amount(charge: dict[str, Any]) -> None:
    charge["amount_captured"] = 999


def no_currency(charge: dict[str, Any]) -> None:
    del charge["currency"]


async def ledger_inconsistent(face: Face) -> str:
    """An answer that has begun has no code: it breaks off, and the log says this."""
    await post_entries(face.app.engine, entry("one", datetime.now(UTC), 100))
    tamper = "UPDATE account_balances SET debits = debits + :by WHERE debits > 0"
    writer = FORMATS[ExportFormat.CSV].writer(AccountNames())

    async def tampered(by: int) -> None:
        async with owner_engine(face.app.settings.database_url) as owner, owner.begin() as connection:
            await connection.execute(text(tamper), {"by": by})

    await tampered(1)
    try:
        with pytest.raises(LedgerInconsistentError) as caught:
            async with aclosing(export(face.app.engine, writer, Period())) as chunks:
                assert [chunk async for chunk in chunks] == []
    finally:
        await tampered(-1)
    return caught.value.code


async def too_many_exports(face: Face) -> Answer:
    """Two that wait for a lock on the accounts, and a third."""
    begun = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ledger_accounts'::regclass"
    async with (
        owner_engine(face.app.settings.database_url) as owner,
        owner.connect() as watch,
        owner.connect() as holder,
    ):
        await holder.execute(text("LOCK TABLE ledger_accounts"))
        first = [asyncio.create_task(face.http.get("/ledger/export?format=csv")) for _ in range(2)]
        while (await watch.execute(text(begun))).scalar_one() < 2:
            await watch.rollback()
            await asyncio.sleep(0.01)
        try:
            return await face.http.get("/ledger/export?format=csv")
        finally:
            await holder.rollback()
            assert [answer.status_code for answer in await asyncio.gather(*first)] == [200, 200]


async def unsteady_balance(face: Face) -> str:
    """Stripe's balance never says what its balance transactions come to."""

    class Erring:
        calls = 0

        async def balance(self) -> dict[str, Any]:
            self.calls += 1
            return {"available": [{"amount": self.calls, "currency": "usd"}]}

        async def page_of_movements(self, _narrowed: Any, _after: Any) -> dict[str, Any]:
            return {"data": [], "has_more": False}

    with pytest.raises(UnsteadyBalanceError) as caught:
        await derive(cast("OperatorGateway", Erring()), datetime.now(UTC), pause_s=0)
    return caught.value.code


async def configuration(face: Face) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({})
    return caught.value.code


async def forged_form(_: Face) -> str:
    """The console answers with a page: what it says of it is in the console's own tests."""
    with pytest.raises(ForgedFormError) as refused:
        check_token("", "0" * 64)
    return refused.value.code


HOW: dict[str, Callable[[Face], Awaitable[Answer | str]]] = {
    "internal_error": internal_error,
    "invalid_request": lambda face: face.post("/payments", {**ORDER, "amount": "10"}),
    "invalid_json": lambda face: face.http.post(
        "/payments", content=b"{", headers={"Content-Type": "application/json"}
    ),
    "invalid_amount": lambda face: face.post("/payments", {**ORDER, "amount": 1}),
    "unknown_currency": lambda face: face.post("/payments", {**ORDER, "currency": "xyz"}),
    "unbalanced_entry": lambda face: face.post("/journal-entries", correction(101)),
    "second_person_required": second_person_required,
    "authentication_required": lambda face: face.http.get("/payments", headers={"Authorization": ""}),
    "invalid_api_key": lambda face: face.http.get("/payments", headers={"Authorization": "Bearer tsk_x"}),
    "insufficient_scope": insufficient_scope,
    "rate_limited": rate_limited,
    "not_found": lambda face: face.http.get("/payments/pay_none"),
    "method_not_allowed": lambda face: face.http.delete("/payments"),
    "body_too_large": lambda face: face.post("/payments", {"description": "x" * 5000}),
    "unsupported_media_type": lambda face: face.http.post("/payments", data={"amount": "1000"}),
    "invalid_state": invalid_state,
    "refund_exceeds_available": refund_exceeds_available,
    "card_declined": lambda face: face.post(
        "/payments", {**PAID, "payment_method": "pm_card_chargeDeclined"}
    ),
    "customer_authentication_required": customer_authentication_required,
    "idempotency_key_reused": idempotency_key_reused,
    "idempotency_key_in_use": idempotency_key_in_use,
    "invalid_idempotency_key": lambda face: face.post("/payments", ORDER, key="x" * 256),
    "invalid_signature": lambda face: delivered(face, b"{}", secret="whsec_other"),
    "signature_expired": lambda face: delivered(face, b"{}", age=3600),
    "invalid_event": lambda face: delivered(face, b"{}"),
    "livemode_mismatch": lambda face: delivered(
        face, b'{"id": "evt_1", "object": "event", "type": "x", "created": 1, "livemode": true}'
    ),
    "stripe_refused": lambda face: face.post("/payments", {**ORDER, "customer": "cus_none"}),
    "stripe_unavailable": stripe_unavailable,
    "stripe_access": stripe_access,
    "database_unavailable": database_unavailable,
    "overloaded": overloaded,
    "invalid_payload": lambda face: dead_letter(face, no_currency),
    "unbalanced": unbalanced,
    "effect_differs": lambda face: dead_letter(face, other_amount),
    "ledger_inconsistent": ledger_inconsistent,
    "too_many_exports": too_many_exports,
    "unsteady_balance": unsteady_balance,
    "configuration": configuration,
    "forged_form": forged_form,
}


def test_no_code_is_left_out() -> None:
    assert set(HOW) == set(error_kinds())


@pytest.mark.parametrize("code", HOW)
async def test_each_code_is_what_somebody_gets(face: Face, code: str) -> None:
    found = await HOW[code](face)
    if isinstance(found, str):
        assert found == code
        return
    document = found.json()
    assert document["code"] == code, document
    kind = error_kinds()[code]
    assert (found.status_code, document["title"], document["retryable"]) == (
        kind.status,
        kind.title,
        kind.retryable,
    )
