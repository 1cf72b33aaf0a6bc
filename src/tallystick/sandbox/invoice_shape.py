"""What invoices and their lines look like, and how a line says where it comes from.

A line is an object of its own (``line_item``, table of the same name); an invoice shows copies of its first
ten. Hidden beside a line: ``tax_rates`` (ids; None: the invoice's default ones apply) and ``tax_amounts``
(taxes set by hand). Hidden beside an invoice: ``tax_rates`` (the default ones' ids), ``base_url``,
``setup_future_usage``, ``items`` (ids of the invoice items that were pending before), ``intent``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tallystick.sandbox.numbers import plain
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

SHOWN_LINES: Final = 10
DRAFT_SECONDS: Final = 3600
"""How long a draft that advances by itself waits to be finalised."""

BLANK: Final[Obj] = {
    "id": None,
    "object": "invoice",
    "account_country": "US",
    "account_name": "Tallystick sandbox",
    "account_tax_ids": None,
    "amount_due": 0,
    "amount_overpaid": 0,
    "amount_paid": 0,
    "amount_paid_off_stripe": 0,
    "amount_remaining": 0,
    "amount_shipping": 0,
    "application": None,
    "attempt_count": 0,
    "attempted": False,
    "auto_advance": False,
    "automatic_tax": {
        "disabled_reason": None,
        "enabled": False,
        "liability": None,
        "provider": None,
        "status": None,
    },
    "automatically_finalizes_at": None,
    "billing_reason": "manual",
    "collection_method": "charge_automatically",
    "created": None,
    "currency": None,
    "custom_fields": None,
    "customer": None,
    "customer_account": None,
    "customer_address": None,
    "customer_email": None,
    "customer_name": None,
    "customer_phone": None,
    "customer_shipping": None,
    "customer_tax_exempt": "none",
    "customer_tax_ids": [],
    "default_payment_method": None,
    "default_source": None,
    "default_tax_rates": [],
    "description": None,
    "discounts": [],
    "due_date": None,
    "effective_at": None,
    "ending_balance": None,
    "footer": None,
    "from_invoice": None,
    "hosted_invoice_url": None,
    "invoice_pdf": None,
    "issuer": {"type": "self"},
    "last_finalization_error": None,
    "latest_revision": None,
    "lines": None,
    "livemode": False,
    "metadata": {},
    "next_payment_attempt": None,
    "number": None,
    "on_behalf_of": None,
    "parent": None,
    "payment_settings": {
        "default_mandate": None,
        "payment_method_options": None,
        "payment_method_types": None,
    },
    "period_end": None,
    "period_start": None,
    "post_payment_credit_notes_amount": 0,
    "pre_payment_credit_notes_amount": 0,
    "receipt_number": None,
    "rendering": None,
    "shipping_cost": None,
    "shipping_details": None,
    "starting_balance": 0,
    "statement_descriptor": None,
    "status": "draft",
    "status_details": None,
    "status_transitions": {
        "finalized_at": None,
        "marked_uncollectible_at": None,
        "paid_at": None,
        "voided_at": None,
    },
    "subtotal": 0,
    "subtotal_excluding_tax": 0,
    "test_clock": None,
    "total": 0,
    "total_discount_amounts": [],
    "total_excluding_tax": 0,
    "total_pretax_credit_amounts": [],
    "total_taxes": [],
    "webhooks_delivered_at": None,
}
RENDERING: Final[Obj] = {
    "amount_tax_display": None,
    "pdf": {"page_size": "auto"},
    "template": None,
    "template_version": None,
}


def subscription_parent(subscription: Obj | str, metadata: dict[str, str] | None = None) -> Obj:
    """An invoice's ``parent``: the subscription that it bills, with its metadata as they are now."""
    ident = subscription if isinstance(subscription, str) else subscription["id"]
    tags = subscription["metadata"] if metadata is None and isinstance(subscription, dict) else metadata
    return {
        "quote_details": None,
        "subscription_details": {"metadata": dict(tags or {}), "subscription": ident},
        "type": "subscription_details",
    }


def of_item(item: str, *, proration: bool = False, subscription: str | None = None) -> Obj:
    """A line's ``parent``: an invoice item."""
    return {
        "invoice_item_details": {
            "invoice_item": item,
            "proration": proration,
            "proration_details": {"credited_items": None},
            "subscription": subscription,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }


def of_subscription_item(
    subscription: str,
    subscription_item: str,
    *,
    proration: bool = False,
    invoice_item: str | None = None,
    credited: tuple[str, list[str]] | None = None,
) -> Obj:
    """A line's ``parent``: a subscription item. ``credited``: the invoice and lines that a proration gives
    back."""
    credit = None if credited is None else {"invoice": credited[0], "invoice_line_items": credited[1]}
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": invoice_item,
            "proration": proration,
            "proration_details": {"credited_items": credit},
            "subscription": subscription,
            "subscription_item": subscription_item,
        },
        "type": "subscription_item_details",
    }


def pricing_of(price: Obj | None, unit_amount_decimal: str | None) -> Obj | None:
    """What a line or item says of its price."""
    if price is None:
        return None
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": unit_amount_decimal,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line to be put on a draft.

    ``amount`` is in minor units before discounts and exclusive tax; ``period`` is [start, end) in seconds;
    ``parent`` is made by ``of_item`` or ``of_subscription_item``. ``tax_rates``: ids; None takes the
    invoice's default ones. ``discounts``: ids of discounts on this line alone.
    """

    amount: int
    parent: Obj
    period: tuple[int, int]
    description: str | None = None
    price: Obj | None = None
    unit_amount_decimal: str | None = None
    quantity: Decimal | int | None = 1
    discountable: bool = True
    discounts: tuple[str, ...] = ()
    tax_rates: list[str] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def line_of(call: Call, new: NewLine, currency: str, invoice: str | None) -> tuple[Obj, Obj]:
    """The line object and what is hidden of it; discounts and taxes are still to be computed."""
    quantity = None if new.quantity is None else Decimal(new.quantity)
    start, end = new.period
    line: Obj = {
        "id": call.sandbox.ids.new("il"),
        "object": "line_item",
        "amount": new.amount,
        "currency": currency,
        "description": new.description,
        "discount_amounts": [],
        "discountable": new.discountable,
        "discounts": list(new.discounts),
        "invoice": invoice,
        "livemode": False,
        "metadata": dict(new.metadata),
        "parent": new.parent,
        "period": {"end": end, "start": start},
        "pretax_credit_amounts": [],
        "pricing": pricing_of(new.price, new.unit_amount_decimal),
        "quantity": None if quantity is None else int(quantity),
        "quantity_decimal": None if quantity is None else plain(quantity),
        "subtotal": new.amount,
        "taxes": [],
    }
    return line, {"tax_rates": new.tax_rates, "tax_amounts": None}


def lines_of(call: Call, invoice: str) -> list[Obj]:
    """An invoice's lines, oldest first."""
    return call.store.tables["line_item"].having("invoice", invoice)
