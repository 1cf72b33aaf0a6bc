"""One request under a key does the work; the others get its answer, whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from sqlalchemy import TextClause, text
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_refusals import assert_problem
from tests.integration.api.test_whole_road import bring_events

from tallystick.api.keys import create_key
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import IdempotencyKeyInUseError
from tallystick.idempotency import (
    Claim,
    StartedElsewhereError,
    StoredAnswer,
    enter,
    finish,
    keyed_request,
    reap,
    release,
)
from tallystick.payments.reports import intent_report
from tallystick.payments.store import apply_payments
from tallystick.settings import load_settings
from tallystick.stripe_gateway.answers import RefusedError, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import PaymentIntent

ORDER = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
DECLINED = {**ORDER, "payment_method": "pm_card_chargeDeclined"}
INTENTS = "/v1/payment_intents*"


def replayed(answer: httpx.Response) -> bool:
    return "idempotent-replayed" in answer.headers


async def run_out(face: Face) -> None:
    """All leases end, as if nobody had renewed them."""
    async with face.app.engine.begin() as connection:
        await connection.execute(text("UPDATE idempotency_keys SET leased_until = now()"))


async def scalar(face: Face, query: TextClause) -> Any:
    async with face.app.engine.connect() as connection:
        return (await connection.execute(query)).scalar_one()


async def test_two_hundred_at_once_are_one_payment(face: Face) -> None:
    answers = await asyncio.gather(*(face.post("/payments", ORDER, key="same") for _ in range(200)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum(not replayed(answer) for answer in answers) == 1
    (intent,) = await face.intents()
    assert intent["id"] == answers[0].json()["stripe"]["payment_intent"]
    assert (await face.rows())["payments"] == 1


async def test_without_a_key_each_is_its_own(face: Face) -> None:
    await asyncio.gather(*(face.post("/payments", ORDER) for _ in range(3)))
    assert len(await face.intents()) == 3


async def test_a_later_one_is_a_replay_whatever_the_order_of_the_fields(face: Face) -> None:
    first = await face.post("/payments", ORDER, key="k")
    again = await face.post("/payments", dict(reversed(ORDER.items())), key="k")
    assert (again.status_code, again.content, replayed(first), replayed(again)) == (
        201, first.content, False, True,
    )  # fmt: skip


async def test_another_body_or_path_under_the_key_is_refused(face: Face) -> None:
    first = await face.post("/payments", ORDER, key="k")
    assert_problem(
        await face.post("/payments", {**ORDER, "amount": 1001}, key="k"), 422, "idempotency_key_reused"
    )
    path = f"/payments/{first.json()['id']}/refund"
    assert_problem(await face.post(path, {}, key="k"), 422, "idempotency_key_reused")
    assert len(await face.intents()) == 1
    assert await face.stripe_refunds() == []


async def test_keys_of_two_callers_do_not_meet(face: Face) -> None:
    mine = await face.post("/payments", ORDER, key="k")
    other = {"Authorization": f"Bearer {await face.key('payments:write')}", "Idempotency-Key": "k"}
    theirs = await face.http.post("/payments", json=ORDER, headers=other)
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine.json()["id"]


async def test_a_decline_is_kept(face: Face) -> None:
    answers = await asyncio.gather(*(face.post("/payments", DECLINED, key="k") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {402}
    assert len({answer.content for answer in answers}) == 1
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert len(await face.intents()) == 1


async def test_a_refusal_by_stripe_is_kept_and_leaves_no_payment(face: Face) -> None:
    order = {**ORDER, "customer": "cus_none"}
    first = await face.post("/payments", order, key="k")
    again = await face.post("/payments", order, key="k")
    assert_problem(first, 400, "stripe_refused")
    assert (again.content, replayed(again)) == (first.content, True)
    assert (await face.rows())["payments"] == 0


async def test_bad_input_does_not_take_the_key(face: Face) -> None:
    assert_problem(await face.post("/payments", {**ORDER, "amount": 1}, key="k"), 400, "invalid_amount")
    assert (await face.post("/payments", ORDER, key="k")).status_code == 201


async def test_one_that_is_still_at_work_is_waited_for(face: Face) -> None:
    await face.fault(action="delay", path=INTENTS, method="POST", seconds=0.6)
    first = asyncio.create_task(face.post("/payments", ORDER, key="k"))
    await face.begun("idempotency_keys")
    second = await face.post("/payments", ORDER, key="k")
    assert (second.status_code, replayed(second)) == (201, True)
    assert second.content == (await first).content


async def test_past_the_wait_the_key_is_in_use(database_url: str, valkey: EmbeddedValkey) -> None:
    async with open_face(database_url, valkey, idempotency_wait_s=0.2) as face:
        await face.fault(action="delay", path=INTENTS, method="POST", seconds=3.0)
        first = asyncio.create_task(face.post("/payments", ORDER, key="k"))
        await face.begun("idempotency_keys")
        second = await face.post("/payments", ORDER, key="k")
        assert_problem(second, 409, "idempotency_key_in_use")
        assert int(second.headers["retry-after"]) > 0
        assert (await first).status_code == 201


async def test_waiting_holds_no_connection(database_url: str, valkey: EmbeddedValkey) -> None:
    async with open_face(database_url, valkey, database_pool_size=2, database_wait_s=1.0) as face:
        await face.fault(action="delay", path=INTENTS, method="POST", seconds=1.0)
        same = [asyncio.create_task(face.post("/payments", ORDER, key="k")) for _ in range(20)]
        await face.begun("idempotency_keys")
        assert (await face.http.get("/payments")).status_code == 200
        assert {answer.status_code for answer in await asyncio.gather(*same)} == {201}


async def test_one_at_work_keeps_its_key_past_its_lease(database_url: str, valkey: EmbeddedValkey) -> None:
    async with open_face(database_url, valkey, idempotency_lease_s=0.3, idempotency_wait_s=0.0) as face:
        await face.fault(action="delay", path=INTENTS, method="POST", seconds=1.5)
        first = asyncio.create_task(face.post("/payments", ORDER, key="k"))
        past = text("SELECT count(*) FROM idempotency_keys WHERE created_at < now() - interval '0.9 seconds'")
        async with asyncio.timeout(10):
            while not await scalar(face, past):  # noqa: ASYNC110 - the database's clock wakes nobody
                await asyncio.sleep(0.02)
        assert_problem(await face.post("/payments", ORDER, key="k"), 409, "idempotency_key_in_use")
        assert (await first).status_code == 201


async def test_old_keys_are_removed_in_batches_and_those_at_work_are_not(face: Face) -> None:
    for number in range(5):
        await face.post("/payments", {**ORDER, "confirm": False}, key=f"k-{number}")
    async with face.app.engine.begin() as connection:
        await connection.execute(
            text("UPDATE idempotency_keys SET created_at = now() - interval '31 days' WHERE key <> 'k-0'")
        )
        await connection.execute(
            text("UPDATE idempotency_keys SET leased_until = now() - interval '1 day' WHERE key <> 'k-1'")
        )
    month = timedelta(days=30)
    reaped = [await reap(face.app.engine, keep=month, limit=2) for _ in range(3)]
    assert reaped == [2, 1, 0]
    kept = await face.post("/payments", {**ORDER, "confirm": False}, key="k-0")
    assert replayed(kept)
    left = text("SELECT array_agg(key ORDER BY key) FROM idempotency_keys")
    assert await scalar(face, left) == ["k-0", "k-1"]


async def test_one_that_died_is_taken_over_with_its_payment(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    async with open_face(database_url, valkey, idempotency_lease_s=0.3) as face:
        await face.fault(action="delay", when="after", path=INTENTS, method="POST", seconds=30.0)
        first = asyncio.create_task(face.post("/payments", ORDER, key="k"))
        await face.begun("idempotency_keys")
        first.cancel()  # as if the process had been killed: nothing is let go
        with pytest.raises(asyncio.CancelledError):
            await first
        (unknown,) = (await face.http.get("/payments")).json()["data"]
        assert unknown["status"] == "unknown"
        again = await face.post("/payments", ORDER, key="k")
        assert (again.status_code, replayed(again)) == (201, False)
        assert (again.json()["id"], again.json()["status"]) == (unknown["id"], "succeeded")
        assert len(await face.intents()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "cut", "when": "before"},
        {"action": "cut", "when": "after"},
        {"action": "status", "status": 500, "when": "after"},
        {"action": "status", "status": 503, "when": "before"},
    ],
)
@pytest.mark.parametrize("order", [ORDER, DECLINED])
async def test_when_nobody_knows_a_retry_finds_out(
    face: Face, fault: dict[str, Any], order: dict[str, Any]
) -> None:
    await face.fault(path=INTENTS, method="POST", **fault)
    first = await face.post("/payments", order, key="k")
    problem = assert_problem(first, 503, "stripe_unavailable")
    assert int(first.headers["retry-after"]) > 0
    assert problem["retryable"] is True
    unknown = (await face.http.get(f"/payments/{problem['payment_id']}")).json()
    assert unknown["status"] == "unknown"
    again = await face.post("/payments", order, key="k")
    assert again.status_code == (201 if order is ORDER else 402)
    paid = again.json() if order is ORDER else again.json()["payment"]
    assert paid["id"] == unknown["id"]
    assert (await face.post("/payments", order, key="k")).content == again.content
    assert len(await face.intents()) == 1
    assert (await face.rows())["payments"] == 1


async def test_stripe_out_of_reach_leaves_nothing_and_a_retry_makes_one(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"stripe_secret_key": "sk_test_abc", "stripe_api_base": "http://127.0.0.1:9"}
    nowhere = StripeGateway(load_settings({}, require=(), stripe_max_retries=0, **base))
    with monkeypatch.context() as down:
        down.setattr(face.app.stripe, "_request", nowhere._request)
        answers = await asyncio.gather(*(face.post("/payments", ORDER, key="k") for _ in range(5)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await face.rows())["payments"] == 0
    answers = await asyncio.gather(*(face.post("/payments", ORDER, key="k") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(await face.intents()) == 1
    await nowhere.close()


async def test_an_answer_that_stripe_repeats_does_not_turn_back_the_clock(face: Face) -> None:
    """The first answer is lost, the payment goes on, and the retry is told of the old state by Stripe."""
    order = {"amount": 1000, "currency": "usd", "capture_method": "manual", "payment_method": "pm_card_visa"}
    await face.fault(action="cut", when="after", path=INTENTS, method="POST")
    first = await face.post("/payments", order, key="k")
    (intent,) = await face.intents()
    await face.app.stripe.confirm_payment_intent(intent["id"], {}, "elsewhere")
    again = await face.post("/payments", order, key="k")
    assert again.json()["id"] == first.json()["payment_id"]
    assert again.json()["status"] == "requires_capture"


async def test_a_retry_past_the_memory_of_stripe_makes_no_second_payment(face: Face) -> None:
    await face.fault(action="cut", when="after", path=INTENTS, method="POST")
    first = await face.post("/payments", ORDER, key="k")
    await face.a_day_later()
    problem = assert_problem(await face.post("/payments", ORDER, key="k"), 409, "invalid_state")
    assert problem["payment_id"] == first.json()["payment_id"]
    assert len(await face.intents()) == 1


async def test_a_retry_after_the_webhook_answers_from_its_payment_intent(face: Face) -> None:
    """However late it comes: the webhook has filled the row, and Stripe has forgotten the key."""
    await face.fault(action="cut", when="after", path=INTENTS, method="POST")
    first = await face.post("/payments", ORDER, key="k")
    await bring_events(face)
    await face.a_day_later()
    again = await face.post("/payments", ORDER, key="k")
    assert (again.status_code, again.json()["status"]) == (201, "succeeded")
    assert again.json()["id"] == first.json()["payment_id"]
    assert again.json()["client_secret"]
    (intent,) = await face.intents()
    assert again.json()["stripe"]["payment_intent"] == intent["id"]
    assert (await face.post("/payments", ORDER, key="k")).content == again.content


async def test_a_late_retry_of_a_decline_is_a_decline(face: Face) -> None:
    """A caller who looks no further than the HTTP status must not take it for a payment."""
    expected = (await face.post("/payments", DECLINED, key="other")).json()
    await face.fault(action="cut", when="after", path=INTENTS, method="POST")
    lost = await face.post("/payments", DECLINED, key="k")
    await bring_events(face)
    await face.a_day_later()
    problem = assert_problem(await face.post("/payments", DECLINED, key="k"), 402, "card_declined")
    assert problem["payment_id"] == problem["payment"]["id"] == lost.json()["payment_id"]
    assert problem["payment"]["status"] == "requires_payment_method"
    assert problem.keys() == expected.keys()
    own = {"request_id", "payment_id", "payment"}
    assert {name: problem[name] for name in problem.keys() - own} == {
        name: expected[name] for name in expected.keys() - own
    }
    assert problem["payment"]["last_error"] == expected["payment"]["last_error"]
    assert len(await face.intents()) == 2


async def test_a_late_retry_of_a_payment_that_was_declined_and_then_paid_is_a_payment(face: Face) -> None:
    await face.fault(action="cut", when="after", path=INTENTS, method="POST")
    lost = (await face.post("/payments", DECLINED, key="k")).json()
    await bring_events(face)
    path = f"/payments/{lost['payment_id']}/confirm"
    assert (await face.post(path, {"payment_method": "pm_card_visa"})).status_code == 200
    again = await face.post("/payments", DECLINED, key="k")
    assert (again.status_code, again.json()["status"]) == (201, "succeeded")


async def test_a_late_retry_that_stripe_does_not_answer_stays_open(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither silence nor a refusal to show the PaymentIntent says what became of the payment."""
    await face.fault(action="cut", when="after", path=INTENTS, method="POST")
    lost = (await face.post("/payments", ORDER, key="k")).json()
    await bring_events(face)
    refused = RefusedError("No such payment_intent", stripe_code="resource_missing", intent=None)
    for error in (UnavailableError("away", outcome_unknown=False), refused):
        with monkeypatch.context() as down:
            down.setattr(face.app.stripe, "retrieve_payment_intent", AsyncMock(side_effect=error))
            problem = assert_problem(await face.post("/payments", ORDER, key="k"), 503, "stripe_unavailable")
            assert problem["payment_id"] == lost["payment_id"]
    assert (await face.post("/payments", ORDER, key="k")).json()["status"] == "succeeded"


