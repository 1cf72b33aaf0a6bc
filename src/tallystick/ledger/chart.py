"""The chart of accounts: names, types and normal balances. Pure.

An account is a name and a currency; it is made when it is first used. Its type follows from the first part
of its name, except for the contra accounts listed here.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

CLEARING: Final = "assets:stripe:clearing"
"""Captured or refunded at Stripe, balance transaction not seen yet (presentment currency); drains to zero."""
STRIPE_BALANCE: Final = "assets:stripe:balance"
"""Stripe's payments balance, pending and available: equals the Balance API."""
PAYOUTS_IN_TRANSIT: Final = "assets:stripe:payouts_in_transit"
TOPUPS_IN_TRANSIT: Final = "assets:stripe:topups_in_transit"
DISPUTED: Final = "assets:stripe:disputed"
HELD: Final = "assets:stripe:held"
ADVANCES: Final = "assets:stripe:advances"
"""The two sides of a changed settlement date; drains to zero."""
BALANCE_TRANSFERS: Final = "assets:stripe:balance_transfers"
"""Between two of Stripe's balances; drains to zero."""
BANK: Final = "assets:bank"
RECEIVABLE: Final = "assets:receivable"
"""Invoices that are not paid."""
RECEIVABLE_RETURNED: Final = "assets:receivable_returned"
"""Bank debits that were returned late: owed again."""
INPUT_TAX: Final = "assets:input_tax"
"""Tax on Stripe's fees."""
WITHHELD_TAX: Final = "assets:withheld_tax"
"""Income tax that Stripe withheld and that a tax office credits."""
UNAPPLIED: Final = "liabilities:unapplied"
"""Money that moved and is not yet applied to a sale, an invoice or a credit note."""
TAX_PAYABLE: Final = "liabilities:tax_payable"
CUSTOMER_BALANCE: Final = "liabilities:customer_balance"
"""Customers' credits, to be used for their next invoices."""
CUSTOMER_CASH: Final = "liabilities:customer_cash"
FINANCING: Final = "liabilities:financing"
"""Loans of Stripe Capital's, and receivables that were sold before they were paid."""
FX: Final = "equity:fx"
"""Holds the two sides of a currency conversion."""
OPENING: Final = "equity:opening"
"""The position at the cut-over from an account in use, and what older objects did since."""
REVENUE_PAYMENTS: Final = "revenue:payments"
REVENUE_SHIPPING: Final = "revenue:shipping"
REVENUE_REFUNDS: Final = "revenue:refunds"
TRANSFERS: Final = "revenue:transfers"
"""What a platform passes on to connected accounts: contra-revenue, as an agent shows it."""
APPLICATION_FEES_EARNED: Final = "revenue:application_fees"
"""What a platform earns by its fees."""
FX_GAINS: Final = "revenue:fx_gains"
FX_LOSSES: Final = "expenses:fx_losses"
STRIPE_FEES: Final = "expenses:stripe_fees"
DISPUTE_FEES: Final = "expenses:dispute_fees"
DISPUTE_LOSSES: Final = "expenses:dispute_losses"
APPLICATION_FEES: Final = "expenses:application_fees"
"""What a platform charges us."""
CONNECT_LOSSES: Final = "expenses:connect_losses"
"""Negative balances of connected accounts that the platform covered."""
ISSUING: Final = "expenses:issuing"
"""Purchases with issued cards, to be told apart by their receipts."""
CLIMATE: Final = "expenses:climate"
SUSPENSE: Final = "suspense:stripe"
"""Moved for a reason that is not known yet: posted, alerted, never dropped."""

NAMED: Final = frozenset(
    value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str)
)
"""Every account of this list, in use or not."""


def stripe_balance(balance_type: str | None) -> str:
    """The account of one of Stripe's balances; ``payments`` (or none) is the main one.

    Whatever Stripe may call a new one makes a name of the chart: what is no letter, digit or underscore is
    written as one.
    """
    if balance_type in (None, "payments"):
        return STRIPE_BALANCE
    return "assets:stripe:" + re.sub(r"[^a-z0-9_]", "_", balance_type.lower())


def is_stripe_balance(name: str) -> bool:
    """Whether an account mirrors one of Stripe's balances, so that nothing but Stripe may move it."""
    return name == STRIPE_BALANCE or (name.startswith("assets:stripe:") and name not in NAMED)


class AccountType(StrEnum):
    """The five types of double-entry accounting, and contra-revenue, which reduces revenue."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    REVENUE = "revenue"
    CONTRA_REVENUE = "contra_revenue"
    EXPENSE = "expense"

    @property
    def normal_balance(self) -> str:
        """``debit`` or ``credit``: the side on which the account grows."""
        debit_types = (AccountType.ASSET, AccountType.EXPENSE, AccountType.CONTRA_REVENUE)
        return "debit" if self in debit_types else "credit"

    def signed(self, net: int) -> int:
        """Debits less credits as the account counts them: positive on its normal side."""
        return net if self.normal_balance == "debit" else -net


_ROOT_TYPES: Final = {
    "assets": AccountType.ASSET,
    "suspense": AccountType.ASSET,
    "liabilities": AccountType.LIABILITY,
    "equity": AccountType.EQUITY,
    "revenue": AccountType.REVENUE,
    "expenses": AccountType.EXPENSE,
}
_CONTRA: Final = ("revenue:refunds", "revenue:credit_notes", "revenue:discounts", "revenue:transfers")
"""Contra-revenue, with the accounts below each."""
_NAME: Final = re.compile(r"[a-z]+(:[a-z0-9_]+)+")


def account_type(name: str) -> AccountType:
    """The type of an account by its name; raises ValueError for a name outside the chart."""
    root = name.partition(":")[0]
    if root not in _ROOT_TYPES or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an account name.")
    contra = any(f"{name}:".startswith(f"{each}:") for each in _CONTRA)
    return AccountType.CONTRA_REVENUE if contra else _ROOT_TYPES[root]
