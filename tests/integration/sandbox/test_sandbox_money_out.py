"""Payouts, top-ups, bank debits and movements that nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk

from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.server import SandboxConfig, running_sandbox
from tallystick.sandbox.settings import Settings

NO_REDIRECT: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


async def pay(sdk: Sdk, method: str = "pm_card_bypassPending", **params: Any) -> Any:
    given = {"amount": 3000, "currency": "usd", "payment_method": method, "confirm": True}
    return await sdk("payment_intents.create", {**given, **NO_REDIRECT, **params})


async def happened(sdk: Sdk, prefix: str = "") -> list[str]:
    events = await sdk.everything("events.list", {"limit": 100})
    return [item.type for item in events if item.type.startswith(prefix)][::-1]


async def available(sdk: Sdk) -> int:
    return int((await sdk("balance.retrieve")).available[0].amount)


async def test_a_manual_payout_on_its_way(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    await pay(sdk)
    assert "balance.available" in await happened(sdk)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("payouts.create", {"amount": 99_999, "currency": "usd"})
    assert caught.value.code == "balance_insufficient"
    payout = await sdk("payouts.create", {"amount": 1000, "currency": "usd", "metadata": {"a": "1"}})
    assert (payout.status, payout.automatic, payout.reconciliation_status) == (
        "pending",
        False,
        "not_applicable",
    )
    assert await available(sdk) == 3000 - 87 - 30 - 1000
    await sdk("payouts.update", payout.id, {"metadata": {"b": "2"}})
    for status in ("in_transit", "paid"):
        assert (await raw.control("POST", f"payouts/{payout.id}/advance"))["status"] == status
    shown = await sdk("payouts.retrieve", payout.id, {"expand": ["balance_transaction", "destination"]})
    assert (shown.balance_transaction.net, shown.destination.last4) == (-1000, "6789")
    with pytest.raises(stripe.InvalidRequestError, match="automatic"):
        await sdk("balance_transactions.list", {"payout": payout.id})
    reversal = await sdk("payouts.reverse", payout.id)
    assert (reversal.amount, reversal.original_payout) == (-1000, payout.id)
    assert (await sdk("payouts.list", {"status": "paid"})).data[0].reversed_by == reversal.id
    await hooked.until("payout.created", "payout.updated", "payout.updated", "payout.paid")


async def test_a_pending_payout_is_canceled(sdk: Sdk, raw: Raw) -> None:
    await pay(sdk)
    before = await available(sdk)
    payout = await sdk("payouts.create", {"amount": 1000, "currency": "usd"})
    canceled = await sdk("payouts.cancel", payout.id, {"expand": ["failure_balance_transaction"]})
    assert (canceled.status, canceled.failure_balance_transaction.type) == ("canceled", "payout_cancel")
    assert canceled.failure_balance_transaction.reporting_category == "payout_reversal"
    assert await available(sdk) == before
    with pytest.raises(stripe.InvalidRequestError):
        await sdk("payouts.cancel", payout.id)
    assert await happened(sdk, "payout") == ["payout.created", "payout.canceled"]


async def test_an_automatic_payout_is_the_sum_of_its_members(sdk: Sdk, raw: Raw) -> None:
    for amount in (3000, 4500, 700):
        intent = await pay(sdk, amount=amount)
    await sdk("refunds.create", {"payment_intent": intent.id, "amount": 100})
    await sdk("payment_intents.create", {"amount": 900, "currency": "usd"})
    await raw.control("POST", "settle", {"funds": True})
    await sdk("payouts.create", {"amount": 250, "currency": "usd"})
    due = await available(sdk)
    made = (await raw.control("POST", "payouts/run"))["payouts"]
    payout = await sdk("payouts.retrieve", made[0])
    assert (payout.amount, payout.automatic) == (due, True)
    members = await sdk.everything("balance_transactions.list", {"payout": payout.id, "limit": 2})
    assert sum(item.net for item in members if item.source != payout.id) == payout.amount
    assert {item.type for item in members} == {"charge", "refund", "payout"}
    assert await available(sdk) == 0
    assert (await raw.control("POST", "payouts/run"))["payouts"] == []
    for _ in range(2):
        await raw.control("POST", "settle")
    ours = [
        item.type
        for item in (await sdk.everything("events.list", {"limit": 100, "type": "payout.*"}))[::-1]
        if item.data.object["id"] == payout.id
    ]
    assert ours == ["payout.created", "payout.updated", "payout.paid", "payout.reconciliation_completed"]
    failed = await raw.control("POST", f"payouts/{payout.id}/fail", {"code": "account_closed"})
    assert (failed["status"], failed["failure_code"]) == ("failed", "account_closed")
    again = (await raw.control("POST", "payouts/run"))["payouts"]
    members = (await sdk("balance_transactions.list", {"payout": again[0]})).data
    assert [item.type for item in members] == ["payout", "payout_failure"]


async def test_daily_payouts_and_an_account_that_refuses_them() -> None:
    clock = ManualClock()
    daily = Settings(payout_interval="daily", payout_account="000111111116")
    async with running_sandbox(SandboxConfig(clock=clock, settings=daily)) as box:
        sdk = Sdk(box.url)
        await pay(sdk, "pm_card_visa")
        clock.advance(3 * 86_400 + 43_200)
        payout = (await sdk("payouts.list", {"limit": 1})).data[0]
        assert payout.automatic
        assert payout.created % 86_400 == 0
        assert (payout.status, payout.failure_code) == ("failed", "no_account")
        types = await happened(sdk, "payout")
        assert types[:5] == [
            "payout.created",
            "payout.updated",
            "payout.paid",
            "payout.reconciliation_completed",
            "payout.failed",
        ]
        await sdk.close()


async def test_a_top_up(sdk: Sdk, raw: Raw) -> None:
    topup = await sdk("topups.create", {"amount": 2000, "currency": "usd"})
    assert topup.status == "pending"
    await raw.control("POST", "settle")
    topup = await sdk("topups.retrieve", topup.id, {"expand": ["balance_transaction"]})
    assert (topup.status, topup.balance_transaction.type, await available(sdk)) == (
        "succeeded",
        "topup",
        2000,
    )
    with pytest.raises(stripe.InvalidRequestError):
        await sdk("topups.cancel", topup.id)


@pytest.mark.parametrize(
    ("method", "code"), [("pm_usBankAccount_success", "usd"), ("pm_sepaDebit_success_at", "eur")]
)
async def test_a_bank_debit_succeeds_later(sdk: Sdk, raw: Raw, method: str, code: str) -> None:
    mandate_data = {"customer_acceptance": {"type": "online", "online": {"ip_address": "1.2.3.4"}}}
    intent = await pay(sdk, method, currency=code, mandate_data=mandate_data)
    assert intent.status == "processing"
    charge = await sdk("charges.retrieve", intent.latest_charge, {"expand": ["balance_transaction"]})
    assert (charge.status, charge.paid, charge.balance_transaction.type) == ("pending", False, "payment")
    kind = charge.payment_method_details.type
    mandate = await sdk("mandates.retrieve", charge.payment_method_details[kind].mandate)
    assert (mandate.type, mandate.customer_acceptance.online.ip_address) == ("single_use", "1.2.3.4")
    with pytest.raises(stripe.InvalidRequestError, match="pending"):
        await sdk("refunds.create", {"charge": charge.id})
    await raw.control("POST", "settle")
    assert await happened(sdk) == [
        "payment_intent.created",
        "charge.pending",
        "payment_intent.processing",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    refund = await sdk("refunds.create", {"charge": charge.id, "expand": ["balance_transaction"]})
    assert (refund.status, refund.balance_transaction.type) == ("pending", "payment_refund")
    await raw.control("POST", "settle")
    refund = await sdk("refunds.retrieve", refund.id)
    assert (refund.status, refund.destination_details.type[2:]) == ("succeeded", "_bank_transfer")


async def test_a_bank_debit_fails_and_brings_its_fee_back(sdk: Sdk, raw: Raw) -> None:
    intent = await pay(sdk, "pm_usBankAccount_insufficientFunds")
    await raw.control("POST", "settle")
    intent = await sdk(
        "payment_intents.retrieve",
        intent.id,
        {"expand": ["latest_charge.failure_balance_transaction", "latest_charge.balance_transaction"]},
    )
    charge = intent.latest_charge
    assert (intent.status, intent.last_payment_error.code) == (
        "requires_payment_method",
        "insufficient_funds",
    )
    assert (charge.status, charge.failure_code) == ("failed", "insufficient_funds")
    assert charge.failure_balance_transaction.type == "payment_failure_refund"
    assert charge.failure_balance_transaction.net == -charge.balance_transaction.net
    assert (await happened(sdk))[-2:] == ["charge.failed", "payment_intent.payment_failed"]


async def test_bank_debits_by_hand(sdk: Sdk, raw: Raw) -> None:
    stuck = await pay(sdk, "pm_usBankAccount_processing")
    await raw.control("POST", "settle")
    assert (await sdk("payment_intents.retrieve", stuck.id)).status == "processing"
    shown = await raw.control("POST", f"payment_intents/{stuck.id}/settle")
    assert shown["status"] == "succeeded"
    await raw.control("POST", f"payment_intents/{stuck.id}/fail")
    dispute = (await sdk("disputes.list", {"payment_intent": stuck.id})).data[0]
    assert (dispute.status, dispute.reason) == ("lost", "insufficient_funds")
    other = await pay(sdk, "pm_usBankAccount_success")
    failed = await raw.control("POST", f"payment_intents/{other.id}/fail", {"code": "account_closed"})
    assert failed["last_payment_error"]["code"] == "account_closed"
    third = await pay(sdk, "pm_usBankAccount_processing")
    assert (await sdk("payment_intents.cancel", third.id)).status == "canceled"
    assert (await sdk("charges.retrieve", third.latest_charge)).status == "failed"


async def test_bank_accounts_by_number(sdk: Sdk, raw: Raw) -> None:
    customer = await sdk("customers.create", {})
    account = {"account_number": "000555555559", "routing_number": "110000000"}
    method = await sdk(
        "payment_methods.create",
        {"type": "us_bank_account", "us_bank_account": account, "billing_details": {"name": "A"}},
    )
    await sdk("payment_methods.attach", method.id, {"customer": customer.id})
    intent = await pay(sdk, method.id, customer=customer.id)
    await raw.control("POST", "settle")
    assert (await sdk("payment_intents.retrieve", intent.id)).status == "succeeded"
    assert (await sdk("disputes.list", {"payment_intent": intent.id})).data[0].status == "lost"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("payment_methods.create", {"type": "sepa_debit", "sepa_debit": {"iban": "AT61"}})
    assert caught.value.code == "parameter_missing"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await pay(sdk, "pm_sepaDebit_success_at")
    assert caught.value.code == "payment_intent_incompatible_payment_method"


async def test_money_that_disagrees_and_money_of_any_type(sdk: Sdk, raw: Raw) -> None:
    intent = await pay(sdk, expand=["latest_charge"])
    before = await available(sdk)
    txn = (
        intent.latest_charge.balance_transaction
        or (await sdk("charges.retrieve", intent.latest_charge.id)).balance_transaction
    )
    changed = await raw.control("POST", f"balance_transactions/{txn}", {"amount": 2900})
    assert (changed["amount"], changed["net"]) == (2900, 2900 - 117)
    assert await available(sdk) == before - 100
    made = await raw.control(
        "POST",
        "balance_transactions",
        {"type": "something_new", "amount": -75, "reporting_category": "other"},
    )
    assert (made["type"], made["reporting_category"], made["net"]) == ("something_new", "other", -75)
    assert await available(sdk) == before - 175
    status, listed, _ = await raw("GET", "/_control/state")
    assert (status, listed["balances"]["usd"]["available"]) == (200, before - 175)


async def test_a_bank_transfer_pays_in_two_parts(sdk: Sdk, raw: Raw) -> None:
    customer = await sdk("customers.create", {})
    data = {
        "amount": "20000",
        "currency": "jpy",
        "customer": customer.id,
        "payment_method_types[]": "customer_balance",
        "payment_method_data[type]": "customer_balance",
        "payment_method_options[customer_balance][funding_type]": "bank_transfer",
        "payment_method_options[customer_balance][bank_transfer][type]": "jp_bank_transfer",
        "confirm": "true",
    }
    old = {"Stripe-Version": "2026-08-26.dahlia"}
    _, intent, _ = await raw("POST", "/v1/payment_intents", data, headers=old)
    assert intent["status"] == "requires_action"
    funds = {"amount": "15000", "currency": "jpy"}
    path = f"/v1/test_helpers/customers/{customer.id}/fund_cash_balance"
    await raw("POST", path, funds)
    part = await sdk("payment_intents.retrieve", intent["id"])
    assert part.next_action.display_bank_transfer_instructions.amount_remaining == 5000
    await raw("POST", path, funds)
    paid = await sdk(
        "payment_intents.retrieve", intent["id"], {"expand": ["latest_charge.balance_transaction"]}
    )
    assert (paid.status, paid.latest_charge.balance_transaction.type) == ("succeeded", "payment")
    _, cash, _ = await raw("GET", f"/v1/customers/{customer.id}/cash_balance")
    assert cash["available"] == {"jpy": 10_000}
    await sdk("refunds.create", {"payment_intent": paid.id, "amount": 3000})
    _, cash, _ = await raw("GET", f"/v1/customers/{customer.id}/cash_balance")
    assert cash["available"] == {"jpy": 13_000}
    assert (await happened(sdk, "payment_intent"))[1:] == [
        "payment_intent.requires_action",
        "payment_intent.partially_funded",
        "payment_intent.succeeded",
    ]


async def test_stripes_other_balances_are_kept_apart(sdk: Sdk, raw: Raw) -> None:
    """Money on the issuing balance cannot be paid out, and shows where Stripe shows it."""
    movement = {"type": "topup", "amount": 500, "currency": "usd"}
    await raw.control("POST", "balance_transactions", {**movement, "balance_type": "issuing"})
    later = {**movement, "amount": 300, "balance_type": "refund_and_dispute_prefunding", "available": False}
    await raw.control("POST", "balance_transactions", later)
    balance = await sdk("balance.retrieve")
    assert [fund.amount for fund in balance.available + balance.pending] == [0, 0]
    assert balance.issuing.available[0].amount == 500
    prefunding = balance.refund_and_dispute_prefunding
    assert (prefunding.available[0].amount, prefunding.pending[0].amount) == (0, 300)
    with pytest.raises(stripe.InvalidRequestError):
        await sdk("payouts.create", {"amount": 100, "currency": "usd"})


async def test_a_movement_can_have_a_fee_in_several_lines(sdk: Sdk, raw: Raw) -> None:
    lines = [{"type": "stripe_fee", "amount": 30}, {"type": "tax", "amount": 6}]
    await raw.control("POST", "balance_transactions", {"type": "topup", "amount": 500, "fee_details": lines})
    [txn] = (await sdk("balance_transactions.list")).data
    assert (txn.fee, txn.net) == (36, 464)
    assert [(line.type, line.amount) for line in txn.fee_details] == [("stripe_fee", 30), ("tax", 6)]
    wrong = b'{"type": "topup", "amount": 1, "fee_details": [7]}'
    kind = {"Content-Type": "application/json"}
    assert (await raw("POST", "/_control/balance_transactions", wrong, headers=kind))[0] == 400
