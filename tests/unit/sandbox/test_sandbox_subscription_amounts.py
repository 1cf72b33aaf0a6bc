"""The arithmetic of subscriptions: periods, tiers, prorations; nothing is lost or billed twice."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.sandbox import periods
from tallystick.sandbox.item_amounts import parts, share

MOMENTS = st.integers(0, 4_000_000_000)
INTERVALS = st.sampled_from(periods.INTERVALS)


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@given(MOMENTS, INTERVALS, st.integers(1, 6), MOMENTS)
def test_cycles_tile_time(anchor: int, interval: str, count: int, moment: int) -> None:
    start, end = periods.containing(anchor, interval, count, moment)
    assert start <= moment < end
    assert periods.containing(anchor, interval, count, end)[0] == end
    assert periods.containing(anchor, interval, count, start - 1)[1] == start


@pytest.mark.parametrize(
    ("months", "day"), [(1, "2025-02-28"), (2, "2025-03-31"), (3, "2025-04-30"), (13, "2026-02-28")]
)
def test_a_month_without_the_anchors_day_ends_on_its_last(months: int, day: str) -> None:
    assert periods.add(_at("2025-01-31T10:00"), "month", months) == _at(f"{day}T10:00")


def test_an_anchor_by_day_of_month() -> None:
    start = _at("2025-01-15T08:30")
    none = (None, None, None)
    assert periods.aligned(start, "month", 1, day=1, month=None, clock=none) == _at("2025-02-01T08:30")
    assert periods.aligned(start, "month", 1, day=31, month=None, clock=(0, 0, 0)) == _at("2025-01-31T00:00")
    assert periods.aligned(start, "year", 1, day=1, month=7, clock=(0, 0, 0)) == _at("2025-07-01T00:00")


@given(st.integers(-(10**8), 10**8), st.integers(0, 10**7), st.integers(1, 10**8), st.data())
def test_what_is_used_and_what_is_unused_add_up(amount: int, start: int, length: int, data: Any) -> None:
    end = start + length
    moment = data.draw(st.integers(start, end))
    unused = share(amount, start, end, moment)
    assert abs(unused) <= abs(amount)
    # The time before, seen from the end of a mirrored period, is the rest, to the minor unit but for a tie.
    assert abs(amount - unused - share(amount, start, end, start + end - moment)) <= 1
    assert share(amount, start, end, start) == amount
    assert share(amount, start, end, end) == 0


@given(st.integers(0, 10**7), st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10**6)), max_size=8))
def test_many_changes_in_a_period_credit_what_was_billed(price: int, changes: list[tuple[int, int]]) -> None:
    """Each change credits the unused part of the last debit and debits the new price's: never more."""
    start, end = 0, 1000
    billed, since, credited, debited = price, start, 0, price
    for moment, new in sorted(changes):
        credit = share(billed, since, end, moment)
        assert 0 <= credit <= billed
        credited += credit
        billed, since = share(new, start, end, moment), moment
        debited += billed
    assert credited <= debited
    assert share(billed, since, end, end) == 0


PER_UNIT = {"billing_scheme": "per_unit", "transform_quantity": None}


@given(st.integers(0, 10**6), st.integers(0, 10**4))
def test_units_cost_their_number(unit: int, quantity: int) -> None:
    (part,) = parts(PER_UNIT, str(unit), (), Decimal(quantity))
    assert part.amount == unit * quantity


@pytest.mark.parametrize(("rounding", "amount"), [("up", 300), ("down", 200)])
def test_packages(rounding: str, amount: int) -> None:
    price = {**PER_UNIT, "transform_quantity": {"divide_by": 10, "round": rounding}}
    assert parts(price, "100", (), Decimal(25))[0].amount == amount


def _tier(up_to: int | None, unit: str | None, flat: str | None = None) -> dict[str, Any]:
    return {"up_to": up_to, "unit_amount_decimal": unit, "flat_amount_decimal": flat}


TIERS = [_tier(5, "1000"), _tier(10, "800", "50"), _tier(None, "0.5")]


@pytest.mark.parametrize(
    ("mode", "quantity", "amounts"),
    [
        ("graduated", 0, [0]),
        ("graduated", 5, [5000]),
        ("graduated", 7, [5000, 1600, 50]),
        ("graduated", 13, [5000, 4000, 50, 2]),
        ("volume", 5, [5000]),
        ("volume", 6, [4800, 50]),
        ("volume", 11, [6]),
    ],
)
def test_tiers(mode: str, quantity: int, amounts: list[int]) -> None:
    price = {"billing_scheme": "tiered", "tiers_mode": mode, "transform_quantity": None}
    assert [part.amount for part in parts(price, None, TIERS, Decimal(quantity))] == amounts


@given(st.integers(0, 10**4))
def test_graduated_tiers_cover_every_unit_once(quantity: int) -> None:
    price = {"billing_scheme": "tiered", "tiers_mode": "graduated", "transform_quantity": None}
    found = parts(price, None, TIERS, Decimal(quantity))
    assert sum(part.quantity for part in found) == quantity
