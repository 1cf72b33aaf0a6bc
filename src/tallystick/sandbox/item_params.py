"""What invoice items and lines take, and what the parameters come to: amount, price, quantity.

A bare ``amount`` is given a price of its own, made in silence and shared by equal ones, as Stripe does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tallystick import money
from tallystick.sandbox import discounts, price_shape, prices, pricing, product_shape
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.numbers import at_least, decimal_at_least_zero, decimal_of, plain
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    currency,
    integer,
    list_of,
    merged_metadata,
    metadata,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.versions import BASIL

PERIOD: Final = Params({"end": integer, "start": integer}, required=("end", "start"))
_PRICING: Final = Params({"price": text()})
TAX_RATES: Final = clearable(list_of(text()))

ITEM_FIELDS: Final[dict[str, Check]] = {
    "amount": integer,
    "description": clearable(text()),
    "discountable": boolean,
    "discounts": discounts.SENT,
    "metadata": metadata,
    "period": PERIOD,
    "price": text(),
    "price_data": price_shape.inline(),
    "pricing": _PRICING,
    "quantity": at_least(0),
    "quantity_decimal": decimal_at_least_zero,
    "tax_behavior": price_shape.TAX_BEHAVIOR,
    "tax_code": unsupported("it has no Stripe Tax; use tax_rates"),
    "tax_rates": TAX_RATES,
    "unit_amount": price_shape.signed_amount,
    "unit_amount_decimal": decimal_of,
}
CREATE_ITEM: Final = Params(
    {
        **ITEM_FIELDS,
        "currency": currency,
        "customer": text(),
        "invoice": text(),
        "subscription": text(),
    },
    required=("customer",),
)
UPDATE_ITEM: Final = Params(ITEM_FIELDS)


@dataclass(frozen=True, slots=True)
class Worth:
    """What an item or line costs: minor units, its price and the decimal amount of one unit."""

    amount: int
    currency: str
    price: Obj
    unit_amount_decimal: str | None
    quantity: Decimal


def chosen(params: dict[str, Any]) -> bool:
    """Whether the parameters say anything of a price."""
    return any(
        name in params
        for name in ("amount", "price", "pricing", "price_data", "unit_amount", "unit_amount_decimal")
    )


def worth(call: Call, params: dict[str, Any], code: str | None, old: Obj | None = None) -> Worth:
    """What the parameters come to. ``code``: the currency if it is known; ``old``: what is changed.

    Raises StripeError (400) when they do not go together, or say nothing of a price.
    """
    quantity = _quantity(params, old)
    named = _price(call, params)
    if named is None and old is not None and not chosen(params):
        named = call.find("price", old["pricing"]["price_details"]["price"])
        if "quantity" not in params and "quantity_decimal" not in params:
            return Worth(
                old["amount"], old["currency"], named, old["pricing"]["unit_amount_decimal"], quantity
            )
    if named is not None:
        code = code or named["currency"]
        amount = pricing.amount(call, named, quantity, code)
        return Worth(amount, code, named, pricing.unit_amount_decimal(call, named, code), quantity)
    return _bare(call, params, code, quantity)


def _quantity(params: dict[str, Any], old: Obj | None) -> Decimal:
    if "quantity" in params and "quantity_decimal" in params:
        raise invalid(
            "You may only specify one of these parameters: quantity, quantity_decimal.",
            param="quantity_decimal",
        )
    held: Any = (old or {}).get("quantity_decimal") or 1
    return Decimal(params.get("quantity_decimal", params.get("quantity", held)))


def _price(call: Call, params: dict[str, Any]) -> Obj | None:
    """The price that was named or described."""
    given = [name for name in ("amount", "price", "pricing", "price_data") if name in params]
    if len(given) > 1:
        raise invalid(f"You may only specify one of these parameters: {', '.join(given)}.", param=given[1])
    if "price" in params:
        if call.versioned and call.since(BASIL):
            raise invalid("Received unknown parameter: price", param="price", code="parameter_unknown")
        return _one_time(call.find("price", params["price"], param="price"))
    if params.get("pricing", {}).get("price"):
        return _one_time(call.find("price", params["pricing"]["price"], param="pricing[price]"))
    if "price_data" in params:
        return prices.inline(call, params["price_data"])
    return None


def _one_time(price: Obj) -> Obj:
    if price["type"] != "one_time":
        raise invalid(
            f"The price specified is set to `type=recurring` but this field only accepts prices with"
            f" `type=one_time`: {price['id']}.",
            param="pricing[price]",
        )
    return price


def _bare(call: Call, params: dict[str, Any], code: str | None, quantity: Decimal) -> Worth:
    """An amount, or a unit amount and a quantity, without a price."""
    if code is None:
        raise invalid("Missing required param: currency.", param="currency", code="parameter_missing")
    if "amount" in params:
        if "unit_amount" in params or "unit_amount_decimal" in params or quantity != 1:
            raise invalid("You cannot specify a quantity or a unit amount with `amount`.", param="amount")
        amount: int = params["amount"]
        unit = Decimal(amount)
    else:
        sent = params.get("unit_amount_decimal", params.get("unit_amount"))
        if sent is None:
            raise invalid(
                "You must provide one of the following: amount, price_data, pricing or unit_amount_decimal.",
                param="amount",
                code="parameter_missing",
            )
        unit = Decimal(sent)
        amount = money.round_half_up(unit * quantity)
    price = _silent_price(call, unit, code, params)
    return Worth(amount, code, price, plain(unit), quantity)


def _silent_price(call: Call, unit: Decimal, code: str, params: dict[str, Any]) -> Obj:
    """The archived price of a bare amount; equal ones share it."""
    title = params.get("description") or "Invoice item"
    behavior = params.get("tax_behavior", "unspecified")
    account = call.sandbox.account_id
    product_id = f"prod_{_digest(account, title)[:14]}"
    if call.store.get("product", product_id) is None:
        product = {
            **product_shape.BLANK,
            "id": product_id,
            "active": False,
            "created": call.now,
            "name": title,
            "updated": call.now,
        }
        call.store.put(product)
    price_id = f"price_1{_digest(account, title, plain(unit), code, behavior)[:23]}"
    price = call.store.get("price", price_id)
    if price is None:
        values = {"currency": code, "unit_amount_decimal": unit, "active": False, "tax_behavior": behavior}
        price = prices.make(call, values, product_id, ident=price_id, event=False)
    return price


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def described(call: Call, params: dict[str, Any], price: Obj) -> str | None:
    """The product's name, for an item that has a price; a bare amount has no description."""
    if not ({"price", "pricing", "price_data"} & params.keys()):
        return None
    name: str = call.find("product", price["product"])["name"]
    return name


def values_of(call: Call, item: Obj, params: dict[str, Any]) -> Obj:
    """An item's or line's fields as parameters make them; discounts and tax rates are the caller's."""
    values: Obj = {name: params[name] for name in ("description", "discountable", "period") if name in params}
    if "metadata" in params:
        values["metadata"] = merged_metadata(item["metadata"], params["metadata"])
    if chosen(params) or "quantity" in params or "quantity_decimal" in params:
        cost = worth(call, params, item["currency"], item)
        values |= {
            "amount": cost.amount,
            "pricing": {
                "price_details": {"price": cost.price["id"], "product": cost.price["product"]},
                "type": "price_details",
                "unit_amount_decimal": cost.unit_amount_decimal,
            },
            "quantity": int(cost.quantity),
            "quantity_decimal": plain(cost.quantity),
        }
    return values
