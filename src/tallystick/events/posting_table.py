"""The posting table: for each kind of Stripe's balance transactions, the account on the other side. Pure.

A kind is a reporting category, a type, or ``category/type`` where the two together mean something else. It is
looked up in the order ``category/type``, category, type: Stripe's categories are made for accounting, and one
that says nothing (``other_adjustment``) is in no row, so that the type decides. What is in no row goes to
suspense: posted, alerted, never dropped.

Names and meanings: https://docs.stripe.com/reports/reporting-categories and
https://docs.stripe.com/reports/balance-transaction-types, and the values of the API's own lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.ledger import chart


@dataclass(frozen=True, slots=True)
class PostingRule:
    """One row: kinds of balance transaction and the account that takes their amount.

    ``version`` is recorded with every ledger transaction that the row makes. A row that is added or changed
    after a release gets the next one: what stands in the ledger stays as it was posted.
    """

    account: str
    meaning: str
    kinds: tuple[str, ...]
    version: int = 1


POSTING_TABLE: Final = (
    PostingRule(
        chart.CLEARING,
        "payments and what of them goes back",
        (
            "charge",
            "payment",
            "validation",
            "partial_capture_reversal",
            "refund",
            "payment_refund",
            "refund_failure",
            "charge_failure",
            "payment_failure_refund",
            "payment_reversal",
        ),
    ),
    PostingRule(chart.DISPUTED, "disputes", ("dispute", "dispute_reversal")),
    PostingRule(
        chart.PAYOUTS_IN_TRANSIT,
        "payouts to the bank, and back",
        ("payout", "payout_reversal", "payout_cancel", "payout_failure"),
    ),
    PostingRule(chart.TOPUPS_IN_TRANSIT, "top-ups from the bank, and back", ("topup", "topup_reversal")),
    PostingRule(
        chart.BANK,
        "money pulled from the bank account into the balance, and back",
        ("inbound_transfer", "inbound_transfer_reversal"),
    ),
    PostingRule(
        chart.STRIPE_FEES,
        "fees of Stripe's that no payment carries: Radar, Billing, Connect, currency conversion, networks",
        ("fee", "stripe_fee", "stripe_fx_fee", "network_cost"),
    ),
    PostingRule(chart.INPUT_TAX, "tax on Stripe's fees", ("tax", "tax_fee")),
    PostingRule(
        chart.HELD,
        "reserves, minimum balances and authorisations of issued cards: held and released",
        (
            "risk_reserved_funds",
            "reserved_funds",
            "reserve_hold",
            "reserve_release",
            "connect_reserved_funds",
            "reserve_transaction",
            "payment_network_reserve_hold",
            "payment_network_reserve_release",
            "payout_minimum_balance_hold",
            "payout_minimum_balance_release",
            "issuing_authorization_hold",
            "issuing_authorization_release",
        ),
    ),
    PostingRule(
        chart.ADVANCES,
        "the two sides of an earlier settlement: they add up to nothing",
        ("advance", "advance_funding"),
    ),
    PostingRule(
        chart.BALANCE_TRANSFERS,
        "from one of Stripe's balances to another: the two sides add up to nothing",
        ("balance_transfer_inbound", "balance_transfer_outbound"),
    ),
    PostingRule(
        chart.CUSTOMER_CASH,
        "customers' cash that Stripe could not match, and what covers a customer's overdraft",
        (
            "unreconciled_customer_funds",
            "payment_unreconciled",
            "transferred_to_balance_transaction",
            "dispute/adjusted_for_overdraft_transaction",
            "adjusted_for_overdraft_transaction",
        ),
    ),
    PostingRule(
        chart.TRANSFERS,
        "Connect: passed on to connected accounts, and back",
        (
            "transfer",
            "transfer_reversal",
            "transfer_cancel",
            "transfer_failure",
            "transfer_refund",
            "recipient_transfer",
            "recipient_transfer_cancel",
            "recipient_transfer_failure",
        ),
    ),
    PostingRule(
        chart.APPLICATION_FEES_EARNED,
        "Connect: a platform's fees, and what it gives back of them",
        ("platform_earning", "application_fee", "platform_earning_refund", "application_fee_refund"),
    ),
    PostingRule(
        chart.CONNECT_LOSSES,
        "Connect: another account's negative balance that the platform had to cover",
        ("connect_collection_transfer",),
    ),
    PostingRule(
        chart.APPLICATION_FEES,
        "Connect: what a connected account pays its platform out of its balance, and back",
        ("stripe_balance_payment_debit", "stripe_balance_payment_debit_reversal"),
    ),
    PostingRule(
        chart.FINANCING,
        "loans and sold receivables: paid out, paid down, repaid to those who bought them",
        (
            "financing_payout",
            "financing_payout_reversal",
            "financing_paydown",
            "financing_paydown_reversal",
            "anticipation_repayment",
            "obligation_outbound",
            "obligation_reversal_inbound",
        ),
    ),
    PostingRule(
        chart.ISSUING,
        "purchases with issued cards, what of them comes back, rewards, liability for fraud",
        (
            "issuing_transaction",
            "issuing_dispute",
            "issuing_dispute_provisional_credit",
            "issuing_dispute_provisional_credit_reversal",
            "issuing_dispute_fraud_liability_debit",
            "issuing_disbursement",
        ),
    ),
    PostingRule(
        chart.CLIMATE,
        "Stripe Climate: contributions and orders, and back",
        (
            "contribution",
            "climate_order_purchase",
            "climate_order_refund",
            "climate_reservation_purchase",
            "climate_reservation_refund",
        ),
    ),
)

IN_SUSPENSE: Final[dict[str, str]] = {
    "other_adjustment": "a category for what has none: the type decides",
    "adjustment": "without a category that says more, only the description tells a person what it was for",
    "tax_fund": "Stripe lists the type and documents no meaning",
    "fee_credit_funding": "Stripe lists the type and documents no meaning",
}
"""Kinds that Stripe names and that are in no row on purpose, with the reason."""

FEE_ACCOUNTS: Final[dict[str, str]] = {
    "stripe_fee": chart.STRIPE_FEES,
    "payment_method_passthrough_fee": chart.STRIPE_FEES,
    "tax": chart.INPUT_TAX,
    "withheld_tax": chart.WITHHELD_TAX,
    "application_fee": chart.APPLICATION_FEES,
}
"""Type of a fee line of a balance transaction → account. Of a dispute, Stripe's own fee is a dispute fee."""


def _by_kind() -> dict[str, PostingRule]:
    rules: dict[str, PostingRule] = {}
    for rule in POSTING_TABLE:
        for kind in rule.kinds:
            if kind in rules or kind in IN_SUSPENSE:
                raise ValueError(f"{kind!r} is in the posting table twice.")
            rules[kind] = rule
    return rules


_RULES: Final = _by_kind()
_SUSPENSE: Final = PostingRule(chart.SUSPENSE, "a reason that is not known yet", ())


def posting_rule(category: str, kind: str) -> PostingRule:
    """The rule for a balance transaction of this reporting category and type; that of suspense for none."""
    for name in (f"{category}/{kind}", category, kind):
        if name in _RULES:
            return _RULES[name]
    return _SUSPENSE
