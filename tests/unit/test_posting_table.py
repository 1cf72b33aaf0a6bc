"""The posting table against Stripe's own lists: every kind of balance transaction has its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.test_events import legs, transaction

from tallystick.events import posting_table
from tallystick.events.balance_transactions import balance_transaction_effects
from tallystick.events.posting_table import FEE_ACCOUNTS, IN_SUSPENSE, POSTING_TABLE, posting_rule
from tallystick.ledger.chart import account_type

CLEARING = "assets:stripe:clearing"
PAYOUTS = "assets:stripe:payouts_in_transit"
TOPUPS = "assets:stripe:topups_in_transit"
HELD = "assets:stripe:held"
SUSPENSE = "suspense:stripe"

TYPES = {
    "adjustment": SUSPENSE,
    "advance": "assets:stripe:advances",
    "advance_funding": "assets:stripe:advances",
    "anticipation_repayment": "liabilities:financing",
    "application_fee": "revenue:application_fees",
    "application_fee_refund": "revenue:application_fees",
    "charge": CLEARING,
    "climate_order_purchase": "expenses:climate",
    "climate_order_refund": "expenses:climate",
    "connect_collection_transfer": "expenses:connect_losses",
    "contribution": "expenses:climate",
    "fee_credit_funding": SUSPENSE,
    "inbound_transfer": "assets:bank",
    "inbound_transfer_reversal": "assets:bank",
    "issuing_authorization_hold": HELD,
    "issuing_authorization_release": HELD,
    "issuing_dispute": "expenses:issuing",
    "issuing_transaction": "expenses:issuing",
    "obligation_outbound": "liabilities:financing",
    "obligation_reversal_inbound": "liabilities:financing",
    "payment": CLEARING,
    "payment_failure_refund": CLEARING,
    "payment_network_reserve_hold": HELD,
    "payment_network_reserve_release": HELD,
    "payment_refund": CLEARING,
    "payment_reversal": CLEARING,
    "payment_unreconciled": "liabilities:customer_cash",
    "payout": PAYOUTS,
    "payout_cancel": PAYOUTS,
    "payout_failure": PAYOUTS,
    "payout_minimum_balance_hold": HELD,
    "payout_minimum_balance_release": HELD,
    "refund": CLEARING,
    "refund_failure": CLEARING,
    "reserve_hold": HELD,
    "reserve_release": HELD,
    "reserve_transaction": HELD,
    "reserved_funds": HELD,
    "stripe_balance_payment_debit": "expenses:application_fees",
    "stripe_balance_payment_debit_reversal": "expenses:application_fees",
    "stripe_fee": "expenses:stripe_fees",
    "stripe_fx_fee": "expenses:stripe_fees",
    "tax_fee": "assets:input_tax",
    "tax_fund": SUSPENSE,
    "topup": TOPUPS,
    "topup_reversal": TOPUPS,
    "transfer": "revenue:transfers",
    "transfer_cancel": "revenue:transfers",
    "transfer_failure": "revenue:transfers",
    "transfer_refund": "revenue:transfers",
}
"""The values of ``balance_transaction.type`` in Stripe's OpenAPI spec of 2026-08-26.dahlia, all 50."""

