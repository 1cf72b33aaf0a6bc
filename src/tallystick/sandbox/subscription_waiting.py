"""What waits for a subscription's next invoice: prorations, and one-time prices added by a call."""

from __future__ import annotations

from typing import Any

from tallystick.sandbox import discounts, invoice_items, prices, pricing
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import exactly_one
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_lines import Line, product_name


def pending(call: Call, subscription: Obj) -> list[Obj]:
    """The invoice items that wait for the subscription's next invoice."""
    return invoice_items.pending(
        call, subscription["customer"], subscription["currency"], subscription=subscription["id"]
    )


def pend(call: Call, subscription: Obj, line: Line) -> Obj:
    """Keep a line as an invoice item, for the subscription's next invoice."""
    item, credited = line.item, line.credited
    return invoice_items.make(
        call,
        call.find("customer", subscription["customer"]),
        invoice_items.NewItem(
            amount=line.amount,
            currency=subscription["currency"],
            period=(line.start, line.end),
            description=line.description,
            price=line.price,
            quantity=1 if line.quantity is None else line.quantity,
            discountable=False,
            tax_rates=[rate["id"] for rate in item["tax_rates"]] or None,
            metadata=subscription["metadata"],
            proration=line.proration,
            subscription=subscription["id"],
            subscription_item=item["id"],
            credited=(credited["invoice"], credited["invoice_line_items"]) if credited else None,
        ),
    )


def pend_once(call: Call, subscription: Obj, sent: dict[str, Any], name: str) -> None:
    """A one-time price for the subscription's next invoice (``add_invoice_items``)."""
    if exactly_one(sent, "price", "price_data") == "price":
        price = call.find("price", sent["price"], param=f"{name}[price]")
        if price["type"] != "one_time":
            raise invalid(
                "The price specified is set to `type=recurring` but this field only accepts prices with"
                " `type=one_time`.",
                param=f"{name}[price]",
            )
    else:
        price = prices.inline(call, sent["price_data"])
    quantity, currency = sent.get("quantity", 1), subscription["currency"]
    customer = call.find("customer", subscription["customer"])
    item = invoice_items.make(
        call,
        customer,
        invoice_items.NewItem(
            amount=pricing.amount(call, price, quantity, currency),
            currency=currency,
            period=_once_period(call, subscription, sent.get("period")),
            description=product_name(call, price),
            price=price,
            unit_amount_decimal=pricing.unit_amount_decimal(call, price, currency),
            quantity=quantity,
            discountable=sent.get("discountable", True),
            tax_rates=sent.get("tax_rates") or None,
            metadata=sent.get("metadata", {}),
            subscription=subscription["id"],
        ),
    )
    if sent.get("discounts"):
        given = discounts.give(
            call, sent["discounts"], customer=customer["id"], currency=currency, invoice_item=item["id"]
        )
        call.store.change(item, discounts=given)


def _once_period(call: Call, subscription: Obj, sent: dict[str, Any] | None) -> tuple[int, int]:
    if sent is None:
        return call.now, call.now
    held = items.of(call, subscription)
    start, end = sent["start"], sent["end"]
    starts = {"now": call.now, "max_item_period_start": max(item["current_period_start"] for item in held)}
    ends = {"min_item_period_end": min(item["current_period_end"] for item in held)}
    return (
        starts.get(start["type"], start.get("timestamp", call.now)),
        ends.get(end["type"], end.get("timestamp", call.now)),
    )
