"""Refunds through the API: never more than was captured, whoever asks at once and whatever gets lost."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from sqlalchemy import text
from tests.integration.api.conftest import Face
from tests.integration.api.test_refusals import assert_problem
from tests.integration.api.test_whole_road import bring_events

from tallystick.payments.reports import refund_report
from tallystick.payments.store import apply_refunds
from tallystick.settings import load_settings
from tallystick.stripe_gateway.answers import RefusedError, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import Refund as StripeRefund

REFUNDS = "/v1/refunds"


async def test_two_parts_and_then_no_more(face: Face) -> None:
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    first = await face.post(path, {"amount": 300, "reason": "duplicate", "metadata": {"case": "1"}})
    assert first.status_code == 201
    refund = first.json()
    assert (refund["object"], refund["payment"], refund["status"]) == ("refund", paid["id"], "succeeded")
    assert (refund["amount"], refund["currency"], refund["reason"]) == (300, "usd", "duplicate")
    assert refund["metadata"] == {"case": "1"}
    assert (await face.http.get(f"/refunds/{refund['id']}")).json() == refund
    (at_stripe,) = await face.stripe_refunds()
    assert at_stripe["metadata"] == {
        "case": "1", "tallystick_payment": paid["id"], "tallystick_refund": refund["id"],
    }  # fmt: skip
    problem = assert_problem(
        await face.post(path, {"amount": 701}), 422, "refund_exceeds_available", "amount"
    )
    assert problem["available"] == 700
    assert problem["detail"] == "7.00 USD is left to refund."
    rest = (await face.post(path)).json()
    assert rest["amount"] == 700
    assert_problem(await face.post(path), 422, "refund_exceeds_available")
    read = (await face.http.get(f"/payments/{paid['id']}")).json()
    assert read["amount_refunded"] == 1000
    assert [each["id"] for each in read["refunds"]] == [refund["id"], rest["id"]]


async def test_by_the_ids_that_stripes_dashboard_shows(face: Face) -> None:
    paid, other = await face.pay(), await face.pay()
    given = (await face.post(f"/payments/{paid['id']}/refund", {"amount": 300})).json()
    await face.post(f"/payments/{other['id']}/refund", {"amount": 200})
    intent, stripe_refund = paid["stripe"]["payment_intent"], given["stripe"]["refund"]
    assert (await face.http.get(f"/payments/{intent}")).json()["id"] == paid["id"]
    assert (await face.http.get(f"/payments/{intent}/timeline")).status_code == 200
    assert (await face.http.get(f"/refunds/{stripe_refund}")).json() == given
    assert (await face.http.get("/refunds", params={"payment": intent})).json()["data"] == [given]
    for path in ("/payments/pi_none", "/refunds/re_none", f"/refunds/{intent}", f"/payments/{stripe_refund}"):
        assert_problem(await face.http.get(path), 404, "not_found", "id")


async def test_a_disputed_payment_is_in_no_state_to_be_refunded(face: Face) -> None:
    paid = await face.pay()
    async with httpx.AsyncClient(base_url=face.sandbox.url) as sandbox:
        (
            await sandbox.post("/_control/disputes", json={"charge": paid["stripe"]["charge"]})
        ).raise_for_status()
    problem = assert_problem(await face.post(f"/payments/{paid['id']}/refund"), 409, "invalid_state")
    assert problem["stripe_code"] == "charge_disputed"
    read = (await face.http.get(f"/payments/{paid['id']}")).json()
    assert [(each["status"], each["stripe"]["refund"]) for each in read["refunds"]] == [("failed", None)]


async def test_only_what_was_captured(face: Face) -> None:
    paid = await face.pay(amount=1000, capture_method="manual")
    path = f"/payments/{paid['id']}/refund"
    assert_problem(await face.post(path, {"amount": 1}), 409, "invalid_state")
    await face.post(f"/payments/{paid['id']}/capture", {"amount": 400})
    assert_problem(await face.post(path, {"amount": 401}), 422, "refund_exceeds_available")
    assert (await face.post(path, {"amount": 400})).status_code == 201


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"amount": 0}, "invalid_amount", "amount"),
        ({"amount": -1}, "invalid_amount", "amount"),
        ({"amount": "5"}, "invalid_request", "amount"),
        ({"amount": 5.0}, "invalid_request", "amount"),
        ({"reason": "whim"}, "invalid_request", "reason"),
        ({"metadata": {"tallystick_refund": "x"}}, "invalid_request", "metadata"),
        ({"colour": "red"}, "invalid_request", "colour"),
    ],
)
async def test_bad_input(face: Face, body: dict[str, Any], code: str, param: str) -> None:
    paid = await face.pay()
    assert_problem(await face.post(f"/payments/{paid['id']}/refund", body, key="k"), 400, code, param)
    rows = await face.rows()
    assert (rows["refunds"], rows["idempotency_keys"]) == (0, 0)


async def test_a_hundred_refunds_at_once_never_exceed_the_payment(face: Face) -> None:
    paid = await face.pay(amount=10_000)
    path = f"/payments/{paid['id']}/refund"
    answers = await asyncio.gather(
        *(face.post(path, {"amount": 300}, key=f"refund-{number}") for number in range(100))
    )
    made = [answer.json() for answer in answers if answer.status_code == 201]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert (len(made), len(refused)) == (33, 67)
    for answer in refused:
        problem = assert_problem(answer, 422, "refund_exceeds_available", "amount")
        assert problem["available"] == 100
    at_stripe = await face.stripe_refunds()
    assert {each["id"] for each in at_stripe} == {each["stripe"]["refund"] for each in made}
    assert {each["amount"] for each in at_stripe} == {300}
    await bring_events(face)
    read = (await face.http.get(f"/payments/{paid['id']}")).json()
    assert read["amount_refunded"] == 9900
    assert len(read["refunds"]) == 33
    lines = (await face.http.get("/ledger/trial-balance")).json()["data"]
    assert [each["balance"] for each in lines if each["account"] == "revenue:refunds"] == [9900]


async def test_one_at_work_holds_its_part(face: Face) -> None:
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    await face.fault(action="delay", path=REFUNDS, method="POST", seconds=1.5)
    first = asyncio.create_task(face.post(path, {"amount": 800}))
    await face.begun("refunds")
    problem = assert_problem(await face.post(path, {"amount": 300}), 422, "refund_exceeds_available")
    assert problem["available"] == 200
    assert (await first).status_code == 201


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lost_answer_holds_its_part_and_a_retry_finds_out(face: Face, when: str) -> None:
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    await face.fault(action="cut", when=when, path=REFUNDS, method="POST")
    problem = assert_problem(await face.post(path, {"amount": 800}, key="k"), 503, "stripe_unavailable")
    assert (await face.http.get(f"/refunds/{problem['refund_id']}")).json()["status"] == "unknown"
    assert_problem(await face.post(path, {"amount": 300}), 422, "refund_exceeds_available")
    again = await face.post(path, {"amount": 800}, key="k")
    assert (again.status_code, again.json()["id"]) == (201, problem["refund_id"])
    assert len(await face.stripe_refunds()) == 1


@pytest.mark.parametrize("webhook", [True, False], ids=["after the webhook", "before the webhook"])
async def test_a_retry_past_the_memory_of_stripe_makes_no_second_refund(face: Face, webhook: bool) -> None:
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    await face.fault(action="cut", when="after", path=REFUNDS, method="POST")
    lost = (await face.post(path, {"amount": 300}, key="k")).json()
    if webhook:
        await bring_events(face)
    await face.a_day_later()
    again = await face.post(path, {"amount": 300}, key="k")
    (at_stripe,) = await face.stripe_refunds()
    refund = again.json()
    assert (again.status_code, refund["id"], refund["status"]) == (201, lost["refund_id"], "succeeded")
    assert refund["stripe"]["refund"] == at_stripe["id"]
    assert (await face.http.get(f"/payments/{paid['id']}")).json()["amount_refunded"] == 300


async def test_a_late_retry_makes_the_refund_that_was_never_made(face: Face) -> None:
    """Others of the payment are not taken for it."""
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    other = (await face.post(path, {"amount": 300})).json()
    await face.fault(action="cut", when="before", path=REFUNDS, method="POST")
    lost = (await face.post(path, {"amount": 300}, key="k")).json()
    await face.a_day_later()
    again = await face.post(path, {"amount": 300}, key="k")
    assert (again.status_code, again.json()["id"]) == (201, lost["refund_id"])
    assert again.json()["stripe"]["refund"] != other["stripe"]["refund"]
    assert len(await face.stripe_refunds()) == 2


async def test_a_late_retry_that_stripe_does_not_answer_stays_open(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither silence nor a refusal to list says that there is no refund: what was set aside stays so."""
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    await face.fault(action="cut", when="after", path=REFUNDS, method="POST")
    lost = (await face.post(path, {"amount": 300}, key="k")).json()
    await face.a_day_later()
    refused = RefusedError("No such payment_intent", stripe_code="resource_missing", intent=None)
    for error in (UnavailableError("away", outcome_unknown=False), refused):
        with monkeypatch.context() as down:
            down.setattr(face.app.stripe, "list_refunds_of", AsyncMock(side_effect=error))
            answer = await face.post(path, {"amount": 300}, key="k")
            problem = assert_problem(answer, 503, "stripe_unavailable")
            assert (problem["refund_id"], problem["payment_id"]) == (lost["refund_id"], paid["id"])
            assert (await face.http.get(f"/refunds/{lost['refund_id']}")).json()["status"] == "unknown"
    assert (await face.post(path, {"amount": 300}, key="k")).status_code == 201
    assert len(await face.stripe_refunds()) == 1


