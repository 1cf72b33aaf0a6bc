"""Disputes: drawn by test cards, by bank debits and by hand; answered, won, lost, escalated."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk

from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.server import SandboxConfig, running_sandbox

NO_REDIRECT: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


async def pay(sdk: Sdk, method: str, **params: Any) -> Any:
    given = {"amount": 3000, "currency": "usd", "payment_method": method, "confirm": True}
    return await sdk("payment_intents.create", {**given, **NO_REDIRECT, **params})


async def disputed(sdk: Sdk, method: str = "pm_card_createDispute", **params: Any) -> Any:
    intent = await pay(sdk, method, **params)
    return (await sdk("disputes.list", {"payment_intent": intent.id})).data[0]


async def happened(sdk: Sdk) -> list[str]:
    return [item.type for item in await sdk.everything("events.list", {"limit": 100})][::-1]


async def submit(sdk: Sdk, dispute: Any, text: str) -> Any:
    return await sdk("disputes.update", dispute.id, {"evidence": {"uncategorized_text": text}})


async def test_a_dispute_is_drawn_answered_and_won(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    dispute = await disputed(sdk)
    assert (await happened(sdk)) == [
        "payment_intent.created",
        "charge.succeeded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "payment_intent.succeeded",
    ]
    assert dispute.id.startswith("du_3")
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", "fraudulent", 3000)
    taken = dispute.balance_transactions[0]
    assert (taken.type, taken.reporting_category) == ("adjustment", "dispute")
    assert (taken.amount, taken.fee, taken.net, taken.status) == (-3000, 1500, -4500, "available")
    charge = await sdk("charges.retrieve", dispute.charge, {"expand": ["dispute"]})
    assert (charge.disputed, charge.dispute.id) == (True, dispute.id)
    with pytest.raises(stripe.InvalidRequestError, match="charged back") as caught:
        await sdk("refunds.create", {"charge": dispute.charge})
    assert caught.value.code == "charge_disputed"

    staged = await sdk("disputes.update", dispute.id, {"evidence": {"customer_name": "A"}, "submit": False})
    assert (staged.status, staged.evidence_details.submission_count) == ("needs_response", 0)
    assert staged.evidence_details.has_evidence
    answered = await submit(sdk, dispute, "winning_evidence")
    assert (answered.status, answered.evidence.customer_name) == ("under_review", "A")
    await raw.control("POST", "settle")
    won = await sdk("disputes.retrieve", dispute.id, {"expand": ["charge"]})
    assert (won.status, won.is_charge_refundable, won.charge.disputed) == ("won", True, True)
    back = won.balance_transactions[1]
    assert (back.amount, back.fee, back.reporting_category) == (3000, 0, "dispute_reversal")
    await hooked.until("charge.dispute.funds_reinstated", "charge.dispute.closed")
    types = [item for item in await happened(sdk) if item.startswith("charge.dispute")]
    assert types[2:] == [
        "charge.dispute.updated",
        "charge.dispute.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]
    for call in ("update", "close"):
        with pytest.raises(stripe.InvalidRequestError, match="already closed"):
            await sdk(f"disputes.{call}", dispute.id)
    assert (await sdk("refunds.create", {"charge": dispute.charge})).status == "succeeded"


@pytest.mark.parametrize("by", ["evidence", "close", "control"])
async def test_a_dispute_is_lost(sdk: Sdk, raw: Raw, by: str) -> None:
    dispute = await disputed(sdk, "pm_card_createDisputeProductNotReceived")
    assert dispute.reason == "product_not_received"
    assert dispute.payment_method_details.card.network_reason_code == "13.1"
    if by == "evidence":
        await submit(sdk, dispute, "losing_evidence")
        await raw.control("POST", "settle")
    elif by == "close":
        assert (await sdk("disputes.close", dispute.id)).status == "lost"
    else:
        await raw.control("POST", f"disputes/{dispute.id}/lose")
    lost = await sdk("disputes.retrieve", dispute.id)
    assert (lost.status, len(lost.balance_transactions)) == ("lost", 1)
    types = await happened(sdk)
    closed = types.index("charge.dispute.closed")
    assert types[closed + 1] == "charge.updated"


async def test_an_inquiry_moves_no_money_until_it_is_escalated(sdk: Sdk, raw: Raw) -> None:
    inquiry = await disputed(sdk, "pm_card_createDisputeInquiry")
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert inquiry.is_charge_refundable
    assert "charge.dispute.funds_withdrawn" not in await happened(sdk)
    await submit(sdk, inquiry, "escalate_inquiry_evidence")
    await raw.control("POST", "settle")
    escalated = await sdk("disputes.retrieve", inquiry.id)
    assert (escalated.status, escalated.payment_method_details.card.case_type) == (
        "needs_response",
        "chargeback",
    )
    assert escalated.balance_transactions[0].net == -4500
    other = await disputed(sdk, "pm_card_createDisputeInquiry")
    assert (await sdk("disputes.close", other.id)).status == "warning_closed"


async def test_a_dispute_by_hand_is_won_in_part(sdk: Sdk, raw: Raw) -> None:
    intent = await pay(sdk, "pm_card_visa")
    claim = {"charge": intent.latest_charge, "amount": 2000, "reason": "duplicate"}
    dispute = await raw.control("POST", "disputes", claim)
    assert (dispute["amount"], dispute["reason"]) == (2000, "duplicate")
    won = await raw.control("POST", f"disputes/{dispute['id']}/win", {"amount": 500})
    assert [txn["amount"] for txn in won["balance_transactions"]] == [-2000, 500]
    older = await raw("GET", f"/v1/charges/{intent.latest_charge}/dispute")
    assert older[1]["id"] == dispute["id"]
    fine = await pay(sdk, "pm_card_visa")
    status, answer, _ = await raw("GET", f"/v1/charges/{fine.latest_charge}/dispute")
    assert (status, answer["error"]["message"]) == (404, f"No dispute for charge: {fine.latest_charge}")


async def test_several_disputes_and_one_after_the_capture(sdk: Sdk) -> None:
    intent = await pay(sdk, "pm_card_createMultipleDisputes")
    assert [item.amount for item in (await sdk("disputes.list", {"charge": intent.latest_charge})).data] == [
        1500,
        1500,
    ]
    held = await pay(sdk, "pm_card_createDispute", capture_method="manual")
    assert not (await sdk("disputes.list", {"payment_intent": held.id})).data
    await sdk("payment_intents.capture", held.id)
    assert (await sdk("disputes.list", {"payment_intent": held.id})).data


async def test_a_dispute_in_another_currency_comes_back_at_its_own_rate(sdk: Sdk, raw: Raw) -> None:
    rates = {"settlement_currencies": [], "exchange_rates": {"eur:usd": "1.1"}}
    await raw.control("POST", "settings", rates)
    dispute = await disputed(sdk, currency="eur")
    taken = dispute.balance_transactions[0]
    assert (taken.amount, taken.fee, taken.currency, taken.exchange_rate) == (-3300, 1500, "usd", 1.1)
    await raw.control("POST", "settings", {"exchange_rates": {"eur:usd": "1.3"}})
    won = await raw.control("POST", f"disputes/{dispute.id}/win")
    assert [txn["amount"] for txn in won["balance_transactions"]] == [-3300, 3300]


async def test_evidence_is_checked(sdk: Sdk) -> None:
    dispute = await disputed(sdk)
    for evidence, code in (
        ({"receipt": "file_1"}, "resource_missing"),
        ({"wrong": "x"}, "parameter_unknown"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await sdk("disputes.update", dispute.id, {"evidence": evidence})
        assert caught.value.code == code


async def test_a_dispute_without_an_answer_is_lost() -> None:
    clock = ManualClock()
    async with running_sandbox(SandboxConfig(clock=clock)) as box:
        sdk = Sdk(box.url)
        dispute = await disputed(sdk)
        clock.advance(10 * 86_400)
        dispute = await sdk("disputes.retrieve", dispute.id)
        assert (dispute.status, dispute.evidence_details.past_due) == ("lost", True)
        await sdk.close()
