"""What a credit note comes to: its lines with their share of discounts and taxes, and its sums.

A credited part of an invoice line carries the same part of the line's discounts, and is taxed by the line's
rates; custom lines have rates or tax amounts of their own. ``total`` first reduces what remains due
(``pre_payment_amount``); the rest (``post_payment_amount``) was paid and is given back.
Source: https://docs.stripe.com/api/credit_notes/create
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tallystick import money
from tallystick.sandbox import taxes
from tallystick.sandbox.errors import StripeError, invalid, missing, refused
from tallystick.sandbox.numbers import plain
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


@dataclass(slots=True)
class Draft:
    """Lines and sums, minor units."""

    lines: list[Obj] = field(default_factory=list)
    subtotal: int = 0
    total: int = 0
    pre_payment: int = 0
    post_payment: int = 0

    @property
    def taxes(self) -> list[Obj]:
        """The taxes of all lines."""
        return [tax for line in self.lines for tax in line["taxes"]]

    @property
    def discounts(self) -> dict[str, int]:
        """What discounts take off, by id."""
        taken: dict[str, int] = {}
        for line in self.lines:
            for item in line["discount_amounts"]:
                taken[item["discount"]] = taken.get(item["discount"], 0) + item["amount"]
        return taken


def drafted(call: Call, invoice: Obj, params: dict[str, Any]) -> Draft:
    """The lines and sums of a credit note with these parameters; raises StripeError (400)."""
    if not any(name in params for name in ("amount", "lines")):
        raise invalid(
            "One of the following params should be provided for this request: amount, lines.",
            param="amount",
        )
    draft = Draft()
    for index, sent in enumerate(params.get("lines", ())):
        name = f"lines[{index}]"
        whole = sent["type"] == "invoice_line_item"
        draft.lines.append(_part(call, invoice, sent, name) if whole else _custom(call, invoice, sent, name))
    if "lines" not in params:
        sent = {"quantity": 1, "unit_amount": params["amount"], "description": params.get("memo")}
        draft.lines.append(_custom(call, invoice, sent, "lines[0]"))
    draft.subtotal = sum(line["amount"] for line in draft.lines)
    draft.total = draft.subtotal - sum(draft.discounts.values()) + taxes.exclusive(draft.taxes)
    if params.get("amount", draft.total) != draft.total:
        raise refused(
            f"The amount ({params['amount']}) does not equal the total of the lines ({draft.total}).",
            param="amount",
        )
    _check_total(invoice, draft.total)
    draft.pre_payment = min(draft.total, invoice["amount_remaining"])
    draft.post_payment = draft.total - draft.pre_payment
    return draft


def _check_total(invoice: Obj, total: int) -> None:
    code = invoice["currency"]
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    left = invoice["total"] - credited
    if total <= 0:
        raise invalid("The credit note amount must be greater than zero.", param="amount")
    if total > left:
        raise refused(
            f"The credit note amount ({money.decimal_text(total, code)} {code}) is greater than what can be"
            f" credited on the invoice ({money.decimal_text(left, code)} {code}).",
            param="amount",
        )


def _blank(call: Call, sent: dict[str, Any], **values: Any) -> Obj:
    return {
        "id": call.sandbox.ids.new("cnli"),
        "object": "credit_note_line_item",
        "amount": 0,
        "description": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "livemode": False,
        "metadata": sent.get("metadata", {}),
        "pretax_credit_amounts": [],
        "quantity": None,
        "tax_rates": [],
        "taxes": [],
        "type": "custom_line_item",
        "unit_amount": None,
        "unit_amount_decimal": None,
        **values,
    }


def _part(call: Call, invoice: Obj, sent: dict[str, Any], name: str) -> Obj:
    """A part of an invoice's line, by amount or by quantity; all of it when neither is given."""
    ident = sent.get("invoice_line_item")
    if ident is None:
        raise _lacks(f"{name}[invoice_line_item]")
    line = call.store.get("line_item", ident)
    if line is None or line["invoice"] != invoice["id"]:
        raise missing("invoice line item", ident, f"{name}[invoice_line_item]")
    if "amount" in sent and "quantity" in sent:
        raise invalid(
            "You may only specify one of these parameters: amount, quantity.", param=f"{name}[quantity]"
        )
    amount, quantity = line["amount"], sent.get("quantity")
    if "amount" in sent:
        amount = sent["amount"]
    elif quantity is not None:
        if not line["quantity"] or quantity > line["quantity"]:
            raise refused("The quantity exceeds that of the invoice line item.", param=f"{name}[quantity]")
        amount = money.round_half_up(Decimal(line["amount"] * quantity) / line["quantity"])
    credited = _credited(call, invoice, ident)
    if amount > line["amount"] - credited:
        raise refused(
            "The amount exceeds what is left to credit of the invoice line item.", param=f"{name}[amount]"
        )
    taken = [
        {"amount": _share(item["amount"], amount, line["amount"]), "discount": item["discount"]}
        for item in line["discount_amounts"]
    ]
    off = sum(item["amount"] for item in taken)
    return _blank(
        call,
        sent,
        amount=amount,
        description=line["description"],
        discount_amount=off,
        discount_amounts=taken,
        invoice_line_item=ident,
        pretax_credit_amounts=[{**item, "type": "discount"} for item in taken],
        quantity=quantity if quantity is not None else line["quantity"],
        tax_rates=[dict(call.find("tax_rate", tax["tax_rate_details"]["tax_rate"])) for tax in line["taxes"]],
        taxes=_taxes_of_part(call, line, (amount, off), sent, name),
        type="invoice_line_item",
    )


