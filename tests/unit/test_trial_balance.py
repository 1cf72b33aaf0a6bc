"""The foot of the trial balance."""

from __future__ import annotations

from tallystick.ledger.balances import AccountBalance
from tallystick.ledger.chart import AccountType
from tallystick.ledger.trial_balances import CurrencyTotal, totals


def line(account: str, kind: str, debits: int, credits_: int, currency: str = "eur") -> AccountBalance:
    return AccountBalance(account, AccountType(kind), currency, debits, credits_)


def test_balances_are_summed_by_side_and_currency_not_turnover() -> None:
    lines = [
        line("assets:stripe:clearing", "asset", 3500, 3500),
        line("assets:stripe:balance", "asset", 2398, 1000),
        line("expenses:stripe_fees", "expense", 102, 0),
        line("revenue:payments", "revenue", 0, 2500),
        line("revenue:refunds", "contra_revenue", 1000, 0),
        line("revenue:payments", "revenue", 5, 12, "chf"),
    ]
    assert totals(lines) == [CurrencyTotal("chf", 0, 7), CurrencyTotal("eur", 2500, 2500)]
    assert [total.balanced for total in totals(lines)] == [False, True]


def test_a_balance_on_the_unusual_side_counts_there() -> None:
    lines = [line("assets:bank", "asset", 1, 4), line("liabilities:unapplied", "liability", 3, 0)]
    assert totals(lines) == [CurrencyTotal("eur", 3, 3)]
    assert totals([]) == []
