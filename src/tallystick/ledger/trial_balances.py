"""Trial balances: every account, at one time or over a period. Functions write nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.ledger.balances import BEGINNING, EVER, AccountBalance, before, list_accounts, sums_at
from tallystick.ledger.chart import AccountType


@dataclass(frozen=True, slots=True)
class PeriodBalance:
    """One account over a period: ``opening`` and ``closing`` by its normal balance, what came in between.

    ``debits`` and ``credits`` are those of the period; closing = opening + what they come to.
    """

    account: str
    type: AccountType
    currency: str
    opening: int
    debits: int
    credits: int

    @property
    def closing(self) -> int:
        """What stands on the account at the end."""
        return self.opening + self.type.signed(self.debits - self.credits)


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


@dataclass(frozen=True, slots=True)
class PeriodTotal:
    """What was debited and credited in a currency over a period."""

    currency: str
    debits: int
    credits: int

    @property
    def balanced(self) -> bool:
        """Whether the two are equal, as they are in books that balance."""
        return self.debits == self.credits


_NOW: Final = text("""
SELECT a.id, a.name, a.type, a.currency, b.debits, b.credits
  FROM account_balances b JOIN ledger_accounts a ON a.id = b.account_id
 ORDER BY a.currency, a.name
""")


async def trial_balance(connection: AsyncConnection, at: datetime | None = None) -> list[AccountBalance]:
    """Every account that has entries, by currency and name: now, or up to an instant, that one included."""
    if at is None:
        rows = await connection.execute(_NOW)
        return [
            AccountBalance(row.name, AccountType(row.type), row.currency, row.debits, row.credits)
            for row in rows
        ]
    accounts = await list_accounts(connection)
    sums = await sums_at(connection, [(account, at) for account in accounts])
    return [
        AccountBalance(account.name, account.type, account.currency, debits, credits_)
        for account, (debits, credits_) in zip(accounts, sums, strict=True)
        if debits or credits_
    ]


async def period_balance(
    connection: AsyncConnection, since: datetime | None, until: datetime | None
) -> list[PeriodBalance]:
    """Every account with entries before ``until``: what it opened with at ``since``, and what came then.

    The period is from ``since`` on and ends before ``until``; None: from the beginning, to the latest.
    """
    accounts = await list_accounts(connection)
    start, end = before(since or BEGINNING), before(until or EVER)
    sums = await sums_at(
        connection,
        [(account, start) for account in accounts] + [(account, end) for account in accounts],
    )
    return [
        PeriodBalance(
            account.name, account.type, account.currency, account.type.signed(opening[0] - opening[1]),
            closing[0] - opening[0], closing[1] - opening[1],
        )
        for account, opening, closing in zip(
            accounts, sums[: len(accounts)], sums[len(accounts) :], strict=True
        )
        if any(closing)
    ]  # fmt: skip


def totals(lines: Iterable[AccountBalance]) -> list[CurrencyTotal]:
    """The foot of a trial balance: for each currency the sums of its debit and of its credit balances."""
    nets: dict[str, list[int]] = {}
    for line in lines:
        nets.setdefault(line.currency, []).append(line.debits - line.credits)
    return [
        CurrencyTotal(code, sum(net for net in found if net > 0), -sum(net for net in found if net < 0))
        for code, found in sorted(nets.items())
    ]


def turnovers(lines: Iterable[PeriodBalance]) -> list[PeriodTotal]:
    """The foot of a period's trial balance: for each currency what was debited and credited."""
    sums: dict[str, list[int]] = {}
    for line in lines:
        found = sums.setdefault(line.currency, [0, 0])
        found[0] += line.debits
        found[1] += line.credits
    return [PeriodTotal(code, *found) for code, found in sorted(sums.items())]
