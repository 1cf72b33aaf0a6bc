"""What a subscription bills, line by line: whole periods in advance, usage afterwards, prorations, trials.

A line is plain data; ``subscription_billing`` makes invoice lines and invoice items of it. Descriptions read
as Stripe's do ("2 × Seat (at $10.00 / month)", "Unused time on Seat after 10 Nov 2025").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from tallystick import money
from tallystick.sandbox import discounts, meter_events, pricing
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.item_amounts import Part, parts, share
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_items import metered

Period = tuple[int, int]
"""From its first second to the one after its last."""

_SYMBOLS: Final = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "aud": "A$", "cad": "CA$", "inr": "₹"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: ``amount`` in minor units of the subscription's currency, the period in seconds."""

    item: Obj
    price: Obj
    """What it bills: an item's price may have changed since what a credit gives back."""
    amount: int
    description: str
    start: int
    end: int
    quantity: int | None
    unit: str | None
    proration: bool = False
    credited: Obj | None = None
    """Of a credit: the invoice and its lines that are credited."""


def quantity_of(item: Obj) -> Decimal:
    """How many are subscribed to."""
    return Decimal(item.get("quantity") or 0)


def _parts(call: Call, item: Obj, currency: str, quantity: Decimal) -> list[Part]:
    option = pricing.in_currency(call, item["price"], currency)
    return parts(item["price"], option["unit_amount_decimal"], option["tiers"] or (), quantity)


def cost(call: Call, item: Obj, currency: str) -> int:
    """What a whole period of a licensed item costs, before discounts; nothing for a metered one."""
    if metered(item):
        return 0
    return sum(part.amount for part in _parts(call, item, currency, quantity_of(item)))


def net_costs(call: Call, items: Sequence[Obj], subscription: Obj) -> dict[str, int]:
    """What whole periods of items cost after the subscription's discounts and their own, by item."""
    currency = subscription["currency"]
    shares = {
        item["id"]: discounts.Share(cost(call, item, currency), item["price"]["product"]) for item in items
    }
    for item in items:
        for ident in item["discounts"]:
            discounts.apply(call, call.find("discount", ident), [shares[item["id"]]], currency)
    for ident in terms.discounts_of(call, subscription):
        discounts.apply(call, call.find("discount", ident), list(shares.values()), currency)
    return {ident: held.left for ident, held in shares.items()}


def product_name(call: Call, price: Obj) -> str:
    """The name of the product that a price sells."""
    product = call.store.get("product", price["product"])
    return str(product["name"]) if product else "Subscription"


def shown_money(amount: Decimal, currency: str) -> str:
    """``$10.00``: an amount in minor units as descriptions show it, with as many decimals as it needs."""
    exponent = money.currency(currency).exponent
    value = amount.scaleb(-exponent)
    places = max(exponent, -value.normalize().as_tuple().exponent)  # type: ignore[operator]
    text = f"{value:,.{places}f}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{text}" if symbol else f"{text} {currency.upper()}"


def shown_interval(price: Obj) -> str:
    """``month``, or ``every 3 months``."""
    recurring = price["recurring"]
    if recurring["interval_count"] == 1:
        return f"/ {recurring['interval']}"
    return f"every {recurring['interval_count']} {recurring['interval']}s"


def _described(call: Call, item: Obj, part: Part, currency: str) -> str:
    name, price = product_name(call, item["price"]), item["price"]
    at = f"{shown_money(Decimal(part.unit or '0'), currency)} {shown_interval(price)}"
    if part.tier is not None:
        at = f"Tier {part.tier} at {at}"
        if part.flat:
            return f"{name} ({at})"
        return f"{_number(part.quantity)} × {name} ({at})"
    return f"{_number(part.quantity)} × {name} (at {at})"


def _number(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"


def in_advance(call: Call, item: Obj, currency: str, period: Period) -> list[Line]:
    """The lines of a licensed item for a whole period."""
    return _lines(call, item, currency, quantity_of(item), period)


def by_usage(call: Call, item: Obj, subscription: Obj, period: Period) -> list[Line]:
    """The lines of a metered item for a period that is over; without a meter nothing was used."""
    meter = call.store.get("billing.meter", item["price"]["recurring"].get("meter") or "")
    used = meter_events.usage(call, meter, subscription["customer"], *period) if meter else Decimal(0)
    return _lines(call, item, subscription["currency"], used, period)


def _lines(call: Call, item: Obj, currency: str, quantity: Decimal, period: Period) -> list[Line]:
    return [
        Line(
            item=item,
            price=item["price"],
            amount=part.amount,
            description=_described(call, item, part, currency),
            start=period[0],
            end=period[1],
            quantity=int(part.quantity) if part.quantity == int(part.quantity) else None,
            unit=part.unit,
        )
        for part in _parts(call, item, currency, quantity)
    ]


def trial(call: Call, item: Obj, period: Period) -> Line:
    """The line of nothing that a trial bills."""
    return Line(
        item=item,
        price=item["price"],
        amount=0,
        description=f"Trial period for {_several(call, item)}",
        start=period[0],
        end=period[1],
        quantity=item.get("quantity", 0),
        unit="0",
    )


def first_part(call: Call, item: Obj, currency: str, whole: Period, moment: int) -> list[Line]:
    """The lines of a licensed item from ``moment`` to the end of the ``whole`` period that it lies in."""
    if moment <= whole[0]:
        return in_advance(call, item, currency, whole)
    amount = share(cost(call, item, currency), *whole, moment)
    return [_prorated(call, item, amount, (moment, whole[1]))]


def until(call: Call, item: Obj, currency: str, whole: Period, moment: int) -> Line:
    """The line of a licensed item for the part of a period before ``moment``, when it ends."""
    net = cost(call, item, currency)
    return _prorated(call, item, net - share(net, *whole, moment), (whole[0], moment))


def credit(call: Call, item: Obj, billed: Obj, moment: int) -> Line | None:
    """The credit for what was ``billed`` of an item and is unused from ``moment`` on; None: nothing is."""
    amount = share(billed["amount"], billed["start"], billed["end"], moment)
    if amount == 0:
        return None
    credited = None
    if billed["invoice"] is not None:
        credited = {"invoice": billed["invoice"], "invoice_line_items": billed["lines"]}
    period = (max(moment, billed["start"]), billed["end"])
    return _prorated(call, item, -amount, period, credited=credited)


def remaining(call: Call, item: Obj, net: int, period: Period, moment: int) -> Line | None:
    """The debit for an item from ``moment`` to the end of its period, of which the whole costs ``net``."""
    amount = share(net, *period, moment)
    return _prorated(call, item, amount, (max(moment, period[0]), period[1])) if amount else None


def _prorated(call: Call, item: Obj, amount: int, period: Period, credited: Obj | None = None) -> Line:
    words = "Unused" if amount < 0 else "Remaining"
    day = datetime.fromtimestamp(period[0], UTC).strftime("%d %b %Y")
    return Line(
        item=item,
        price=item["price"],
        amount=amount,
        description=f"{words} time on {_several(call, item)} after {day}",
        start=period[0],
        end=period[1],
        quantity=item.get("quantity"),
        unit=None,
        proration=True,
        credited=credited,
    )


def _several(call: Call, item: Obj) -> str:
    name, quantity = product_name(call, item["price"]), item.get("quantity", 1)
    return name if quantity == 1 else f"{quantity} × {name}"
