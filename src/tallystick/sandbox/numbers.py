"""Numbers that are not minor units: quantities, percentages and decimal unit amounts, exact in ``Decimal``.

Stripe takes decimals as strings with at most 12 places and shows them without trailing zeros.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import Check, integer

_PLACES: Final = 12


def decimal_of(value: Any, name: str) -> Decimal:
    """A decimal number with at most 12 places."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise invalid(f"Invalid decimal: {value}; must be a decimal number.", param=name) from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):  # NaN, Infinity
        raise invalid(f"Invalid decimal: {value}; must be a decimal number.", param=name)
    if -exponent > _PLACES:
        raise invalid(f"Invalid decimal: {value}; must contain at maximum 12 decimal places.", param=name)
    return number


def at_least(least: int) -> Check:
    """An integer from ``least`` on."""

    def check(value: Any, name: str) -> int:
        number = integer(value, name)
        if number < least:
            raise invalid(
                f"This value must be greater than or equal to {least}.",
                param=name,
                code="parameter_invalid_integer",
            )
        return number

    return check


def decimal_at_least_zero(value: Any, name: str) -> Decimal:
    """A decimal that is not negative."""
    number = decimal_of(value, name)
    if number < 0:
        raise invalid("This value must be greater than or equal to 0.", param=name)
    return number


def percentage(value: Any, name: str) -> Decimal:
    """A percentage from 0 to 100 with at most four places."""
    number = decimal_of(value, name)
    if not 0 <= number <= 100:
        raise invalid("This value must be between 0 and 100.", param=name)
    if number != round(number, 4):
        raise invalid("This value must have at most 4 decimal places.", param=name)
    return number


def plain(number: Decimal | int) -> str:
    """As Stripe writes a decimal: ``1000``, ``0.5``; never an exponent, never trailing zeros."""
    shown = f"{Decimal(number):f}"
    return (shown.rstrip("0").rstrip(".") or "0") if "." in shown else shown


def json_number(number: Decimal) -> int | float:
    """As JSON shows a percentage: 20, 25.5. Nothing computes with it; see ``exact``."""
    return int(number) if number == int(number) else float(number)


def exact(shown: float | str) -> Decimal:
    """What ``json_number`` or ``plain`` showed, as a number to compute with."""
    return Decimal(str(shown))
