"""Tax on one amount by a list of tax rates, exact to the minor unit; and sums of such taxes.

Each line is taxed on its own and rounded half up (Stripe, "Rounding rules": per line item). Exclusive tax is
added to the amount; inclusive tax is found inside it: amount − amount ÷ (1 + Σ inclusive rates), shared out
by rate so that the parts add up. Exclusive rates apply to what is left without the inclusive tax.
A tax is shown as ``{amount, tax_behavior, tax_rate_details, taxability_reason, taxable_amount, type}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tallystick import money
from tallystick.sandbox.numbers import exact
from tallystick.sandbox.store import Obj

MANUAL = "not_available"
"""The reason that Stripe gives for taxes by rates that were set by hand."""

_EXEMPT = {"exempt": "customer_exempt", "reverse": "reverse_charge"}


def on(amount: int, rates: Iterable[Obj], exempt: str = "none") -> list[Obj]:
    """The taxes on ``amount`` minor units; none is due from a customer who is ``exempt`` or ``reverse``."""
    listed = list(rates)
    if exempt in _EXEMPT:
        return [_shown(rate, 0, amount, _EXEMPT[exempt]) for rate in listed]
    inclusive = [rate for rate in listed if rate["inclusive"]]
    parts = dict(zip((rate["id"] for rate in inclusive), _inside(amount, inclusive), strict=True))
    base = amount - sum(parts.values())
    taxes = []
    for rate in listed:
        if rate["inclusive"]:
            due = parts[rate["id"]]
        else:
            due = money.round_half_up(Decimal(base) * exact(rate["percentage"]) / 100)
        taxes.append(_shown(rate, due, base, MANUAL))
    return taxes


def _inside(amount: int, rates: list[Obj]) -> list[int]:
    """How much of ``amount`` is tax, by rate."""
    percents = [exact(rate["percentage"]) for rate in rates]
    total = sum(percents, Decimal(0))
    if total == 0:
        return [0] * len(rates)
    whole = amount - money.round_half_up(Decimal(amount) * 100 / (100 + total))
    return money.allocate(whole, [int(percent * 10_000) for percent in percents])


def _shown(rate: Obj, amount: int, taxable: int, reason: str) -> Obj:
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": reason,
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def exclusive(taxes: Iterable[Obj]) -> int:
    """Σ of the taxes that come on top."""
    return sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive")


def inclusive(taxes: Iterable[Obj]) -> int:
    """Σ of the taxes that are inside the amounts."""
    return sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "inclusive")


def totals(taxes: Iterable[Obj]) -> list[Obj]:
    """Taxes added up by rate and reason, in order of first appearance."""
    found: dict[tuple[str, str, str], Obj] = {}
    for tax in taxes:
        key = (tax["tax_rate_details"]["tax_rate"], tax["tax_behavior"], tax["taxability_reason"])
        held = found.get(key)
        if held is None:
            found[key] = dict(tax)
        else:
            held["amount"] += tax["amount"]
            held["taxable_amount"] = (held["taxable_amount"] or 0) + (tax["taxable_amount"] or 0)
    return list(found.values())
