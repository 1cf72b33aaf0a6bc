"""Money is exact, and rounding happens in one place."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.money import (
    CURRENCIES,
    Currency,
    Money,
    UnknownCurrencyError,
    allocate,
    charge_problem,
    convert,
    decimal_text,
    fraction,
    minor_units,
    step_problem,
)

AMOUNTS = st.integers(min_value=-(10**15), max_value=10**15)


def test_money_adds_only_within_a_currency() -> None:
    assert Money(150, "usd") + Money(50, "usd") - Money(1, "usd") == Money(199, "usd")
    with pytest.raises(ValueError, match="do not add up"):
        Money(1, "usd") + Money(1, "eur")


@pytest.mark.parametrize("amount", [1.0, "1", True, None, Decimal(1)])
def test_an_amount_is_an_int_and_nothing_else(amount: object) -> None:
    with pytest.raises(TypeError):
        Money(amount, "usd")  # type: ignore[arg-type]


def test_unknown_and_upper_case_currencies_are_refused() -> None:
    for code in ("usx", "USD", ""):
        with pytest.raises(UnknownCurrencyError):
            Money(1, code)


@pytest.mark.parametrize(
    ("amount", "code", "text"),
    [(123456, "usd", "1,234.56"), (-5, "eur", "-0.05"), (5000, "jpy", "5,000"), (12340, "kwd", "12.340")],
)
def test_decimal_text_follows_the_currency(amount: int, code: str, text: str) -> None:
    assert decimal_text(amount, code) == text


@pytest.mark.parametrize(
    ("amount", "rate", "rounded"), [(5, "0.5", 2), (15, "0.1", 2), (25, "0.1", 2), (-5, "0.5", -2)]
)
def test_halves_round_to_even(amount: int, rate: str, rounded: int) -> None:
    assert fraction(amount, Decimal(rate)) == rounded


def test_conversion_shifts_between_exponents() -> None:
    assert convert(1000, "usd", "jpy", Decimal("150.5")) == 1505
    assert convert(1505, "jpy", "usd", Decimal("0.00664452")) == 1000
    assert convert(1000, "usd", "kwd", Decimal("0.307")) == 3070


@given(AMOUNTS, st.lists(st.integers(min_value=0, max_value=10**6), min_size=1).filter(sum))
def test_allocation_loses_nothing_and_is_fair(amount: int, weights: list[int]) -> None:
    shares = allocate(amount, weights)
    assert sum(shares) == amount
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * sum(weights) - amount * weight) < sum(weights)


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1, 5]])
def test_allocation_refuses_weights_that_share_nothing(weights: list[int]) -> None:
    with pytest.raises(ValueError, match=r"Weights|arg"):
        allocate(100, weights)


@pytest.mark.parametrize(
    ("amount", "code", "fine"),
    [
        (50, "usd", True), (49, "usd", False), (30, "gbp", True), (17499, "huf", False),
        (100_000_000, "usd", False), (1000, "isk", True), (1050, "isk", False), (1000, "ugx", True),
        (1001, "ugx", False), (1230, "kwd", True), (1234, "kwd", False), (0, "xof", False), (1, "xof", True),
    ],
)  # fmt: skip
def test_what_stripe_would_refuse_is_refused_first(amount: int, code: str, fine: bool) -> None:
    assert (charge_problem(amount, code) is None) is fine


def test_the_table_has_every_exponent_as_stripe_documents_it() -> None:
    exponents = {code: row.exponent for code, row in CURRENCIES.items()}
    assert {code for code, exponent in exponents.items() if exponent == 0} == set(
        "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
    )
    assert {code for code, exponent in exponents.items() if exponent == 3} == {
        "bhd",
        "jod",
        "kwd",
        "omr",
        "tnd",
    }


@pytest.mark.parametrize("row", CURRENCIES.values(), ids=lambda row: row.code)
def test_every_currency_takes_what_is_between_its_bounds(row: Currency) -> None:
    least = -(-row.minimum // row.step) * row.step
    most = row.maximum // row.step * row.step
    assert charge_problem(least, row.code) is None
    assert charge_problem(most, row.code) is None
    for wrong in (row.minimum - 1, row.maximum + 1, 0, -row.step):
        assert charge_problem(wrong, row.code) is not None
    if row.step > 1:
        assert "multiple of" in str(charge_problem(most - 1, row.code))
        assert "multiple of" in str(step_problem(row.step + 1, row.code))
    assert step_problem(row.step, row.code) is None  # a part may be below the minimum of a charge
    assert step_problem(0, row.code) is not None


def test_the_largest_charge_is_that_of_the_currency() -> None:
    for digits, code in ((12, "idr"), (10, "cop"), (9, "inr"), (8, "eur")):
        assert charge_problem(10**digits - 1, code) is None
        assert charge_problem(10**digits, code) is not None
    assert step_problem(1, "xyz") is None


@given(st.integers(min_value=0, max_value=10**15), st.sampled_from(["usd", "jpy", "bhd"]))
def test_what_is_shown_can_be_typed(amount: int, code: str) -> None:
    assert minor_units(decimal_text(amount, code), code) == amount
    assert minor_units(decimal_text(amount, code).replace(",", ""), code) == amount


@pytest.mark.parametrize(
    ("typed", "code", "amount"), [("5", "usd", 500), (" 5.5 ", "usd", 550), ("5", "jpy", 5)]
)
def test_decimals_may_be_left_out(typed: str, code: str, amount: int) -> None:
    assert minor_units(typed, code) == amount


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "-1",
        "+1",
        "1.",
        ".5",
        "1,00",
        "12,345,6",
        "1,2345",
        "1.234,50",
        "1 000",
        "1e3",
        "٣",
        "1_0",
        "nan",
        "9" * 19,
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="Write an amount"):
        minor_units(typed, "usd")


@pytest.mark.parametrize(("typed", "code"), [("1.001", "usd"), ("1.0", "jpy"), ("1.0000", "bhd")])
def test_more_decimals_than_a_currency_has_are_refused(typed: str, code: str) -> None:
    with pytest.raises(ValueError, match="decimals"):
        minor_units(typed, code)
