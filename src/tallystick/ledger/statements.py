"""Reads the ledger: the trial balance, and the transactions of a payment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.ledger.chart import AccountType
from tallystick.ledger.entries import direction_word


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One line of the trial balance; ``debits`` and ``credits`` are sums in minor units.

    ``balance`` is positive on the account's normal side.
    """

    account: str
    type: AccountType
    currency: str
    debits: int
    credits: int

    @property
    def balance(self) -> int:
        """What stands on the account, by its normal balance."""
        net = self.debits - self.credits
        return net if self.type.normal_balance == "debit" else -net


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """The foot of a trial balance: the accounts' balances in a currency, those on either side summed up."""

    currency: str
    debit: int
    credit: int

    @property
    def balanced(self) -> bool:
        """Whether the two sides are equal, as they are in books that balance."""
        return self.debit == self.credit


_TRIAL_BALANCE: Final = text("""
SELECT a.name, a.type, a.currency, b.debits, b.credits
  FROM account_balances b JOIN ledger_accounts a ON a.id = b.account_id
 ORDER BY a.currency, a.name
""")

_OF_PAYMENTS: Final = text("""
SELECT t.id, t.effect_key, t.kind, t.description, t.source, t.posted_at,
       least(t.occurred_at, (SELECT min(d.occurred_at) FROM effect_dates d WHERE d.transaction_id = t.id))
         AS occurred_at,
       a.name AS account, e.direction, e.amount, e.currency
  FROM ledger_transactions t
  JOIN ledger_entries e ON e.transaction_id = t.id
  JOIN ledger_accounts a ON a.id = e.account_id
 WHERE t.payment_id = ANY(CAST(:payments AS text[]))
 ORDER BY t.id, e.position
""")


async def trial_balance(connection: AsyncConnection) -> list[AccountBalance]:
    """Every account that has entries, by currency and name."""
    rows = await connection.execute(_TRIAL_BALANCE)
    return [
        AccountBalance(row.name, AccountType(row.type), row.currency, row.debits, row.credits) for row in rows
    ]


def totals(lines: Iterable[AccountBalance]) -> list[CurrencyTotal]:
    """The foot of a trial balance: for each currency the sums of its debit and of its credit balances."""
    nets: dict[str, list[int]] = {}
    for line in lines:
        nets.setdefault(line.currency, []).append(line.debits - line.credits)
    return [
        CurrencyTotal(code, sum(net for net in found if net > 0), -sum(net for net in found if net < 0))
        for code, found in sorted(nets.items())
    ]


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """A leg as it stands in the ledger; ``amount`` in minor units, ``direction`` debit or credit."""

    account: str
    direction: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class PostedTransaction:
    """A ledger transaction as it stands, with its entries. ``occurred_at`` is the earliest that was heard."""

    id: int
    effect_key: str
    kind: str
    description: str
    source: str
    occurred_at: datetime
    posted_at: datetime
    entries: list[PostedEntry]


async def transactions_of_payments(
    connection: AsyncConnection, payments: Sequence[str]
) -> list[PostedTransaction]:
    """The ledger transactions of the given payments (our ids), oldest posting first."""
    rows = await connection.execute(_OF_PAYMENTS, {"payments": list(payments)})
    found: dict[int, PostedTransaction] = {}
    for row in rows:
        header: Any = row
        transaction = found.setdefault(
            header.id,
            PostedTransaction(
                header.id, header.effect_key, header.kind, header.description, header.source,
                header.occurred_at, header.posted_at, [],
            ),
        )  # fmt: skip
        transaction.entries.append(
            PostedEntry(row.account, direction_word(row.direction), row.amount, row.currency)
        )
    return list(found.values())