CATEGORIES = {
    "advance": "assets:stripe:advances",
    "advance_funding": "assets:stripe:advances",
    "anticipation_repayment": "liabilities:financing",
    "charge": CLEARING,
    "charge_failure": CLEARING,
    "climate_order_purchase": "expenses:climate",
    "climate_order_refund": "expenses:climate",
    "connect_collection_transfer": "expenses:connect_losses",
    "connect_reserved_funds": HELD,
    "contribution": "expenses:climate",
    "dispute": "assets:stripe:disputed",
    "dispute_reversal": "assets:stripe:disputed",
    "fee": "expenses:stripe_fees",
    "financing_paydown": "liabilities:financing",
    "financing_paydown_reversal": "liabilities:financing",
    "financing_payout": "liabilities:financing",
    "financing_payout_reversal": "liabilities:financing",
    "issuing_authorization_hold": HELD,
    "issuing_authorization_release": HELD,
    "issuing_disbursement": "expenses:issuing",
    "issuing_dispute": "expenses:issuing",
    "issuing_dispute_fraud_liability_debit": "expenses:issuing",
    "issuing_dispute_provisional_credit": "expenses:issuing",
    "issuing_dispute_provisional_credit_reversal": "expenses:issuing",
    "issuing_transaction": "expenses:issuing",
    "network_cost": "expenses:stripe_fees",
    "other_adjustment": SUSPENSE,
    "partial_capture_reversal": CLEARING,
    "payment_network_reserve_hold": HELD,
    "payment_network_reserve_release": HELD,
    "payout": PAYOUTS,
    "payout_minimum_balance_hold": HELD,
    "payout_minimum_balance_release": HELD,
    "payout_reversal": PAYOUTS,
    "platform_earning": "revenue:application_fees",
    "platform_earning_refund": "revenue:application_fees",
    "refund": CLEARING,
    "refund_failure": CLEARING,
    "risk_reserved_funds": HELD,
    "tax": "assets:input_tax",
    "topup": TOPUPS,
    "topup_reversal": TOPUPS,
    "transfer": "revenue:transfers",
    "transfer_reversal": "revenue:transfers",
    "unreconciled_customer_funds": "liabilities:customer_cash",
}
"""The reporting categories of the spec's report runs and of Stripe's page on them, all 45."""

BALANCES = {
    None: "assets:stripe:balance",
    "payments": "assets:stripe:balance",
    "issuing": "assets:stripe:issuing",
    "refund_and_dispute_prefunding": "assets:stripe:refund_and_dispute_prefunding",
    "risk_reserved": "assets:stripe:risk_reserved",
}
"""The values of ``balance_transaction.balance_type`` of the same spec, and none."""


def _posted(**values: Any) -> dict[str, int]:
    body = {**transaction(amount=-700, fee=0, net=-700, fee_details=[]), **values}
    return legs(balance_transaction_effects(body, {}))["balance_transaction:txn_1"]


def test_the_lists_are_whole() -> None:
    assert (len(TYPES), len(CATEGORIES)) == (50, 45)


@pytest.mark.parametrize(("kind", "account"), TYPES.items())
def test_every_type_has_a_row_or_a_reason(kind: str, account: str) -> None:
    """Also with a category that says nothing."""
    assert (account == SUSPENSE) == (kind in IN_SUSPENSE)
    for category in ("other_adjustment", "a_category_of_tomorrow", kind):
        posted = _posted(type=kind, reporting_category=category)
        assert posted == {"assets:stripe:balance": -700, account: 700}


@pytest.mark.parametrize(("category", "account"), CATEGORIES.items())
def test_every_category_has_a_row_or_a_reason(category: str, account: str) -> None:
    """Whatever type comes under it: an adjustment is what its category says."""
    assert (account == SUSPENSE) == (category in IN_SUSPENSE)
    for kind in ("adjustment", "a_type_of_tomorrow"):
        posted = _posted(type=kind, reporting_category=category)
        assert posted == {"assets:stripe:balance": -700, account: 700}


@pytest.mark.parametrize(("balance", "account"), BALANCES.items())
def test_every_balance_of_stripes_has_an_account(balance: str | None, account: str) -> None:
    posted = _posted(type="topup", reporting_category="topup", balance_type=balance)
    assert posted == {account: -700, TOPUPS: 700}


def test_the_category_and_the_type_together_come_first() -> None:
    """A customer's overdraft is called a dispute, but has no dispute that could decide it."""
    together = posting_rule("dispute", "adjusted_for_overdraft_transaction")
    assert together.account == "liabilities:customer_cash"
    assert posting_rule("dispute", "adjustment").account == "assets:stripe:disputed"


