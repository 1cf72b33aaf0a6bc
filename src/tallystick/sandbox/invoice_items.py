"""Invoice items: what waits for a customer's next invoice, or stands on a draft already.

For subscriptions: ``make`` an item (a proration, say), ``pending`` to find those that wait, ``put_on`` to
move them onto a draft. Hidden beside an item: ``tax_rates`` (ids; None: the invoice's default ones).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tallystick.sandbox import invoice_drafts, invoice_totals
from tallystick.sandbox.errors import refused
from tallystick.sandbox.invoice_shape import NewLine, lines_of, of_item, of_subscription_item, pricing_of
from tallystick.sandbox.numbers import plain
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "invoiceitem"
TABLES: Final = [TableSpec(KIND, "invoice item", indexes=("customer", "invoice"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An item to be made; fields as ``NewLine`` has them.

    ``subscription`` binds it to that subscription's next invoice; with ``subscription_item`` its line says
    so too. ``credited``: the invoice and lines that a proration gives back.
    """

    amount: int
    currency: str
    period: tuple[int, int]
    description: str | None = None
    price: Obj | None = None
    unit_amount_decimal: str | None = None
    quantity: Decimal | int = 1
    discountable: bool = True
    tax_rates: list[str] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    proration: bool = False
    subscription: str | None = None
    subscription_item: str | None = None
    credited: tuple[str, list[str]] | None = None


def make(call: Call, customer: Obj, new: NewItem) -> Obj:
    """A new item that waits for an invoice, with invoiceitem.created."""
    call = call.living_in(customer["test_clock"])
    start, end = new.period
    parent = None
    if new.subscription is not None:
        details = {"subscription": new.subscription}
        if new.subscription_item is not None:
            details["subscription_item"] = new.subscription_item
        parent = {"subscription_details": details, "type": "subscription_details"}
    item: Obj = {
        "id": call.sandbox.ids.new("ii"),
        "object": KIND,
        "amount": new.amount,
        "currency": new.currency,
        "customer": customer["id"],
        "customer_account": None,
        "date": call.now,
        "description": new.description,
        "discountable": new.discountable,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": dict(new.metadata),
        "parent": parent,
        "period": {"end": end, "start": start},
        "pricing": pricing_of(new.price, new.unit_amount_decimal),
        "proration": new.proration,
        "quantity": int(new.quantity),
        "quantity_decimal": plain(new.quantity),
        "tax_rates": [dict(call.find("tax_rate", rate, param="tax_rates")) for rate in new.tax_rates or []],
        "test_clock": customer["test_clock"],
    }
    call.store.put(item, {"tax_rates": new.tax_rates, "credited": new.credited})
    if customer["currency"] is None:
        call.store.change(customer, currency=new.currency)
    call.emit("invoiceitem.created", item)
    return item


def pending(call: Call, customer: str, currency: str, subscription: str | None = None) -> list[Obj]:
    """The items that wait for a customer's next invoice in a currency, oldest first.

    An invoice of a subscription takes that subscription's items and those of none; any other invoice only
    the latter.
    """
    return [
        item
        for item in call.store.tables[KIND].having("customer", customer)
        if item["invoice"] is None
        and item["currency"] == currency
        and subscription_of(item) in (None, subscription)
    ]


def subscription_of(item: Obj) -> str | None:
    """The subscription that an item is bound to."""
    details = (item["parent"] or {}).get("subscription_details") or {}
    found: str | None = details.get("subscription")
    return found


def put_on(call: Call, invoice: Obj, items: Iterable[Obj], *, waited: bool = True) -> None:
    """Move items onto a draft; the sums are still to be refreshed.

    Those that ``waited`` wait again when the draft is deleted.
    """
    moved = []
    for item in items:
        invoice_drafts.add_line(call, invoice, line_for(call, item))
        call.store.change(item, invoice=invoice["id"])
        if waited:
            moved.append(item["id"])
    held = call.store.hidden(invoice).get("items", [])
    call.store.hide(invoice, items=[*held, *moved])


def line_for(call: Call, item: Obj) -> NewLine:
    """The line that an item makes on an invoice."""
    hidden = call.store.hidden(item)
    details = (item["parent"] or {}).get("subscription_details") or {}
    if details.get("subscription_item"):
        parent = of_subscription_item(
            details["subscription"],
            details["subscription_item"],
            proration=item["proration"],
            invoice_item=item["id"],
            credited=hidden.get("credited"),
        )
    else:
        parent = of_item(item["id"], proration=item["proration"], subscription=details.get("subscription"))
    pricing = item["pricing"]
    return NewLine(
        amount=item["amount"],
        parent=parent,
        period=(item["period"]["start"], item["period"]["end"]),
        description=item["description"],
        price=call.store.get("price", pricing["price_details"]["price"]) if pricing else None,
        unit_amount_decimal=pricing["unit_amount_decimal"] if pricing else None,
        quantity=Decimal(item["quantity_decimal"]),
        discountable=item["discountable"],
        discounts=tuple(item["discounts"]),
        tax_rates=hidden.get("tax_rates"),
        metadata=item["metadata"],
    )


def line_of(call: Call, item: Obj) -> Obj | None:
    """The line that shows an item, if it is on an invoice."""
    if item["invoice"] is None:
        return None
    lines = lines_of(call, item["invoice"])
    return next((line for line in lines if invoice_drafts.item_of(line) == item["id"]), None)


def change(call: Call, item: Obj, values: dict[str, Any], tax_rates: list[str] | bool | None) -> None:
    """Change an item, and its line if it is on a draft. ``tax_rates`` False: they stay as they are."""
    line = line_of(call, item)
    invoice = call.find("invoice", item["invoice"]) if item["invoice"] is not None else None
    if invoice is not None and invoice["status"] != "draft":
        raise refused(
            "This invoice item can't be changed: it is on an invoice that is finalized.",
            code="invoice_not_editable",
        )
    call.store.change(item, **values)
    if not isinstance(tax_rates, bool):
        call.store.hide(item, tax_rates=tax_rates)
        call.store.change(
            item, tax_rates=[dict(call.find("tax_rate", rate, param="tax_rates")) for rate in tax_rates or []]
        )
    if line is None or invoice is None:
        return
    shown = {name: value for name, value in values.items() if name in line}
    if "amount" in shown:
        shown["subtotal"] = shown["amount"]
    call.store.change(line, **shown)
    if not isinstance(tax_rates, bool):
        call.store.hide(line, tax_rates=tax_rates, tax_amounts=None)
    invoice_totals.refresh(call, invoice)


def remove(call: Call, item: Obj) -> None:
    """Delete an item, and its line if it is on a draft; invoiceitem.deleted."""
    line = line_of(call, item)
    if item["invoice"] is not None:
        invoice = call.find("invoice", item["invoice"])
        invoice_drafts.editable(invoice)
        if line is not None:
            invoice_drafts.remove_line(call, invoice, line)
        previous = invoice_totals.refresh(call, invoice)
        if previous:
            call.emit("invoice.updated", invoice, previous)
    call.emit("invoiceitem.deleted", item)
    call.store.remove(item)
