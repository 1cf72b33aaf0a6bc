"""The map of accounts: which rule fits, and what is refused in words."""

from __future__ import annotations

import pytest

from tallystick.errors import ConfigurationError
from tallystick.ledger.chart import AccountType, account_type
from tallystick.ledger.revenue_map import RevenueMap, SaleLine

MAP = """
[[revenue]]
account = "revenue:plans:pro_eu"
metadata = { plan = "pro", region = "eu" }

[[revenue]]
account = "revenue:plans:pro"
metadata = { plan = "pro" }

[[revenue]]
account = "revenue:books"
product = "prod_book"

[[revenue]]
account = "revenue:gifts"
price = "price_gift"
"""


@pytest.mark.parametrize(
    ("metadata", "line", "account"),
    [
        ({"plan": "pro", "region": "eu"}, SaleLine(), "revenue:plans:pro_eu"),
        ({"plan": "pro", "region": "us"}, SaleLine("prod_book"), "revenue:plans:pro"),
        ({"plan": "Pro"}, SaleLine(), "revenue:payments"),
        ({}, SaleLine("prod_book", "price_gift"), "revenue:books"),
        ({}, SaleLine("prod_other", "price_gift"), "revenue:gifts"),
        ({}, SaleLine(), "revenue:payments"),
    ],
)
def test_the_first_rule_that_fits_counts(metadata: dict[str, str], line: SaleLine, account: str) -> None:
    assert RevenueMap.read(MAP).rule(metadata, line).account == account


def test_lines_on_the_same_account_are_added() -> None:
    lines = (
        SaleLine("prod_book", None, 700),
        SaleLine("prod_x", None, 200),
        SaleLine("prod_book", None, 100),
    )
    found = RevenueMap.read(MAP).shares({}, lines)
    assert list(found.items()) == [("revenue:books", 800), ("revenue:payments", 200)]


def test_refunds_follow_the_rule_of_their_sale() -> None:
    refunds = 'product = "prod_book"\nrefunds = "revenue:refunds:books"'
    made = RevenueMap.read(MAP.replace('product = "prod_book"', refunds))
    lines = (SaleLine("prod_book", None, 700), SaleLine("prod_x", None, 300))
    assert made.refund_shares({}, lines) == {"revenue:refunds": 300, "revenue:refunds:books": 700}
    assert made.refund_shares({"plan": "pro"}, lines) == {"revenue:refunds": 1000}
    assert (made.maps_refunds, RevenueMap.read(MAP).maps_refunds) == (True, False)
    assert account_type("revenue:refunds:books") is AccountType.CONTRA_REVENUE
    assert account_type("revenue:refunds_of_books") is AccountType.REVENUE


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        *(
            (f"[[revenue]]\naccount = 'revenue:x'\nproduct = 'p'\nrefunds = '{wrong}'", problem)
            for wrong, problem in (
                ("revenue:x", "no account for refunds"),
                ("revenue:refunds:", "not an account name"),
                ("revenue:refunds_of_x", "no account for refunds"),
            )
        ),
        ("[[revenue", "not TOML"),
        ("[revenue]\naccount = 'revenue:x'", r"written as \[\[revenue\]\]"),
        ("[[income]]", "'income' is not known"),
        ("\n[[revenue]]\nmetadata = {a = 'b'}", "rule 1, line 2: '' is not an account name"),
        (MAP + "[[revenue]]\naccount = 'Revenue:X'\nproduct = 'p'", "rule 5, line 17: 'Revenue:X' is not an"),
        ("[[revenue]]\naccount = 'assets:bank'\nproduct = 'p'", "assets:bank is no account of revenue"),
        (
            "[[revenue]]\naccount = 'revenue:refunds'\nproduct = 'p'",
            "revenue:refunds is no account of revenue",
        ),
        ("[[revenue]]\naccount = 'revenue:x'", "would fit every sale"),
        ("[[revenue]]\naccount = 'revenue:x'\nsku = 'p'", "'sku' is not known"),
        ("[[revenue]]\naccount = 'revenue:x'\nproduct = 7", "product is no text"),
        ("[[revenue]]\naccount = 'revenue:x'\nmetadata = { a = 1 }", "metadata is a table of texts"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(body: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        RevenueMap.read(body)
