"""What a quantity of a price costs line by line, and what a part of a period costs: pure arithmetic.

Sources: Stripe's docs, "Set up tiered pricing" (volume: one price for all; graduated: a tier's price for its
own units; flat amounts are added) and "Prorations" (to the second). ``money`` rounds and allocates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from tallystick import money

Tiers = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """One invoice line's worth: ``amount`` in minor units, ``unit`` the price of one as a decimal string.

    ``tier`` counts from 1; None where the price has no tiers. A tier's flat amount is a part of its own.
    """

    quantity: Decimal
    amount: int
    unit: str | None
    tier: int | None = None
    flat: bool = False


def parts(price: dict[str, Any], unit: str | None, tiers: Tiers, quantity: Decimal) -> list[Part]:
    """What ``quantity`` costs; at least one part, also for nothing.

    ``unit`` is the decimal unit amount; a tiered price has ``tiers`` with ``up_to``, ``unit_amount_decimal``
    and ``flat_amount_decimal`` instead.
    """
    billed = _transformed(price, quantity)
    if price["billing_scheme"] != "tiered":
        return [Part(quantity, money.round_half_up(Decimal(unit or "0") * billed), unit)]
    return _volume(tiers, billed) if price["tiers_mode"] == "volume" else _graduated(tiers, billed)


def _transformed(price: dict[str, Any], quantity: Decimal) -> Decimal:
    transform = price.get("transform_quantity")
    if not transform:
        return quantity
    rounding = ROUND_CEILING if transform["round"] == "up" else ROUND_FLOOR
    packages = quantity / Decimal(transform["divide_by"])
    return packages.to_integral_value(rounding=rounding)


def _of_tier(tier: dict[str, Any], number: int, quantity: Decimal) -> list[Part]:
    unit, flat = tier["unit_amount_decimal"], tier["flat_amount_decimal"]
    found = []
    if unit is not None or flat is None:
        amount = money.round_half_up(Decimal(unit or "0") * quantity)
        found.append(Part(quantity, amount, unit or "0", number))
    if flat is not None:
        found.append(Part(Decimal(0), money.round_half_up(Decimal(flat)), flat, number, flat=True))
    return found


def _volume(tiers: Tiers, quantity: Decimal) -> list[Part]:
    for number, tier in enumerate(tiers, 1):
        if tier["up_to"] is None or quantity <= tier["up_to"]:
            return _of_tier(tier, number, quantity)
    return _of_tier(tiers[-1], len(tiers), quantity)


def _graduated(tiers: Tiers, quantity: Decimal) -> list[Part]:
    found: list[Part] = []
    below = Decimal(0)
    for number, tier in enumerate(tiers, 1):
        top = quantity if tier["up_to"] is None else min(quantity, Decimal(tier["up_to"]))
        if number > 1 and top <= below:
            break
        found += _of_tier(tier, number, top - below)
        below = top
    return found


def share(amount: int, start: int, end: int, moment: int) -> int:
    """The part of ``amount``, billed for [start, end), that falls on the time from ``moment`` on.

    With the part before ``moment`` it adds up to ``amount`` exactly.
    """
    if moment <= start or end <= start:
        return amount
    if moment >= end:
        return 0
    return money.allocate(amount, [end - moment, moment - start])[0]
