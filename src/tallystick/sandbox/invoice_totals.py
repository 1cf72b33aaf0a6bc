"""An invoice's sums: discounts, taxes, totals and what is due, from its lines.

Order, per Stripe: discounts of a line, then those of the invoice, one after another; then tax on what is
left, line by line. ``subtotal`` counts the lines after their own discounts and before the invoice's;
``total`` adds exclusive tax. A draft's ``starting_balance`` is the customer's balance now; ``amount_due`` is
the total with it, never below nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tallystick.sandbox import discounts, taxes
from tallystick.sandbox.invoice_shape import SHOWN_LINES, lines_of
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


@dataclass(frozen=True, slots=True)
class Taxed:
    """A line with the tax rates that apply to it; ``by_hand`` are taxes that were set, not computed."""

    line: Obj
    rates: list[Obj]
    by_hand: list[Obj] | None = None


def refresh(call: Call, invoice: Obj) -> Obj:
    """Compute a draft's lines and sums anew; returns what changed of the invoice."""
    lines = lines_of(call, invoice["id"])
    rates = call.store.hidden(invoice).get("tax_rates", [])
    for line, values in zip(lines, computed(call, invoice, taxed(call, lines, rates)), strict=True):
        call.store.change(line, **values)
    values = sums(call, invoice, lines)
    return call.store.change(invoice, lines=shown(invoice["id"], lines), **values)


def taxed(call: Call, lines: Sequence[Obj], default_rates: list[str]) -> list[Taxed]:
    """Stored lines with their rates: their own, or the invoice's."""
    found = []
    for line in lines:
        hidden = call.store.hidden(line)
        own = hidden.get("tax_rates")
        wanted = default_rates if own is None else own
        rates = [call.find("tax_rate", rate) for rate in wanted]
        found.append(Taxed(line, rates, hidden.get("tax_amounts")))
    return found


def computed(call: Call, invoice: Obj, lines: Sequence[Taxed]) -> list[Obj]:
    """By line: its discounts and taxes."""
    shares = [
        discounts.Share(
            item.line["amount"],
            (item.line["pricing"] or {}).get("price_details", {}).get("product"),
            item.line["discountable"],
        )
        for item in lines
    ]
    currency = invoice["currency"]
    for item, share in zip(lines, shares, strict=True):
        for ident in item.line["discounts"]:
            discounts.apply(call, call.find("discount", ident), [share], currency)
    for ident in invoice["discounts"]:
        discounts.apply(call, call.find("discount", ident), shares, currency)
    exempt = invoice["customer_tax_exempt"] or "none"
    values = []
    for item, share in zip(lines, shares, strict=True):
        by_hand = item.by_hand
        due = taxes.on(share.left, item.rates, exempt) if by_hand is None else by_hand
        values.append(
            {
                "discount_amounts": [
                    {"amount": amount, "discount": ident} for ident, amount in share.taken.items()
                ],
                "pretax_credit_amounts": [
                    {"amount": amount, "discount": ident, "type": "discount"}
                    for ident, amount in share.taken.items()
                ],
                "taxes": due,
            }
        )
    return values


def sums(call: Call, invoice: Obj, lines: Sequence[Obj]) -> Obj:
    """The invoice's sums over lines whose discounts and taxes are computed."""
    own = {line["id"]: set(line["discounts"]) for line in lines}
    subtotal, without_tax = 0, 0
    for line in lines:
        after_own = line["amount"] - sum(
            item["amount"] for item in line["discount_amounts"] if item["discount"] in own[line["id"]]
        )
        subtotal += after_own
        without_tax += after_own - _inclusive_part(call, line, after_own)
    taken = _by_discount(lines)
    off = sum(line["amount"] for line in lines) - sum(amount for amount in taken.values())
    all_taxes = [tax for line in lines for tax in line["taxes"]]
    shipping = invoice["shipping_cost"]
    carried = shipping["amount_total"] if shipping else 0
    total = off + taxes.exclusive(all_taxes) + carried
    discount_amounts = [{"amount": amount, "discount": ident} for ident, amount in taken.items()]
    return {
        "amount_shipping": shipping["amount_subtotal"] if shipping else 0,
        "subtotal": subtotal,
        "subtotal_excluding_tax": without_tax,
        "total": total,
        "total_discount_amounts": discount_amounts,
        "total_excluding_tax": total - taxes.exclusive(all_taxes) - taxes.inclusive(all_taxes),
        "total_pretax_credit_amounts": [{**item, "type": "discount"} for item in discount_amounts],
        "total_taxes": taxes.totals(all_taxes),
        **due(call, invoice, total),
    }


def _inclusive_part(call: Call, line: Obj, amount: int) -> int:
    """The inclusive tax in ``amount`` of a line, whatever the invoice's discounts leave of it."""
    rates = [
        call.find("tax_rate", tax["tax_rate_details"]["tax_rate"])
        for tax in line["taxes"]
        if tax["tax_behavior"] == "inclusive" and tax["taxability_reason"] == taxes.MANUAL
    ]
    return taxes.inclusive(taxes.on(amount, rates))


def _by_discount(lines: Sequence[Obj]) -> dict[str, int]:
    taken: dict[str, int] = {}
    for line in lines:
        for item in line["discount_amounts"]:
            taken[item["discount"]] = taken.get(item["discount"], 0) + item["amount"]
    return taken


def due(call: Call, invoice: Obj, total: int) -> Obj:
    """What is due of a draft's total, with the customer's balance as it is now."""
    customer = call.store.get("customer", invoice["customer"])
    own = customer is not None and customer["currency"] in (None, invoice["currency"])
    balance: int = customer["balance"] if customer is not None and own else 0
    amount = max(0, total + balance) if total >= 0 else 0
    return {"amount_due": amount, "amount_remaining": amount, "starting_balance": balance}


def shown(invoice: str, lines: Sequence[Obj]) -> dict[str, Any]:
    """The list of lines inside an invoice: copies, so that an event's snapshot stays true."""
    return {
        "object": "list",
        "data": [dict(line) for line in lines[:SHOWN_LINES]],
        "has_more": len(lines) > SHOWN_LINES,
        "total_count": len(lines),
        "url": f"/v1/invoices/{invoice}/lines",
    }