async def test_a_refund_whose_metadata_was_removed_before_the_retry_is_adopted(face: Face) -> None:
    """Its event does not name it any more. What was set aside for it is not held twice."""
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    await face.fault(action="cut", when="after", path=REFUNDS, method="POST")
    lost = (await face.post(path, {"amount": 300}, key="k")).json()
    (at_stripe,) = await face.stripe_refunds()
    bare = StripeRefund.read({**at_stripe, "metadata": {}})
    async with face.app.engine.begin() as connection:
        report = refund_report(bare, paid["id"], at=at_stripe["created"], source="evt_1")
        await apply_refunds(connection, [report])
    again = await face.post(path, {"amount": 300}, key="k")
    assert (again.status_code, again.json()["id"]) == (201, f"ref_{at_stripe['id']}")
    assert (await face.http.get(f"/refunds/{lost['refund_id']}")).status_code == 404
    assert (await face.post(path)).json()["amount"] == 700


async def test_all_that_is_left_means_the_same_in_a_retry(face: Face) -> None:
    paid = await face.pay(amount=1000)
    path = f"/payments/{paid['id']}/refund"
    await face.fault(action="cut", when="after", path=REFUNDS, method="POST")
    assert (await face.post(path, {}, key="k")).status_code == 503
    again = await face.post(path, {}, key="k")
    assert (again.status_code, again.json()["amount"]) == (201, 1000)


