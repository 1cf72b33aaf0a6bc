"""Invoices, what pays them, and Checkout Sessions, told in a story of payments."""

from __future__ import annotations

from typing import Any

from tests.builders import START, Json, StripeStory


def invoice(story: StripeStory, amount: int, currency: str = "usd") -> Json:
    """An invoice that is finalised and open."""
    number = len(story.invoices) + 1
    made: Json = {
        "id": f"in_{number:06d}",
        "object": "invoice",
        "status": "open",
        "currency": currency,
        "customer": "cus_1",
        "total": amount,
        "amount_due": amount,
        "amount_paid": 0,
        "amount_remaining": amount,
        "starting_balance": 0,
        "ending_balance": 0,
        "status_transitions": {"paid_at": None},
    }
    story.invoices[made["id"]] = made
    story.event("invoice.finalized", made)
    return made


def attach(story: StripeStory, of: Json, intent: Json, amount: int) -> Json:
    """An invoice payment: the PaymentIntent is to pay so much of the invoice."""
    number = len(story.invoice_payments) + 1
    made = {
        "id": f"inpay_{number:06d}",
        "object": "invoice_payment",
        "invoice": of["id"],
        "amount_requested": amount,
        "amount_paid": None,
        "currency": of["currency"],
        "is_default": False,
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "open",
        "status_transitions": {"paid_at": None},
    }
    story.invoice_payments[made["id"]] = made
    return made


def paid(story: StripeStory, payment: Json) -> None:
    """The invoice payment's PaymentIntent has succeeded; the invoice is paid when nothing remains."""
    amount, of = payment["amount_requested"], story.invoices[payment["invoice"]]
    transitions = {"paid_at": START + 500_000}
    payment.update(status="paid", amount_paid=amount, status_transitions=transitions)
    remaining = of["amount_remaining"] - amount
    of.update(amount_paid=of["amount_paid"] + amount, amount_remaining=remaining)
    if not remaining:
        _close(story, of)
    story.event("invoice_payment.paid", payment)


def paid_out_of_band(story: StripeStory, of: Json) -> None:
    """What remains of the invoice was paid past Stripe."""
    of.update(amount_paid=of["amount_due"], amount_remaining=0)
    _close(story, of)


def _close(story: StripeStory, of: Json) -> None:
    of.update(status="paid", status_transitions={"paid_at": START + 500_000})
    story.event("invoice.paid", of)


def checkout(story: StripeStory, intent: Json, *, shipping: int = 0, tax: int = 0, **more: Any) -> Json:
    """A Checkout Session that the PaymentIntent pays."""
    number = len(story.checkout_sessions) + 1
    made = {
        "id": f"cs_{number:06d}",
        "object": "checkout.session",
        "mode": "payment",
        "payment_status": "paid",
        "payment_intent": intent["id"],
        "invoice": None,
        "invoice_creation": {"enabled": False},
        "currency": intent["currency"],
        "currency_conversion": None,
        "amount_total": intent["amount"],
        "total_details": {"amount_discount": 0, "amount_shipping": shipping, "amount_tax": tax},
        **more,
    }
    story.checkout_sessions[made["id"]] = made
    story.event("checkout.session.completed", made)
    return made
