"""Ledger transactions balance, know their mirror, and are told apart by their legs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import UnbalancedError
from tallystick.ledger.chart import AccountType, account_type, stripe_balance
from tallystick.ledger.entries import CREDIT, DEBIT, LedgerEntry, credit, debit, legs_digest, post, reverse

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ABOUT: dict[str, Any] = {"description": "", "occurred_at": NOW, "source": "evt_1"}
ACCOUNTS = st.sampled_from(["assets:bank", "liabilities:unapplied", "revenue:payments"])


def test_a_negative_amount_swaps_the_side() -> None:
    assert debit("assets:bank", -5, "usd") == credit("assets:bank", 5, "usd")
    assert credit("assets:bank", 5, "usd").direction == CREDIT


def test_zero_legs_are_dropped_and_a_transaction_without_legs_is_none() -> None:
    made = post(
        "k", "kind", [debit("a:b", 5, "usd"), credit("a:c", 5, "usd"), debit("a:d", 0, "usd")], **ABOUT
    )
    assert made is not None
    assert len(made.entries) == 2
    assert post("k", "kind", [debit("a:b", 0, "usd")], **ABOUT) is None


@pytest.mark.parametrize(
    "legs",
    [
        [debit("a:b", 5, "usd")],
        [debit("a:b", 5, "usd"), credit("a:c", 4, "usd")],
        [debit("a:b", 5, "usd"), credit("a:c", 5, "eur")],
        [LedgerEntry("a:b", DEBIT, -5, "usd"), LedgerEntry("a:b", CREDIT, -5, "usd")],
    ],
)
def test_what_does_not_balance_in_each_currency_cannot_be_made(legs: list[LedgerEntry]) -> None:
    with pytest.raises(UnbalancedError):
        post("k", "kind", legs, **ABOUT)


@given(st.lists(st.tuples(ACCOUNTS, ACCOUNTS, st.integers(1, 10**12)), min_size=1, max_size=5))
def test_a_reversal_is_the_mirror_and_its_own_key(moves: list[tuple[str, str, int]]) -> None:
    legs = [leg for a, b, amount in moves for leg in (debit(a, amount, "usd"), credit(b, amount, "usd"))]
    made = post("refund:re_1", "refund", legs, **ABOUT)
    assert made is not None
    mirror = reverse(made, occurred_at=NOW)
    assert mirror.effect_key == "refund:re_1:reversed"
    assert reverse(mirror, occurred_at=NOW).digest == made.digest
    sums: dict[str, int] = {}
    for leg in (*made.entries, *mirror.entries):
        sums[leg.account] = sums.get(leg.account, 0) + leg.direction * leg.amount
    assert set(sums.values()) == {0}


def test_the_digest_tells_legs_apart_and_not_their_order() -> None:
    legs = [debit("a:b", 5, "usd"), credit("a:c", 5, "usd")]
    assert legs_digest(legs) == legs_digest(reversed(legs))
    others = (
        [debit("a:b", 6, "usd"), credit("a:c", 6, "usd")],
        [debit("a:x", 5, "usd"), credit("a:c", 5, "usd")],
        [debit("a:b", 5, "eur"), credit("a:c", 5, "eur")],
        [credit("a:b", 5, "usd"), debit("a:c", 5, "usd")],
    )
    assert all(legs_digest(other) != legs_digest(legs) for other in others)


@pytest.mark.parametrize(
    ("name", "kind", "side"),
    [
        ("assets:stripe:balance", AccountType.ASSET, "debit"),
        ("suspense:stripe", AccountType.ASSET, "debit"),
        ("liabilities:unapplied", AccountType.LIABILITY, "credit"),
        ("equity:fx", AccountType.EQUITY, "credit"),
        ("revenue:payments", AccountType.REVENUE, "credit"),
        ("revenue:refunds", AccountType.CONTRA_REVENUE, "debit"),
        ("expenses:stripe_fees", AccountType.EXPENSE, "debit"),
    ],
)
def test_an_account_grows_on_its_normal_side(name: str, kind: AccountType, side: str) -> None:
    assert (account_type(name), account_type(name).normal_balance) == (kind, side)


@pytest.mark.parametrize("name", ["", "assets", "money:bank", "assets:Bank", "assets::x", "assets:b d"])
def test_names_outside_the_chart_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not an account name"):
        account_type(name)


def test_each_of_stripes_balances_has_its_account() -> None:
    assert stripe_balance(None) == stripe_balance("payments") == "assets:stripe:balance"
    assert stripe_balance("refund_and_dispute_prefunding") == "assets:stripe:refund_and_dispute_prefunding"
