"""The lines of a Checkout Session: what they cost, discounted and taxed; all in minor units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tallystick import money
from tallystick.sandbox import discounts, prices, pricing, promotion_codes, taxes
from tallystick.sandbox.errors import invalid, missing
from tallystick.sandbox.params import exactly_one
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("item", "line item")]

_MOST_LINES: Final = 100


@dataclass(slots=True)
class Line:
    """A line as it was sent and what it sells."""

    sent: dict[str, Any]
    price: Obj
    quantity: int
    subtotal: int
    discount: int = 0


@dataclass(frozen=True, slots=True)
class Sums:
    """What a session comes to."""

    subtotal: int
    discount: int
    tax: int
    total: int


def read(call: Call, sent: list[dict[str, Any]], mode: str, code: str | None) -> tuple[list[Line], str]:
    """The lines that were sent and their one currency. Raises StripeError (400, 404)."""
    if len(sent) > _MOST_LINES:
        raise invalid(f"You can have at most {_MOST_LINES} line items.", param="line_items")
    lines = []
    for index, item in enumerate(sent):
        name = f"line_items[{index}]"
        if exactly_one(item, "price", "price_data") == "price":
            price = call.find("price", item["price"], param=f"{name}[price]")
            if not price["active"]:
                raise invalid(
                    "The price specified is inactive. This field only accepts active prices.",
                    param=f"{name}[price]",
                )
        else:
            price = prices.inline(call, item["price_data"])
        code = code or str(price["currency"])
        _check(item, price, mode, name)
        quantity = item.get("quantity", 0)
        lines.append(Line(item, price, quantity, pricing.amount(call, price, quantity, code)))
    if mode == "subscription" and not any(line.price["recurring"] for line in lines):
        raise invalid(
            "You must provide at least one recurring price in `subscription` mode when using prices."
        )
    return lines, code or call.sandbox.settings.default_currency


def _check(item: dict[str, Any], price: Obj, mode: str, name: str) -> None:
    """Raises StripeError (400) for a price that the mode does not sell, or a quantity it does not take."""
    recurring = price["recurring"]
    if recurring and mode == "payment":
        raise invalid(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode"
            " or use only one-time prices."
        )
    if price["custom_unit_amount"]:
        raise invalid("The sandbox's page does not let customers choose an amount.", param=f"{name}[price]")
    metered = bool(recurring) and recurring["usage_type"] == "metered"
    if metered and "quantity" in item:
        raise invalid(
            "Quantity should not be specified where usage_type is `metered`.", param=f"{name}[quantity]"
        )
    if not metered and "quantity" not in item:
        raise invalid("Quantity is required. Add `quantity` to the line item.", param=f"{name}[quantity]")


def coupon_of(
    call: Call, sent: list[dict[str, Any]], customer: str | None, code: str, total: int
) -> Obj | None:
    """The coupon behind ``discounts``, of which a session takes one. Raises StripeError (400, 404)."""
    if not sent:
        return None
    if len(sent) > 1:
        raise invalid("You can only apply one discount to a Checkout Session.", param="discounts")
    if exactly_one(sent[0], "coupon", "promotion_code") == "promotion_code":
        promotion = call.find(
            "promotion_code", sent[0]["promotion_code"], param="discounts[0][promotion_code]"
        )
        promotion_codes.check(call, promotion, customer or "", total, code)
        ident = promotion["promotion"]["coupon"]
    else:
        ident = sent[0]["coupon"]
    coupon = call.find("coupon", ident, param="discounts[0][coupon]")
    if not coupon["valid"]:
        raise missing("coupon", ident, "discounts[0][coupon]")
    return coupon


def discount(lines: list[Line], coupon: Obj | None, hidden: Obj, code: str) -> None:
    """Take a coupon off the lines that it applies to, in proportion."""
    if coupon is None:
        return
    kept = {**coupon, **hidden}
    products = kept.get("applies_to", {}).get("products")
    taking = [line for line in lines if products is None or line.price["product"] in products]
    total = sum(line.subtotal for line in taking)
    taken = discounts.off(kept, total, code)
    if taken > 0:
        for line, part in zip(taking, money.allocate(taken, [line.subtotal for line in taking]), strict=True):
            line.discount = part


def store(
    call: Call, lines: list[Line], code: str, default_rates: list[str], exempt: str
) -> tuple[list[str], Sums]:
    """Make the lines' objects; returns their ids in order and what they come to."""
    ids = []
    sums = Sums(0, 0, 0, 0)
    for line in lines:
        rates = [call.find("tax_rate", rate) for rate in line.sent.get("tax_rates") or default_rates]
        due = taxes.on(line.subtotal - line.discount, rates, exempt)
        tax = taxes.exclusive(due) + taxes.inclusive(due)
        total = line.subtotal - line.discount + taxes.exclusive(due)
        ids.append(_store(call, line, code, tax, total)["id"])
        sums = Sums(
            sums.subtotal + line.subtotal, sums.discount + line.discount, sums.tax + tax, sums.total + total
        )
    return ids, sums


def _store(call: Call, line: Line, code: str, tax: int, total: int) -> Obj:
    product = call.store.get("product", line.price["product"])
    return call.store.put(
        {
            "id": call.sandbox.ids.new("li"),
            "object": "item",
            "adjustable_quantity": _adjustable(line.sent.get("adjustable_quantity")),
            "amount_discount": line.discount,
            "amount_subtotal": line.subtotal,
            "amount_tax": tax,
            "amount_total": total,
            "currency": code,
            "description": None if product is None else product["name"],
            "metadata": line.sent.get("metadata"),
            "price": dict(line.price),
            "quantity": line.quantity or None,
        },
        {"sent": line.sent},
    )


def of(call: Call, session: Obj) -> list[Obj]:
    """A session's lines, in the order in which they were sent."""
    return [call.find("item", ident) for ident in call.store.hidden(session)["items"]]


def as_line(item: Obj) -> Line:
    """A stored line as it was read."""
    return Line({}, item["price"], item["quantity"] or 0, item["amount_subtotal"], item["amount_discount"])


def reprice(call: Call, item: Obj, sent: dict[str, Any]) -> None:
    """Another quantity of an untaxed line, or another range of it."""
    values: Obj = {}
    if "quantity" in sent:
        amount = pricing.amount(call, item["price"], sent["quantity"], item["currency"])
        values = {"amount_subtotal": amount, "amount_total": amount, "quantity": sent["quantity"]}
    if "adjustable_quantity" in sent:
        values["adjustable_quantity"] = _adjustable(sent["adjustable_quantity"])
    call.store.change(item, **values)


def _adjustable(sent: Obj | None) -> Obj | None:
    return sent and {
        "enabled": sent["enabled"],
        "maximum": sent.get("maximum", 99),
        "minimum": sent.get("minimum", 0),
    }
