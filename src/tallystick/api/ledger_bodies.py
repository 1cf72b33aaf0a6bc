"""The ledger as JSON; as in ``bodies``, amounts are integers in minor units, times RFC 3339 in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from tallystick.api.choices import Direction
from tallystick.ledger.history import PostedTransaction


class LedgerEntry(BaseModel):
    """One leg."""

    account: str
    direction: Direction
    amount: int
    currency: str


class LedgerTransaction(BaseModel):
    """A ledger transaction with its legs; it balances in each currency."""

    id: int
    effect_key: str
    kind: str
    description: str
    source: str
    occurred_at: datetime
    posted_at: datetime
    entries: list[LedgerEntry]


class AccountBalance(BaseModel):
    """One account; ``balance`` is positive on its normal side."""

    account: str
    type: str
    currency: str
    debits: int
    credits: int
    balance: int


class CurrencyTotal(BaseModel):
    """The sums of a currency's debit balances and of its credit balances; ``balanced``: they are equal."""

    currency: str
    debit: int
    credit: int
    balanced: bool


class TrialBalance(BaseModel):
    """Every account that has entries, and the sums in each currency."""

    object: Literal["trial_balance"] = "trial_balance"
    data: list[AccountBalance]
    totals: list[CurrencyTotal]


def ledger_of(transactions: Sequence[PostedTransaction]) -> list[LedgerTransaction]:
    """Ledger transactions as the API shows them."""
    return [LedgerTransaction.model_validate(item, from_attributes=True) for item in transactions]