def test_a_rows_version_is_recorded_with_what_it_posts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what an older row posted shows as such, and not as damage."""
    newer = replace(posting_rule("transfer", "transfer"), account="expenses:cost_of_sales", version=2)
    monkeypatch.setitem(posting_table._RULES, "transfer", newer)
    for kind, version in (("transfer", 2), ("topup", 1)):
        body = transaction(type=kind, reporting_category=kind)
        [made] = balance_transaction_effects(body, {}).transactions
        assert made.rule_version == version


def test_nothing_stands_in_two_rows() -> None:
    kinds = [kind for rule in POSTING_TABLE for kind in rule.kinds] + list(IN_SUSPENSE)
    assert len(kinds) == len(set(kinds))
    assert all(account_type(rule.account) for rule in POSTING_TABLE)


@pytest.mark.parametrize(
    ("line", "account"),
    [
        ("stripe_fee", "expenses:stripe_fees"),
        ("payment_method_passthrough_fee", "expenses:stripe_fees"),
        ("tax", "assets:input_tax"),
        ("withheld_tax", "assets:withheld_tax"),
        ("application_fee", "expenses:application_fees"),
        ("a_fee_of_tomorrow", SUSPENSE),
    ],
)
@pytest.mark.parametrize("amount", [59, -59])
def test_every_line_of_a_fee_has_an_account(line: str, account: str, amount: int) -> None:
    """Also one that comes back, as a dispute's fee does, or that of a payment that failed."""
    assert line in FEE_ACCOUNTS or account == SUSPENSE
    details = [{"type": line, "amount": amount, "currency": "usd"}]
    posted = _posted(amount=1000, fee=amount, net=1000 - amount, fee_details=details)
    assert posted == {"assets:stripe:balance": 1000 - amount, account: amount, CLEARING: -1000}


def test_a_disputes_fee_that_comes_back_lowers_the_dispute_fees() -> None:
    details = [{"type": "stripe_fee", "amount": -1500, "currency": "usd"}]
    body = {"type": "adjustment", "reporting_category": "dispute_reversal", "fee_details": details}
    assert _posted(amount=3000, fee=-1500, net=4500, **body) == {
        "assets:stripe:balance": 4500,
        "expenses:dispute_fees": -1500,
        "assets:stripe:disputed": -3000,
    }


def test_what_the_lines_of_a_fee_leave_out_goes_to_suspense() -> None:
    """Also a line in another currency, which cannot be a part of it. Without any line it is Stripe's own."""
    line = {"type": "tax", "amount": 9, "currency": "usd"}
    foreign = {"type": "stripe_fee", "amount": 40, "currency": "eur"}
    rest = {"assets:stripe:balance": 950, "assets:input_tax": 9, SUSPENSE: 41, CLEARING: -1000}
    assert _posted(amount=1000, fee=50, net=950, fee_details=[line]) == rest
    assert _posted(amount=1000, fee=50, net=950, fee_details=[line, foreign]) == rest
    assert _posted(amount=1000, fee=50, net=950, fee_details=[]) == {
        "assets:stripe:balance": 950,
        "expenses:stripe_fees": 50,
        CLEARING: -1000,
    }


@pytest.mark.parametrize(
    ("source", "account"),
    [
        ({"object": "payout", "id": "po_1"}, PAYOUTS),
        ({"object": "topup", "id": "tu_1"}, TOPUPS),
    ],
)
def test_what_is_in_transit_is_in_its_own_currency(source: dict[str, Any], account: str) -> None:
    """The payout itself takes it from there in the currency of the bank account."""
    kind = source["object"]
    source = {**source, "status": "pending", "amount": 600, "currency": "eur", "created": 1}
    assert _posted(type=kind, reporting_category=kind, source=source) == {
        "assets:stripe:balance": -700,
        "equity:fx": 700,
        "equity:fx eur": -600,
        f"{account} eur": 600,
    }
