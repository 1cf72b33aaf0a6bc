"""The ledger as JSON; as in ``bodies``, amounts are integers in minor units, times RFC 3339 in UTC.

The command line prints the same with ``--json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tallystick.api.choices import Direction
from tallystick.ledger import history, statements, trial_balances
from tallystick.ledger.balances import AccountBalance as Balance
from tallystick.ledger.balances import AccountPage
from tallystick.ledger.chart import AccountType
from tallystick.pipeline.pulls import payout_contents
from tallystick.pipeline.pulls.payout_contents import ListingStatus


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class LedgerEntry(_Out):
    """One leg."""

    account: str
    direction: Direction
    amount: int
    currency: str


class LedgerTransaction(_Out):
    """A ledger transaction with its legs; it balances in each currency.

    ``source`` is the event, balance transaction or journal entry that told of it first; ``payment`` is our
    payment that it belongs to.
    """

    id: int
    effect_key: str
    kind: str
    description: str
    source: str
    payment: str | None
    occurred_at: datetime
    posted_at: datetime
    entries: list[LedgerEntry]


class LedgerTransactionPage(BaseModel):
    """Ledger transactions, the latest fact first."""

    data: list[LedgerTransaction]
    has_more: bool
    next_cursor: str | None

    @classmethod
    def of(cls, page: history.TransactionPage) -> Self:
        """From a page of the ledger."""
        return cls(
            data=ledger_of(page.items), has_more=page.next_cursor is not None, next_cursor=page.next_cursor
        )


class AccountBalance(_Out):
    """One account in one currency; ``balance`` is positive on its normal side."""

    account: str
    type: AccountType
    currency: str
    debits: int
    credits: int
    balance: int


class LedgerAccountPage(BaseModel):
    """Accounts by name and currency, with what stands on each: now, or at ``at``."""

    at: datetime | None
    data: list[AccountBalance]
    has_more: bool
    next_cursor: str | None

    @classmethod
    def of(cls, page: AccountPage, at: datetime | None) -> Self:
        """From a page of accounts."""
        return cls(
            at=at,
            data=[AccountBalance.model_validate(item) for item in page.items],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )


class LedgerAccount(BaseModel):
    """An account with what stands on it in each of its currencies: now, or at ``at``."""

    object: Literal["ledger_account"] = "ledger_account"
    account: str
    type: AccountType
    normal_balance: Direction
    at: datetime | None
    balances: list[AccountBalance]

    @classmethod
    def of(cls, lines: Sequence[Balance], at: datetime | None) -> Self:
        """From its balances, at least one."""
        return cls(
            account=lines[0].account,
            type=lines[0].type,
            normal_balance=lines[0].type.normal_balance,
            at=at,
            balances=[AccountBalance.model_validate(line) for line in lines],
        )


class StatementLine(_Out):
    """An entry of the account; ``balance`` is what stood on it after this one, by its normal side."""

    transaction: int = Field(validation_alias="transaction_id")
    position: int
    effect_key: str
    kind: str
    description: str
    source: str
    payment: str | None
    occurred_at: datetime
    posted_at: datetime
    direction: Direction
    amount: int
    balance: int


class Statement(BaseModel):
    """A page of an account's statement, the oldest entry first.

    ``opening_balance`` and ``closing_balance`` are those of the whole period, on every page: what stood on
    the account before ``from`` and before ``to``, by its normal side.
    """

    object: Literal["statement"] = "statement"
    account: str
    type: AccountType
    currency: str
    from_: datetime | None = Field(alias="from")
    to: datetime | None
    opening_balance: int
    closing_balance: int
    data: list[StatementLine]
    has_more: bool
    next_cursor: str | None

    @classmethod
    def of(cls, page: statements.Statement) -> Self:
        """From a page of the ledger."""
        return cls.model_validate(
            {
                "account": page.account,
                "type": page.type,
                "currency": page.currency,
                "from": page.since,
                "to": page.until,
                "opening_balance": page.opening_balance,
                "closing_balance": page.closing_balance,
                "data": [StatementLine.model_validate(line) for line in page.lines],
                "has_more": page.next_cursor is not None,
                "next_cursor": page.next_cursor,
            }
        )


class PayoutLine(_Out):
    """A balance transaction that went out with a payout; ``payment`` is ours, where it belongs to one."""

    balance_transaction: str
    type: str
    amount: int
    fee: int
    net: int
    currency: str
    source: str | None
    payment: str | None
    occurred_at: datetime


class PayoutContents(_Out):
    """A page of what went out with an automatic payout, by the ids of the balance transactions.

    ``transactions`` and ``net`` are those of all pages; once ``status`` is ``listed``, the net is the
    payout's amount. ``pending``: Stripe has not put the list together; ``not_automatic``: it keeps none.
    """

    object: Literal["payout_contents"] = "payout_contents"
    payout: str
    status: ListingStatus
    transactions: int
    net: int
    data: list[PayoutLine]
    has_more: bool
    next_cursor: str | None

    @classmethod
    def of(cls, page: payout_contents.PayoutContents) -> Self:
        """From a page of a payout's list."""
        return cls(
            payout=page.payout,
            status=page.status,
            transactions=page.transactions,
            net=page.net,
            data=[PayoutLine.model_validate(line) for line in page.lines],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )


class CurrencyTotal(_Out):
    """The sums of a currency's debit balances and of its credit balances; ``balanced``: they are equal."""

    currency: str
    debit: int
    credit: int
    balanced: bool


class TrialBalance(BaseModel):
    """Every account that has entries, and the sums in each currency: now, or at ``at``."""

    object: Literal["trial_balance"] = "trial_balance"
    at: datetime | None
    data: list[AccountBalance]
    totals: list[CurrencyTotal]

    @classmethod
    def of(cls, lines: Sequence[Balance], at: datetime | None) -> Self:
        """From the ledger's lines."""
        return cls(
            at=at,
            data=[AccountBalance.model_validate(line) for line in lines],
            totals=[CurrencyTotal.model_validate(total) for total in trial_balances.totals(lines)],
        )


class PeriodBalance(_Out):
    """One account over the period; ``opening`` and ``closing`` are positive on its normal side."""

    account: str
    type: AccountType
    currency: str
    opening: int
    debits: int
    credits: int
    closing: int


class PeriodTotal(_Out):
    """What was debited and credited in a currency in the period; ``balanced``: the two are equal."""

    currency: str
    debits: int
    credits: int
    balanced: bool


class PeriodTrialBalance(BaseModel):
    """Every account with entries before ``to``: what it opened with, what came, and what it closed with."""

    object: Literal["period_trial_balance"] = "period_trial_balance"
    from_: datetime | None = Field(alias="from")
    to: datetime | None
    data: list[PeriodBalance]
    totals: list[PeriodTotal]

    @classmethod
    def of(
        cls, lines: Sequence[trial_balances.PeriodBalance], since: datetime | None, until: datetime | None
    ) -> Self:
        """From the ledger's lines."""
        return cls.model_validate(
            {
                "from": since,
                "to": until,
                "data": [PeriodBalance.model_validate(line) for line in lines],
                "totals": [PeriodTotal.model_validate(total) for total in trial_balances.turnovers(lines)],
            }
        )


def ledger_of(transactions: Sequence[history.PostedTransaction]) -> list[LedgerTransaction]:
    """Ledger transactions as the API shows them."""
    return [LedgerTransaction.model_validate(item) for item in transactions]