def _taxes_of_part(
    call: Call, line: Obj, credited: tuple[int, int], sent: dict[str, Any], name: str
) -> list[Obj]:
    """The taxes of a credited (amount, discount) of a line."""
    amount, off = credited
    if sent.get("tax_rates"):
        raise invalid("Only custom lines take tax_rates.", param=f"{name}[tax_rates]")
    if sent.get("tax_amounts"):
        return [_by_hand(call, tax) for tax in sent["tax_amounts"]]
    if amount == line["amount"]:
        return list(line["taxes"])
    if call.store.hidden(line).get("tax_amounts") is not None:
        return [
            {
                **tax,
                "amount": _share(tax["amount"], amount, line["amount"]),
                "taxable_amount": _share(tax["taxable_amount"] or 0, amount, line["amount"]),
            }
            for tax in line["taxes"]
        ]
    exempt = {"customer_exempt": "exempt", "reverse_charge": "reverse"}
    reason = line["taxes"][0]["taxability_reason"] if line["taxes"] else ""
    rates = [call.find("tax_rate", tax["tax_rate_details"]["tax_rate"]) for tax in line["taxes"]]
    return taxes.on(amount - off, rates, exempt.get(reason, "none"))


def _share(value: int, part: int, whole: int) -> int:
    """``part`` of ``whole`` of a value."""
    return money.round_half_up(Decimal(value * part) / whole) if whole else 0


def _credited(call: Call, invoice: Obj, line: str) -> int:
    """What earlier credit notes gave back of a line."""
    notes = call.store.tables["credit_note"].having("invoice", invoice["id"])
    return sum(
        item["amount"]
        for note in notes
        if note["status"] == "issued"
        for item in call.store.hidden(note)["lines"]
        if item.get("invoice_line_item") == line
    )


def _custom(call: Call, invoice: Obj, sent: dict[str, Any], name: str) -> Obj:
    """A line of its own: a unit amount and a quantity."""
    unit = sent.get("unit_amount_decimal", sent.get("unit_amount"))
    if unit is None:
        raise _lacks(f"{name}[unit_amount]")
    quantity = sent.get("quantity", 1)
    number = Decimal(unit)
    amount = money.round_half_up(number * quantity)
    if sent.get("tax_rates") and sent.get("tax_amounts"):
        raise invalid("You cannot use tax_rates with tax_amounts.", param=f"{name}[tax_amounts]")
    rates = [call.find("tax_rate", rate, param=f"{name}[tax_rates]") for rate in sent.get("tax_rates") or []]
    if sent.get("tax_amounts"):
        due = [_by_hand(call, tax) for tax in sent["tax_amounts"]]
    else:
        due = taxes.on(amount, rates, invoice["customer_tax_exempt"] or "none")
    return _blank(
        call,
        sent,
        amount=amount,
        description=sent.get("description"),
        quantity=quantity,
        tax_rates=[dict(rate) for rate in rates],
        taxes=due,
        unit_amount=int(number) if number == number.to_integral_value() else None,
        unit_amount_decimal=plain(number),
    )


def _by_hand(call: Call, sent: dict[str, Any]) -> Obj:
    rate = call.find("tax_rate", sent["tax_rate"], param="tax_rate")
    return {
        "amount": sent["amount"],
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": taxes.MANUAL,
        "taxable_amount": sent["taxable_amount"],
        "type": "tax_rate_details",
    }


def _lacks(name: str) -> StripeError:
    return invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
