"""Taxes, discounts, prices and searches: exact, and adding up, whatever the numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import money
from tallystick.sandbox import discounts, numbers, search, taxes
from tallystick.sandbox.errors import StripeError

Obj = dict[str, Any]
PERCENTS = st.decimals(min_value=0, max_value=100, places=4)


def rate(percentage: Decimal | float, *, inclusive: bool, ident: str = "txr_1") -> Obj:
    return {"id": ident, "percentage": numbers.json_number(Decimal(str(percentage))), "inclusive": inclusive}


@pytest.mark.parametrize(
    ("amount", "percent", "inclusive", "tax"),
    [
        (1000, 19, False, 190),
        (43, 15, False, 6),  # 6.45
        (484, 15, False, 73),  # 72.6
        (450, 19, False, 86),  # 85.5 is rounded up
        (-450, 19, False, -86),
        (1190, 19, True, 190),
        (935, 7, True, 61),  # 61.17
        (999, 0, True, 0),
        (0, 19, False, 0),
    ],
)
def test_a_tax(amount: int, percent: int, inclusive: bool, tax: int) -> None:
    found = taxes.on(amount, [rate(percent, inclusive=inclusive)])
    assert [(item["amount"], item["tax_behavior"]) for item in found] == [
        (tax, "inclusive" if inclusive else "exclusive")
    ]
    assert found[0]["taxable_amount"] == (amount - tax if inclusive else amount)


@pytest.mark.parametrize(("exempt", "reason"), [("exempt", "customer_exempt"), ("reverse", "reverse_charge")])
def test_nobody_exempt_is_taxed(exempt: str, reason: str) -> None:
    found = taxes.on(1000, [rate(19, inclusive=False)], exempt)
    assert (found[0]["amount"], found[0]["taxability_reason"]) == (0, reason)


@given(st.integers(-(10**8), 10**8), st.lists(PERCENTS, min_size=1, max_size=5))
def test_inclusive_taxes_add_up(amount: int, percents: list[Decimal]) -> None:
    rates = [rate(percent, inclusive=True, ident=f"txr_{n}") for n, percent in enumerate(percents)]
    found = taxes.on(amount, rates)
    total = sum(percents, Decimal(0))
    inside = amount - money.round_half_up(Decimal(amount) * 100 / (100 + total))
    assert taxes.inclusive(found) == inside
    assert taxes.exclusive(found) == 0
    assert all(item["taxable_amount"] == amount - inside for item in found)
    assert sum(item["amount"] for item in taxes.totals(found + found)) == 2 * inside


@given(
    st.lists(st.integers(-1000, 100_000), min_size=1, max_size=12),
    st.one_of(st.integers(1, 200_000), st.decimals(min_value="0.01", max_value=100, places=2)),
)
def test_a_discount_is_shared_out_exactly(amounts: list[int], value: int | Decimal) -> None:
    percent = isinstance(value, Decimal)
    coupon = {
        "percent_off": numbers.json_number(value) if isinstance(value, Decimal) else None,
        "amount_off": None if percent else value,
        "currency": None if percent else "usd",
    }
    total = sum(amount for amount in amounts if amount > 0)
    off = discounts.off(coupon, total, "usd")
    assert 0 <= off <= total
    shares = money.allocate(off, [max(amount, 0) for amount in amounts]) if total else []
    assert sum(shares) == (off if total else 0)
    assert all(share <= max(amount, 0) for share, amount in zip(shares, amounts, strict=False))


def test_decimals_are_shown_as_stripe_shows_them() -> None:
    assert [numbers.plain(Decimal(text)) for text in ("1000", "0.50", "1E+3", "0", "-0.10")] == [
        "1000",
        "0.5",
        "1000",
        "0",
        "-0.1",
    ]
    assert numbers.decimal_of("0.000000000001", "x") == Decimal("1E-12")
    for wrong in ("0.0000000000001", "NaN", "Infinity", "one"):
        with pytest.raises(StripeError):
            numbers.decimal_of(wrong, "x")


FIELDS = {"status": search.field("status"), "total": search.field("total"), "a": search.field("deep.a")}
THING: Obj = {"status": "paid", "total": 7, "deep": {"a": None}, "metadata": {"k's": "v w"}}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status:'paid'", True),
        ('status:"PAID" total>6', True),
        ("status:'paid' AND total>7", False),
        ("status:'open' OR total<=7", True),
        ("-status:'paid'", False),
        ("status~'pai'", True),
        ("a:null", True),
        ("-a:null", False),
        ('metadata["k\'s"]:"v w"', True),
        ("metadata['k']:'v'", False),
        ("total=7", True),
    ],
)
def test_a_search(query: str, found: bool) -> None:
    assert search.parse(query, FIELDS)(THING) is found


@pytest.mark.parametrize(
    "query",
    ["", "status", "status:", "nothing:'x'", "status:'a' AND total>1 OR total<3", "status~'pa'", "total>x"],
)
def test_what_is_no_search(query: str) -> None:
    with pytest.raises(StripeError):
        search.parse(query, FIELDS)
