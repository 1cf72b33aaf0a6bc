"""Accounts with what stands on them, now and at any instant, grouped by type as in a balance sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from starlette.responses import Response

from tallystick.api.keys import Scope
from tallystick.api.values import CurrencyCode
from tallystick.console.ledger.periods import AsOf
from tallystick.console.routing import Pages
from tallystick.console.visits import Visit
from tallystick.db.session import snapshot
from tallystick.ledger.balances import AccountBalance
from tallystick.ledger.chart import AccountType
from tallystick.ledger.trial_balances import trial_balance

_GROUPS: Final = (
    ("Assets", AccountType.ASSET, ()),
    ("Liabilities", AccountType.LIABILITY, ()),
    ("Equity", AccountType.EQUITY, ()),
    ("Revenue", AccountType.REVENUE, (AccountType.CONTRA_REVENUE,)),
    ("Expenses", AccountType.EXPENSE, ()),
)
"""In the order of a balance sheet and an income statement; what is in brackets reduces its group."""


class AccountQuery(AsOf):
    """When, in which currency, and whether accounts at zero are shown."""

    currency: CurrencyCode | None = None
    zeros: bool | None = None


@dataclass(frozen=True, slots=True)
class AccountLines:
    """An account in its currencies; ``reduces``: it stands on the other side of its group."""

    name: str
    reduces: bool
    balances: list[AccountBalance]


@dataclass(frozen=True, slots=True)
class Group:
    """The accounts of a type, and what they come to in each currency, on the type's normal side."""

    title: str
    accounts: list[AccountLines]
    totals: dict[str, int]


def account_pages(pages: Pages) -> None:
    """The page at /console/ledger/accounts."""

    @pages.get("/ledger/accounts", Scope.LEDGER_READ)
    async def accounts(visit: Visit) -> Response:
        query = visit.query(AccountQuery)
        async with snapshot(visit.app.engine) as connection:
            found = await trial_balance(connection, query.instant())
        currencies = sorted({each.currency for each in found})
        wanted = [each for each in found if query.currency in (None, each.currency)]
        shown = wanted if query.zeros else [each for each in wanted if each.balance]
        return visit.page(
            "accounts.html",
            query=query,
            instant=query.instant(),
            currencies=currencies,
            groups=_grouped(shown),
            folded=len(wanted) - len(shown),
            in_all=len(wanted),
        )


def _grouped(balances: Sequence[AccountBalance]) -> list[Group]:
    found = []
    for title, normal, reducing in _GROUPS:
        lines = sorted(
            (each for each in balances if each.type is normal or each.type in reducing),
            key=lambda each: (each.type in reducing, each.account, each.currency),
        )
        if lines:
            found.append(Group(title, _by_account(lines, normal), _totals(lines, normal)))
    return found


def _by_account(lines: Iterable[AccountBalance], normal: AccountType) -> list[AccountLines]:
    return [
        AccountLines(name, balances[0].type is not normal, balances)
        for name, each in groupby(lines, key=lambda line: line.account)
        if (balances := list(each))
    ]


def _totals(lines: Iterable[AccountBalance], normal: AccountType) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.currency] = sums.get(line.currency, 0) + normal.signed(line.debits - line.credits)
    return dict(sorted(sums.items()))