async def test_a_payment_whose_metadata_was_removed_before_the_retry_is_adopted(face: Face) -> None:
    """Its event does not name it any more. One PaymentIntent is one payment all the same."""
    await face.fault(action="cut", when="after", path=INTENTS, method="POST")
    lost = (await face.post("/payments", ORDER, key="k")).json()
    (intent,) = await face.intents()
    intent["metadata"] = {}
    report = intent_report(PaymentIntent.read(intent), at=intent["created"], source="evt_1")
    async with face.app.engine.begin() as connection:
        await apply_payments(connection, [report])
    again = await face.post("/payments", ORDER, key="k")
    assert (again.status_code, again.json()["id"]) == (201, f"pay_{intent['id']}")
    assert (await face.http.get(f"/payments/{lost['payment_id']}")).status_code == 404
    assert len(await face.intents()) == 1


@pytest.mark.parametrize("action", ["confirm", "capture", "cancel", "refund"])
async def test_every_command_is_done_once(face: Face, action: str) -> None:
    order = {**ORDER, "capture_method": "automatic" if action == "refund" else "manual"}
    paid = (await face.post("/payments", {**order, "confirm": action in ("capture", "refund")})).json()
    path = f"/payments/{paid['id']}/{action}"
    answers = await asyncio.gather(*(face.post(path, {}, key=action) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201 if action == "refund" else 200}
    assert len({answer.content for answer in answers}) == 1
    await face.fault(action="cut", when="after", path="/v1/*", method="POST")
    assert (await face.post(path, {}, key=action)).content == answers[0].content  # Stripe is not asked


@pytest.mark.parametrize("action", ["confirm", "capture", "cancel"])
async def test_a_command_whose_answer_was_lost_is_found_out(face: Face, action: str) -> None:
    paid = await face.pay(capture_method="manual", confirm=action == "capture")
    path = f"/payments/{paid['id']}/{action}"
    await face.fault(action="cut", when="after", path=f"{INTENTS}/{action}", method="POST")
    lost = await face.post(path, {}, key="k")
    assert assert_problem(lost, 503, "stripe_unavailable")["payment_id"] == paid["id"]
    again = await face.post(path, {}, key="k")
    expected = {"confirm": "requires_capture", "capture": "succeeded", "cancel": "canceled"}
    assert (again.status_code, again.json()["status"]) == (200, expected[action])


async def test_only_who_holds_the_lock_keeps_an_answer(face: Face) -> None:
    """One request starts, is refused and rolls back; another starts; the first has no say in its answer."""
    async with face.app.engine.begin() as connection:
        api_key, _ = await create_key(connection, "x", ["admin"])
    request = keyed_request(api_key, "k", "POST", "/x", b"{}")
    first, second = (Claim(request, timedelta(seconds=60)) for _ in range(2))
    async with face.app.engine.connect() as connection:
        await first.start(connection, "ref_1")
        await connection.rollback()
    async with face.app.engine.begin() as connection:
        await second.start(connection, "ref_2")
    with pytest.raises(StartedElsewhereError):
        async with face.app.engine.begin() as connection:
            await Claim(request).start(connection, "ref_3")
    await finish(face.app.engine, first, StoredAnswer(422, b"first"))
    await release(face.app.engine, first)
    with pytest.raises(IdempotencyKeyInUseError):
        await enter(face.app.engine, request, wait_s=0, lease_s=60)
    await run_out(face)
    taken = await enter(face.app.engine, request, wait_s=0, lease_s=60)
    assert isinstance(taken, Claim)
    assert taken.resource_id == "ref_2"
    await finish(face.app.engine, second, StoredAnswer(201, b"second"))
    await finish(face.app.engine, taken, StoredAnswer(201, b"taken"))
    assert await enter(face.app.engine, request, wait_s=0, lease_s=60) == StoredAnswer(201, b"taken")


async def test_two_keys_on_one_request_are_refused(face: Face) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await face.http.post("/payments", json=ORDER, headers=headers)
    assert_problem(answer, 400, "invalid_idempotency_key", "Idempotency-Key")
    assert (await face.rows())["payments"] == 0
