"""Discounts: a coupon given to a customer, a subscription, an invoice or one of its items; what it takes off.

For subscriptions: ``give`` turns the ``discounts`` parameter (``SENT``) into discount ids; ``copied`` carries
a discount over to the invoice that it is used on.
Several discounts apply one after another, each to what the ones before have left.
Source: https://docs.stripe.com/billing/subscriptions/coupons
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tallystick import money
from tallystick.sandbox import coupons, periods, promotion_codes
from tallystick.sandbox.errors import refused
from tallystick.sandbox.numbers import exact
from tallystick.sandbox.params import Params, clearable, exactly_one, list_of, text
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("discount", "discount")]

SENT: Final = clearable(list_of(Params({"coupon": text(), "discount": text(), "promotion_code": text()})))
"""The ``discounts`` parameter; None (an empty value) takes all away."""


def give(
    call: Call,
    sent: list[dict[str, Any]] | None,
    *,
    customer: str,
    amount: int | None = None,
    currency: str = "",
    **holder: str,
) -> list[str]:
    """Discounts for what was sent, by id. ``holder`` names what they are on: ``invoice="in_…"``.

    ``amount`` and ``currency`` are checked against a promotion code's minimum. Raises StripeError (400).
    """
    given = []
    for index, item in enumerate(sent or []):
        name = exactly_one(item, "coupon", "discount", "promotion_code")
        param = f"discounts[{index}][{name}]"
        if name == "discount":
            found = call.find("discount", item["discount"], param=param)
            given.append(copied(call, found, **holder)["id"])
            continue
        promotion = None
        if name == "promotion_code":
            promotion = call.find("promotion_code", item["promotion_code"], param=param)
            code = currency or call.sandbox.settings.default_currency
            promotion_codes.check(call, promotion, customer, amount, code)
        ident = promotion["promotion"]["coupon"] if promotion else item["coupon"]
        coupon = call.find("coupon", ident, param=param)
        given.append(make(call, coupon, customer=customer, promotion=promotion, **holder)["id"])
    return given


def make(call: Call, coupon: Obj, *, customer: str, promotion: Obj | None = None, **holder: str) -> Obj:
    """A new discount by a coupon, counted as a redemption; 400 when the coupon is used up."""
    if not coupon["valid"]:
        raise refused(f"Coupon expired: {coupon['id']}", code="coupon_expired", param="coupon")
    coupons.redeem(call, coupon)
    if promotion is not None:
        promotion_codes.redeem(call, promotion)
    end = None
    if coupon["duration"] == "repeating":
        end = periods.add(call.now, "month", coupon["duration_in_months"])
    discount: Obj = {
        "id": call.sandbox.ids.new("di"),
        "object": "discount",
        "checkout_session": None,
        "customer": customer,
        "customer_account": None,
        "end": end,
        "invoice": holder.get("invoice"),
        "invoice_item": holder.get("invoice_item"),
        "promotion_code": promotion["id"] if promotion else None,
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": call.now,
        "subscription": holder.get("subscription"),
        "subscription_item": holder.get("subscription_item"),
    }
    # A deleted coupon's discounts go on, so what is needed of it is kept with them.
    kept = {**coupon, **call.store.hidden(coupon)}
    return call.store.put(discount, {"coupon": kept})


def copied(call: Call, discount: Obj, **holder: str) -> Obj:
    """The same discount on another object; no new redemption."""
    fresh: Obj = {
        **discount,
        "id": call.sandbox.ids.new("di"),
        **{name: holder.get(name) for name in ("invoice", "invoice_item")},
    }
    for name in ("subscription", "subscription_item"):
        fresh[name] = holder.get(name, discount[name])
    return call.store.put(fresh, dict(call.store.hidden(discount)))


def ended(discount: Obj, now: int) -> bool:
    """Whether a repeating discount has run out."""
    return discount["end"] is not None and discount["end"] <= now


@dataclass(slots=True)
class Share:
    """A line as discounts see it: its amount, what it sells, and by discount id what has been taken off."""

    amount: int
    product: str | None = None
    discountable: bool = True
    taken: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """What is left of the amount."""
        return self.amount - sum(self.taken.values())


def apply(call: Call, discount: Obj, lines: Sequence[Share], currency: str) -> None:
    """Take one discount off ``lines``, shared out in proportion; credits and exempt lines are left alone."""
    coupon = call.store.hidden(discount)["coupon"]
    products = coupon.get("applies_to", {}).get("products")
    taking = [
        line
        for line in lines
        if line.discountable and line.left > 0 and (products is None or line.product in products)
    ]
    total = sum(line.left for line in taking)
    taken = off(coupon, total, currency)
    if taken <= 0:
        return
    shares = money.allocate(taken, [line.left for line in taking])
    for line, share in zip(taking, shares, strict=True):
        line.taken[discount["id"]] = line.taken.get(discount["id"], 0) + share


def off(coupon: Obj, total: int, currency: str) -> int:
    """How much a coupon takes off ``total`` minor units."""
    if coupon["percent_off"] is not None:
        return money.round_half_up(Decimal(total) * exact(coupon["percent_off"]) / 100)
    if coupon["currency"] == currency:
        return min(total, int(coupon["amount_off"]))
    option = coupon.get("currency_options", {}).get(currency)
    return min(total, option["amount_off"]) if option else 0
