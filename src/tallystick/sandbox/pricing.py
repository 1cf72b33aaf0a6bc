"""What a quantity of a price costs, in the price's currency or another that it is sold in.

Tiers and currency options are kept hidden beside the price, since the API shows them only on request:

* ``tiers``: ``[{"up_to": int | None, "unit_amount_decimal": str | None, "flat_amount_decimal": …}]``
* ``currency_options``: ``{currency: {"unit_amount_decimal", "tax_behavior", "tiers", …}}``

Source: https://docs.stripe.com/products-prices/pricing-models
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tallystick.sandbox import item_amounts
from tallystick.sandbox.errors import refused
from tallystick.sandbox.numbers import plain
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def amount(call: Call, price: Obj, quantity: Decimal | int, currency: str | None = None) -> int:
    """What ``quantity`` costs, minor units; 400 when the price is not sold in ``currency``."""
    option = in_currency(call, price, currency or price["currency"])
    units = Decimal(quantity)
    parts = item_amounts.parts(price, option["unit_amount_decimal"], option["tiers"] or (), units)
    return sum(part.amount for part in parts)


def unit_amount_decimal(call: Call, price: Obj, currency: str | None = None) -> str | None:
    """The decimal amount of one unit; None for tiers."""
    unit: str | None = in_currency(call, price, currency or price["currency"])["unit_amount_decimal"]
    return unit


def in_currency(call: Call, price: Obj, currency: str) -> Obj:
    """Unit amount, tiers and tax behaviour of a price in a currency."""
    hidden = call.store.hidden(price)
    if currency == price["currency"]:
        return {
            "unit_amount_decimal": price["unit_amount_decimal"],
            "tiers": hidden.get("tiers"),
            "tax_behavior": price["tax_behavior"],
        }
    option: Obj | None = hidden.get("currency_options", {}).get(currency)
    if option is None:
        raise refused(
            f"The price specified only supports `{price['currency']}`. This doesn't match the expected"
            f" currency: `{currency}`.",
            param="price",
        )
    return {"tiers": None, **option}


def both_forms(params: dict[str, Any], name: str = "unit_amount") -> Obj:
    """``unit_amount`` and ``unit_amount_decimal`` from whichever was sent; null when neither was."""
    value = params.get(f"{name}_decimal", params.get(name))
    if value is None:
        return {name: None, f"{name}_decimal": None}
    number = Decimal(value)
    whole = int(number) if number == number.to_integral_value() else None
    return {name: whole, f"{name}_decimal": plain(number)}
