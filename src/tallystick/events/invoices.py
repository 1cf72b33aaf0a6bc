"""Stripe's invoices: the notices of what became of one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tallystick.events.spec import Effects, Event, Facts
from tallystick.outbox.notices import Notice, at_utc
from tallystick.stripe_gateway.billing_payloads import Invoice

_FACTS: Final[dict[str, Callable[[Event, Invoice], str]]] = {
    # what happens to an invoice once is named by it alone
    "invoice.finalized": lambda _, invoice: invoice.id,
    "invoice.paid": lambda _, invoice: invoice.id,
    "invoice.voided": lambda _, invoice: invoice.id,
    "invoice.overdue": lambda event, _: event.id,
    "invoice.marked_uncollectible": lambda _, invoice: invoice.id,
    # several attempts can come to nothing
    "invoice.payment_failed": lambda event, _: event.id,
    "invoice.payment_action_required": lambda event, _: event.id,
}
"""What names the fact behind a notice, in its key."""


def on_invoice(event: Event, _facts: Facts) -> Effects:
    """The invoice.* events that have a notice; it bears the name of its event."""
    invoice = Invoice.read(event.object)
    data = {
        "invoice": invoice.id,
        "number": invoice.number,
        "status": invoice.status,
        "customer": invoice.customer,
        "subscription": invoice.subscription,
        "currency": invoice.currency,
        "total": invoice.total,
        "amount_due": invoice.amount_due,
        "amount_paid": invoice.amount_paid,
        "amount_remaining": invoice.amount_remaining,
        "attempt_count": invoice.attempt_count,
        "due_at": at_utc(invoice.due_date),
        "next_attempt_at": at_utc(invoice.next_payment_attempt),
        "metadata": invoice.metadata,
    }
    key = f"{event.type}:{_FACTS[event.type](event, invoice)}"
    return Effects(notices=(Notice(key, event.type, None, data),))
