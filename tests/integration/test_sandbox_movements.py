"""Whatever moves at Stripe, and wherever to: our books are its books, balance by balance and cent by cent."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.house import House, Json, house
from tests.unit.test_posting_table import CATEGORIES, CLEARING, TYPES

from tallystick.embedded import EmbeddedValkey

NO_REDIRECT = {
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


@pytest.fixture
async def running(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[House]:
    async with house(database_url, valkey) as made:
        yield made


async def _pay(
    running: House, amount: int, currency: str = "usd", method: str = "pm_card_visa", **more: Any
) -> Json:
    """A payment made by another service on the account, settled."""
    form = {"amount": amount, "currency": currency, "payment_method": method, "confirm": "true", **more}
    paid = await running.stripe("/v1/payment_intents", **{**NO_REDIRECT, **form})
    await running.control("settle")
    return paid


async def _settle_in_dollars(running: House, rate: str) -> None:
    settings = {"settlement_currencies": [], "exchange_rates": {"eur:usd": rate}}
    await running.control("settings", **settings)


def _minus(sums: dict[str, int]) -> dict[str, int]:
    return {currency: -amount for currency, amount in sums.items()}


async def test_a_platform_passes_payments_on_and_takes_fees(running: House) -> None:
    """Destination charges in two currencies, a transfer by hand, all of them taken back in part."""
    await _settle_in_dollars(running, "1.25")
    seller = (await running.stripe("/v1/accounts", type="standard"))["id"]
    share = {"transfer_data[destination]": seller, "application_fee_amount": 1000}
    paid = [await _pay(running, 10_000, code, **share) for code in ("usd", "eur")]
    await _pay(running, 50_000, method="pm_card_bypassPending")
    sent = await running.stripe("/v1/transfers", amount=3000, currency="usd", destination=seller)
    await running.stripe(f"/v1/transfers/{sent['id']}/reversals", amount=500)
    back = {"reverse_transfer": "true", "refund_application_fee": "true"}
    for payment in paid:
        await running.stripe("/v1/refunds", payment_intent=payment["id"], amount=2500, **back)
    await running.until("revenue:transfers", _minus(await running.booked("transfer", "transfer_reversal")))
    assert await running.ours("revenue:transfers") == {"usd": 7500 + 9375 + 2500}
    await running.until("revenue:application_fees", {"usd": 750 + 938})
    assert await running.booked("platform_earning", "platform_earning_refund") == {"usd": 750 + 938}
    await running.until_processed()
    await running.until_settled()
    assert await running.ours("suspense:stripe") == {}


async def test_every_kind_of_movement_lands_where_the_table_says(running: House) -> None:
    """Each type and each category once, of an amount of its own: a kind on a wrong account shows."""
    expected: Counter[str] = Counter()
    kinds = [(kind, "other_adjustment", account) for kind, account in TYPES.items()]
    kinds += [("adjustment", category, account) for category, account in CATEGORIES.items()]
    for n, (kind, category, account) in enumerate(kinds):
        if account == CLEARING:  # the charge or the refund behind it has tests of its own
            continue
        amount = (-1) ** n * (1000 + n * n)
        await running.control(
            "balance_transactions", type=kind, reporting_category=category, amount=amount, currency="usd"
        )
        expected[account] -= amount
        expected["assets:stripe:balance"] += amount
    await running.until("assets:stripe:balance", {"usd": expected["assets:stripe:balance"]})
    await running.until_settled()
    for account, amount in expected.items():
        grows = -1 if account.startswith(("liabilities", "revenue")) and account != "revenue:transfers" else 1
        assert await running.ours(account) == {"usd": grows * amount}, account


async def test_what_is_held_and_what_moves_between_balances_comes_out_even(running: House) -> None:
    """Each of Stripe's balances is ours, and what goes out of one comes into another."""
    hold = {"type": "reserve_hold", "currency": "usd", "amount": -4000}
    release = {"type": "reserve_release", "currency": "usd", "amount": 4000}
    minimum = [
        {"type": f"payout_minimum_balance_{what}", "currency": "usd", "amount": amount}
        for what, amount in (("hold", -100), ("release", 100))
    ]
    advance = [
        {"type": "advance", "currency": "usd", "amount": 700},
        {"type": "advance_funding", "currency": "usd", "amount": -700, "available": False},
    ]
    funding = [
        {"type": "balance_transfer_outbound", "currency": "usd", "amount": -2500},
        {
            "type": "balance_transfer_inbound",
            "currency": "usd",
            "amount": 2500,
            "balance_type": "issuing",
        },
    ]
    bought = {"type": "issuing_transaction", "currency": "usd", "amount": -900, "balance_type": "issuing"}
    prefunding = {
        "type": "topup",
        "currency": "eur",
        "amount": 600,
        "balance_type": "refund_and_dispute_prefunding",
        "available": False,
    }
    for movement in (hold, release, *minimum, *advance, *funding, bought, prefunding):
        await running.control("balance_transactions", **movement)
    await running.until("assets:stripe:issuing", {"usd": 1600})
    await running.until("assets:stripe:refund_and_dispute_prefunding", {"eur": 600})
    for balance_type in ("issuing", "refund_and_dispute_prefunding"):
        ours = await running.ours(f"assets:stripe:{balance_type}")
        assert ours == await running.at_stripe(balance_type)
    await running.until_settled()
    for account in ("held", "advances", "balance_transfers"):
        assert await running.ours(f"assets:stripe:{account}") == {}
    assert await running.ours("expenses:issuing") == {"usd": 900}
    await _every_line_of_a_fee(running)


