"""The fields we read from what tells what money was for: invoice payments, Checkout Sessions, and the
transactions of a customer's balance. Pure.

As in ``payloads``: times are Unix seconds, amounts minor units, both as Stripe sends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tallystick.errors import PayloadError
from tallystick.stripe_gateway.fields import (
    JsonObject,
    as_mapping,
    currency_field,
    int_field,
    metadata_of,
    optional_text_field,
    optional_time_field,
    reference,
    rows_of,
    text_field,
    time_field,
)

PaidBy = Literal["payment_intent", "charge", "payment_record"]
_PAID_BY: Final[tuple[PaidBy, ...]] = ("payment_intent", "charge", "payment_record")


@dataclass(frozen=True, slots=True)
class InvoicePayment:
    """What we read of an invoice payment: ``payment``, a ``kind`` of payment, pays for ``invoice``.

    ``amount_paid`` is 0 until it is paid. ``intent`` is the PaymentIntent where it was sent expanded.
    """

    invoice: str
    kind: PaidBy
    payment: str
    intent: JsonObject | None
    status: str
    amount_paid: int
    currency: str
    paid_at: int | None

    @classmethod
    def read(cls, obj: JsonObject, *, of: str | None = None) -> InvoicePayment:
        """``of`` is the invoice that it was sent with, which it need not name again. Raises PayloadError."""
        paid_by = as_mapping(obj.get("payment"))
        for kind in _PAID_BY:
            named = paid_by.get(kind)
            if payment := reference(named):
                break
        else:
            raise PayloadError("invoice_payment.payment names no payment that we know.", param="payment")
        invoice = reference(obj.get("invoice")) or of
        if invoice is None:
            raise PayloadError("invoice_payment.invoice is missing.", param="invoice")
        return cls(
            invoice=invoice,
            kind=kind,
            payment=payment,
            intent=named if isinstance(named, Mapping) else None,
            status=text_field(obj, "status"),
            amount_paid=int_field(obj, "amount_paid", 0),
            currency=currency_field(obj),
            paid_at=optional_time_field(as_mapping(obj.get("status_transitions")), "paid_at"),
        )


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """What we read of a Checkout Session.

    ``tax`` is all of it, also what prices include; ``shipping`` is without tax. ``invoice_expected``: it
    makes an invoice, which may not be there yet. ``converted``: shown in another currency than it is priced
    in, as API versions before basil show it.
    """

    id: str
    mode: str
    paid: bool
    payment_intent: str | None
    intent: JsonObject | None
    invoice: str | None
    invoice_expected: bool
    amount_total: int
    currency: str | None
    tax: int
    shipping: int
    converted: bool
    metadata: dict[str, str]
    lines: tuple[tuple[str | None, str | None, int], ...]
    """Product, price and amount of each line, less its tax, where all of them were sent along."""

    @classmethod
    def read(cls, obj: JsonObject) -> CheckoutSession:
        """Raises PayloadError."""
        intent = obj.get("payment_intent")
        totals = as_mapping(obj.get("total_details"))
        shipping = as_mapping(obj.get("shipping_cost"))
        return cls(
            id=text_field(obj, "id"),
            mode=optional_text_field(obj, "mode") or "payment",
            paid=obj.get("payment_status") == "paid",
            payment_intent=reference(intent),
            intent=intent if isinstance(intent, Mapping) else None,
            invoice=reference(obj.get("invoice")),
            invoice_expected=as_mapping(obj.get("invoice_creation")).get("enabled") is True,
            amount_total=int_field(obj, "amount_total", 0),
            currency=currency_field(obj) if obj.get("currency") is not None else None,
            tax=int_field(totals, "amount_tax", 0),
            # the cost knows how much of it is tax, the totals do not
            shipping=int_field(shipping, "amount_total", 0) - int_field(shipping, "amount_tax", 0)
            if shipping
            else int_field(totals, "amount_shipping", 0),
            converted=isinstance(obj.get("currency_conversion"), Mapping),
            metadata=metadata_of(obj),
            lines=_lines(as_mapping(obj.get("line_items"))),
        )


def _lines(listed: JsonObject) -> tuple[tuple[str | None, str | None, int], ...]:
    """None at all where the list is not whole, or a line takes away: then they are no shares."""
    rows = rows_of(listed)
    if listed.get("has_more"):
        return ()
    lines = []
    for row in rows:
        price = as_mapping(row.get("price"))
        amount = int_field(row, "amount_total", 0) - int_field(row, "amount_tax", 0)
        lines.append((reference(price.get("product")), reference(row.get("price")), amount))
    return tuple(lines) if all(amount >= 0 for *_, amount in lines) else ()


@dataclass(frozen=True, slots=True)
class CustomerBalanceTransaction:
    """What we read of a transaction of a customer's balance: a negative ``amount`` is credit given."""

    id: str
    type: str
    amount: int
    currency: str
    created: int
    customer: str | None

    @classmethod
    def read(cls, obj: JsonObject) -> CustomerBalanceTransaction:
        """Raises PayloadError."""
        return cls(
            id=text_field(obj, "id"),
            type=text_field(obj, "type"),
            amount=int_field(obj, "amount"),
            currency=currency_field(obj),
            created=time_field(obj, "created"),
            customer=reference(obj.get("customer")),
        )