async def test_a_refusal_by_stripe_lets_go_of_the_part(face: Face) -> None:
    """A refund made elsewhere, whose event is still under way."""
    paid = await face.pay(amount=1000)
    await face.app.stripe.create_refund({"payment_intent": paid["stripe"]["payment_intent"]}, "elsewhere")
    path = f"/payments/{paid['id']}/refund"
    answer = await face.post(path, {"amount": 600}, key="k")
    assert answer.status_code in (400, 422)
    refund = (await face.http.get(f"/refunds/{answer.json()['refund_id']}")).json()
    assert refund["status"] == "failed"
    assert refund["failure_reason"]
    assert (await face.post(path, {"amount": 600}, key="k")).content == answer.content
    read = (await face.http.get(f"/payments/{paid['id']}")).json()
    assert read["amount_refunded"] == 0


async def test_a_refusal_whose_answer_was_not_kept_is_a_refusal_again(face: Face) -> None:
    paid = await face.pay(amount=1000)
    await face.app.stripe.create_refund({"payment_intent": paid["stripe"]["payment_intent"]}, "elsewhere")
    path = f"/payments/{paid['id']}/refund"
    assert (await face.post(path, {"amount": 600}, key="k")).status_code in (400, 422)
    async with face.app.engine.begin() as connection:  # as if we had died before keeping the answer
        await connection.execute(
            text(
                "UPDATE idempotency_keys SET finished_at = NULL, response_status = NULL,"
                " response_body = NULL, leased_until = now()"
            )
        )
    assert_problem(await face.post(path, {"amount": 600}, key="k"), 400, "stripe_refused")


async def test_stripe_out_of_reach_leaves_no_refund(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    paid = await face.pay()
    path = f"/payments/{paid['id']}/refund"
    base = {"stripe_secret_key": "sk_test_abc", "stripe_api_base": "http://127.0.0.1:9"}
    nowhere = StripeGateway(load_settings({}, require=(), stripe_max_retries=0, **base))
    with monkeypatch.context() as down:
        down.setattr(face.app.stripe, "_request", nowhere._request)
        answers = await asyncio.gather(*(face.post(path, {}, key="k") for _ in range(3)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await face.rows())["refunds"] == 0
    assert (await face.post(path, {}, key="k")).status_code == 201
    assert len(await face.stripe_refunds()) == 1
    await nowhere.close()


async def test_a_refund_that_failed_can_be_made_again(face: Face) -> None:
    paid = await face.pay()
    path = f"/payments/{paid['id']}/refund"
    first = (await face.post(path, {})).json()
    async with face.app.engine.begin() as connection:  # refund.failed came in
        await connection.execute(
            text("UPDATE refunds SET status = 'failed' WHERE id = :id"), {"id": first["id"]}
        )
        rows = await connection.execute(text("SELECT count(*) FROM refunds WHERE status = 'failed'"))
        assert rows.scalar_one() == 1
    # our books let it be asked again; the sandbox, which knows of no failure, says no
    assert (await face.post(path, {})).json()["code"] in ("refund_exceeds_available", "stripe_refused")


async def test_a_payment_in_yen_has_no_decimals(face: Face) -> None:
    paid = await face.pay(amount=500, currency="jpy")
    answer = await face.post(f"/payments/{paid['id']}/refund", {"amount": 499})
    assert (answer.json()["amount"], answer.json()["currency"]) == (499, "jpy")