async def _every_line_of_a_fee(running: House) -> None:
    """A charge for usage with tax, what a platform takes, and a dispute's fee that comes back."""
    usage = [{"type": "stripe_fee", "amount": 1000}, {"type": "tax", "amount": 190}]
    connected = [{"type": "application_fee", "amount": 300}, {"type": "withheld_tax", "amount": 20}]
    back = [{"type": "stripe_fee", "amount": -1500}]
    await running.control("balance_transactions", type="stripe_fee", amount=-5000, fee_details=usage)
    await running.control("balance_transactions", type="topup", amount=9000, fee_details=connected)
    dispute: Json = {"type": "adjustment", "reporting_category": "dispute_reversal", "fee_details": back}
    await running.control("balance_transactions", amount=0, **dispute)
    await running.until("expenses:dispute_fees", {"usd": -1500})
    await running.until_settled()
    assert await running.ours("expenses:stripe_fees") == {"usd": 6000}
    assert await running.ours("assets:input_tax") == {"usd": 190}
    assert await running.ours("expenses:application_fees") == {"usd": 300}
    assert await running.ours("assets:withheld_tax") == {"usd": 20}


async def test_refunds_at_other_rates_leave_nothing_converted(running: House) -> None:
    """One in full, one in two parts, and one that fails and comes back at the rate of then."""
    await _settle_in_dollars(running, "1.10")
    whole = await _pay(running, 5000, "eur")
    parts = await _pay(running, 4000, "eur")
    failing = await _pay(running, 3000, "eur", "pm_card_refundFail")
    await _settle_in_dollars(running, "1.20")
    await running.stripe("/v1/refunds", payment_intent=whole["id"])
    await running.stripe("/v1/refunds", payment_intent=parts["id"], amount=1500)
    await _settle_in_dollars(running, "1.05")
    await running.stripe("/v1/refunds", payment_intent=parts["id"], amount=2500)
    await running.stripe("/v1/refunds", payment_intent=failing["id"])
    await running.control("settle")
    await running.until("revenue:fx_gains", {"usd": 125 + 150})
    await running.until("expenses:fx_losses", {"usd": 500 + 150 + 150})
    await running.until_settled()
    kept = {"usd": 3300, "eur": -3000}
    await running.until("equity:fx", kept)  # of the one payment that is not refunded in the end


async def test_disputes_in_every_way(running: House) -> None:
    """An inquiry that becomes a dispute, one that is won, and a bank debit that comes back late."""
    await _settle_in_dollars(running, "1.10")
    for method, amount in (("pm_card_createDisputeInquiry", 4000), ("pm_card_createDispute", 2000)):
        await _pay(running, amount, "eur", method)
    await _settle_in_dollars(running, "1.30")
    disputes = {
        each["amount"]: each["id"] for each in (await running.client.get("/v1/disputes")).json()["data"]
    }
    await running.control(f"disputes/{disputes[4000]}/escalate")
    await running.control(f"disputes/{disputes[4000]}/lose")
    await running.control(f"disputes/{disputes[2000]}/win")
    debit = await running.stripe(
        "/v1/payment_intents",
        **{
            "amount": 7000,
            "currency": "usd",
            "confirm": "true",
            "payment_method_types[]": "us_bank_account",
            "payment_method_data[type]": "us_bank_account",
            "payment_method_data[us_bank_account][account_number]": "000123456789",
            "payment_method_data[us_bank_account][routing_number]": "110000000",
            "payment_method_data[us_bank_account][account_holder_type]": "individual",
            "payment_method_data[billing_details][name]": "Ada",
            "mandate_data[customer_acceptance][type]": "offline",
        },
    )
    await running.control(f"payment_intents/{debit['id']}/settle")
    await running.control(f"payment_intents/{debit['id']}/fail")
    await running.control("settle")
    await running.until("assets:receivable_returned", {"usd": 7000})
    await running.until("expenses:dispute_losses", {"usd": 5200})
    await running.until("assets:stripe:disputed", {})
    await running.until_settled()
    assert await running.ours("equity:fx") == {"usd": 6600, "eur": -6000}
    assert await running.ours("revenue:fx_gains") == await running.ours("expenses:fx_losses") == {}


async def test_money_between_the_bank_and_stripe(running: House) -> None:
    """Top-ups that arrive; payouts that fail before they arrive, are cancelled, or go out by themselves."""
    for amount in (20_000, 5000):
        await running.stripe("/v1/topups", amount=amount, currency="usd")
    await running.control("settle")
    await running.until("assets:bank", {"usd": -25_000})
    failed, cancelled = [await running.stripe("/v1/payouts", amount=700, currency="usd") for _ in range(2)]
    await running.control(f"payouts/{failed['id']}/fail")
    await running.stripe(f"/v1/payouts/{cancelled['id']}/cancel")
    [automatic] = (await running.control("payouts/run"))["payouts"]
    for _ in range(2):
        await running.control(f"payouts/{automatic}/advance")
    await running.until("assets:bank", {})
    for account in ("topups_in_transit", "payouts_in_transit", "balance"):
        await running.until(f"assets:stripe:{account}", {})
    await running.until_settled()
