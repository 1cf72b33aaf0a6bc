"""How invoices, their lines, items, discounts and credit notes looked in older API versions.

Each step undoes what one version brought; ``versions.CHANGES`` takes them in. Before basil (2025-03-31) the
old fields stood beside the new ones, as recorded answers of acacia show.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tallystick.sandbox import taxes

if TYPE_CHECKING:
    from tallystick.sandbox.store import Obj
    from tallystick.sandbox.versions import Relations, Undo

_ENDIVE: Final = "2026-09-30.endive"
_PAID_OFF_STRIPE: Final = "2026-05-27.dahlia"
_DAHLIA: Final = "2026-03-25.dahlia"
_CLOVER: Final = "2025-09-30.clover"
_BASIL: Final = "2025-03-31.basil"


def _without(*names: str) -> Undo:
    def undo(obj: Obj, _relations: Relations) -> None:
        for name in names:
            obj.pop(name, None)

    return undo


def _trial_days(price: Obj, _relations: Relations) -> None:
    if price["recurring"] is not None:
        price["recurring"] = {**price["recurring"], "trial_period_days": None}


def _coupon_of(ident: Any, relations: Relations) -> Any:
    """The coupon itself, as discounts and promotion codes contained it; its id when it is gone."""
    return relations.look_up("coupon", ident) or ident if isinstance(ident, str) else ident


def _discount(discount: Obj, relations: Relations) -> None:
    discount["coupon"] = _coupon_of(discount.pop("source")["coupon"], relations)


def _promotion_code(code: Obj, relations: Relations) -> None:
    code["coupon"] = _coupon_of(code.pop("promotion")["coupon"], relations)


def _tax_amounts(due: list[Obj] | None) -> list[Obj]:
    return [
        {
            "amount": tax["amount"],
            "inclusive": tax["tax_behavior"] == "inclusive",
            "tax_rate": tax["tax_rate_details"]["tax_rate"],
            "taxability_reason": None
            if tax["taxability_reason"] == "not_available"
            else tax["taxability_reason"],
            "taxable_amount": tax["taxable_amount"],
        }
        for tax in due or []
    ]


def _rates(due: list[Obj] | None, relations: Relations) -> list[Obj]:
    ids = [tax["tax_rate_details"]["tax_rate"] for tax in due or []]
    return [rate for ident in ids if (rate := relations.look_up("tax_rate", ident)) is not None]


def _without_tax(amount: int, due: list[Obj] | None, relations: Relations) -> int:
    """``amount`` without its inclusive tax, whatever discounts leave of it."""
    manual = [tax for tax in due or [] if tax["taxability_reason"] == taxes.MANUAL]
    return amount - taxes.inclusive(taxes.on(amount, _rates(manual, relations)))


def _invoice(invoice: Obj, relations: Relations) -> None:
    intent = relations.intent_of(invoice["id"])
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    due = invoice["total_taxes"] or []
    first = next(iter(invoice["discounts"]), None)
    shown = relations.look_up("discount", first) if isinstance(first, str) else first
    paid_elsewhere = invoice["status"] == "paid" and invoice.get("amount_paid_off_stripe", 0) > 0
    invoice.pop("confirmation_secret", None)
    invoice.pop("payments", None)
    invoice["automatic_tax"] = {k: v for k, v in invoice["automatic_tax"].items() if k != "provider"}
    invoice |= {
        "application_fee_amount": None,
        "charge": intent["latest_charge"] if intent else None,
        "discount": None if shown is None else _rendered_discount(shown, relations),
        "paid": invoice["status"] == "paid",
        "paid_out_of_band": paid_elsewhere,
        "payment_intent": intent["id"] if intent else None,
        "quote": None,
        "subscription": details.get("subscription"),
        "subscription_details": {"metadata": details.get("metadata")},
        "tax": sum(tax["amount"] for tax in due) if due else None,
        "total_tax_amounts": _tax_amounts(due),
        "transfer_data": None,
    }


def _rendered_discount(discount: Obj, relations: Relations) -> Obj:
    if "coupon" in discount:
        return discount
    shown = {name: value for name, value in discount.items() if name != "customer_account"}
    _discount(shown, relations)
    return shown


def _details(parent: Obj | None) -> Obj:
    parent = parent or {}
    return parent.get("invoice_item_details") or parent.get("subscription_item_details") or {}


def _price(pricing: Obj | None, relations: Relations) -> Obj | None:
    return relations.look_up("price", pricing["price_details"]["price"]) if pricing else None


def _line(line: Obj, relations: Relations) -> None:
    details = _details(line["parent"])
    of_item = (line["parent"] or {}).get("type") != "subscription_item_details"
    price = _price(line["pricing"], relations)
    without_tax = _without_tax(line["amount"], line["taxes"], relations)
    line |= {
        "amount_excluding_tax": without_tax,
        "plan": _plan(price) if price and price["recurring"] else None,
        "price": price,
        "proration": details.get("proration", False),
        "proration_details": details.get("proration_details") or {"credited_items": None},
        "subscription": details.get("subscription"),
        "tax_amounts": _tax_amounts(line["taxes"]),
        "tax_rates": _rates(line["taxes"], relations),
        "type": "invoiceitem" if of_item else "subscription",
        "unit_amount_excluding_tax": _unit(without_tax, line["quantity"]),
    }
    if details.get("invoice_item"):
        line["invoice_item"] = details["invoice_item"]
    if not of_item:
        line["subscription_item"] = details["subscription_item"]


def _unit(amount: int, quantity: int | None) -> str | None:
    if not quantity:
        return None
    shown = f"{Decimal(amount) / quantity:.12f}"
    return shown.rstrip("0").rstrip(".")


def _plan(price: Obj) -> Obj:
    recurring = price["recurring"]
    names = ("active", "billing_scheme", "created", "currency", "livemode", "metadata", "nickname", "product")
    return {
        "id": price["id"],
        "object": "plan",
        **{name: price[name] for name in names},
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "meter": recurring["meter"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def _item(item: Obj, relations: Relations) -> None:
    details = (item["parent"] or {}).get("subscription_details") or {}
    price = _price(item["pricing"], relations)
    item |= {
        "plan": _plan(price) if price and price["recurring"] else None,
        "price": price,
        "subscription": details.get("subscription"),
        "unit_amount": price["unit_amount"] if price else None,
        "unit_amount_decimal": price["unit_amount_decimal"] if price else None,
    }
    if details.get("subscription_item"):
        item["subscription_item"] = details["subscription_item"]


def _credit_note(note: Obj, _relations: Relations) -> None:
    refund = next(iter(note["refunds"]), None)
    note |= {"refund": refund["refund"] if refund else None, "tax_amounts": _tax_amounts(note["total_taxes"])}


def _credit_note_line(line: Obj, relations: Relations) -> None:
    without_tax = _without_tax(line["amount"], line["taxes"], relations)
    line |= {
        "amount_excluding_tax": without_tax,
        "tax_amounts": _tax_amounts(line["taxes"]),
        "unit_amount_excluding_tax": _unit(without_tax, line["quantity"]),
    }


def _of_invoice(intent: Obj, relations: Relations) -> None:
    intent.setdefault("invoice", relations.invoice_of(intent["id"]))


def _charge_of_invoice(charge: Obj, relations: Relations) -> None:
    intent = charge["payment_intent"]
    ident = intent["id"] if isinstance(intent, dict) else intent
    charge.setdefault("invoice", relations.invoice_of(ident) if ident else None)


CHANGES: Final[list[tuple[str, str, Undo]]] = [
    (_ENDIVE, "invoice", _without("status_details")),
    (_PAID_OFF_STRIPE, "invoice", _without("amount_paid_off_stripe")),
    (_DAHLIA, "invoice", _without("customer_account")),
    (_DAHLIA, "invoiceitem", _without("customer_account", "quantity_decimal")),
    (_DAHLIA, "line_item", _without("quantity_decimal", "subtotal")),
    (_DAHLIA, "credit_note", _without("customer_account")),
    (_DAHLIA, "credit_note_line_item", _without("metadata")),
    (_DAHLIA, "customer_balance_transaction", _without("customer_account")),
    (_DAHLIA, "discount", _without("customer_account")),
    (_DAHLIA, "promotion_code", _without("customer_account")),
    (_DAHLIA, "tax_id", _without("customer_account")),
    (_DAHLIA, "price", _trial_days),
    (_CLOVER, "discount", _discount),
    (_CLOVER, "promotion_code", _promotion_code),
    (_CLOVER, "payment_intent", _without("payment_details")),
    (_BASIL, "invoice", _invoice),
    (_BASIL, "line_item", _line),
    (_BASIL, "invoiceitem", _item),
    (_BASIL, "credit_note", _credit_note),
    (_BASIL, "credit_note_line_item", _credit_note_line),
    (_BASIL, "payment_intent", _of_invoice),
    (_BASIL, "charge", _charge_of_invoice),
]
"""Newest first."""
