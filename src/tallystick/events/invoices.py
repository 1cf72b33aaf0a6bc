"""Stripe's invoices: the notices of what became of one, and what paid it. Pure.

What is owed by an invoice, its revenue and its tax are not posted here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tallystick.events.applications import invoice_paid, purpose_of
from tallystick.events.customer_balances import balance_effects
from tallystick.events.notice_data import invoice_data
from tallystick.events.spec import NO_EFFECTS, Effects, Event, Facts, Question, moment
from tallystick.ledger import chart
from tallystick.ledger.entries import credit, debit, post, transactions
from tallystick.outbox.notices import Notice
from tallystick.stripe_gateway.application_payloads import CheckoutSession, InvoicePayment
from tallystick.stripe_gateway.billing_payloads import Invoice

PAID_INVOICE: Final = "paid_invoice"
"""A question: an invoice that is paid, with all its payments."""

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


def on_invoice(event: Event, facts: Facts) -> Effects:
    """The invoice.* events that have a notice, which bears the event's name; and what paid it."""
    invoice = Invoice.read(event.object)
    effects = Effects(notices=(_notice(event, invoice),))
    if invoice.status == "paid" and invoice.amount_due > 0:
        effects += _paid(invoice, event, facts)
    if invoice.balance_used:
        effects += balance_effects(invoice.customer, event, facts)
    return effects


def _notice(event: Event, invoice: Invoice) -> Notice:
    key = f"{event.type}:{_FACTS[event.type](event, invoice)}"
    return Notice(key, event.type, None, invoice_data(invoice))


def on_invoice_payment(event: Event, facts: Facts) -> Effects:
    """invoice_payment.paid: a payment pays an invoice, or a part of it."""
    if event.object.get("status") != "paid":
        return NO_EFFECTS
    payment = InvoicePayment.read(event.object)
    return invoice_paid(payment, heard_at=event.created, source=event.id, facts=facts)


def on_checkout_session(event: Event, facts: Facts) -> Effects:
    """checkout.session.completed, checkout.session.async_payment_succeeded: the invoice that it made.

    What was sold without one is told by the payment itself, which knows what was captured. Where the invoice
    has invoice payments, they tell of it; so it does itself where the amounts here are in another currency.
    """
    session = CheckoutSession.read(event.object)
    if not (session.paid and session.invoice and session.payment_intent and session.currency):
        return NO_EFFECTS
    purpose = purpose_of(session.payment_intent, facts)
    if isinstance(purpose, Question):
        return Effects(waiting_for=(purpose,))
    if purpose.invoice_payments or session.converted:
        return NO_EFFECTS
    payment = InvoicePayment(
        invoice=session.invoice,
        kind="payment_intent",
        payment=session.payment_intent,
        intent=session.intent,
        status="paid",
        amount_paid=session.amount_total,
        currency=session.currency,
        paid_at=None,
    )
    return invoice_paid(payment, heard_at=event.created, source=event.id, facts=facts)


def _paid(seen: Invoice, event: Event, facts: Facts) -> Effects:
    """What paid an invoice: its payments, as they are listed, and what was paid past Stripe.

    Where a shape before basil names the only payment, and no other is listed, it is that one.
    """
    question = Question(PAID_INVOICE, seen.id)
    if question not in facts:
        return Effects(waiting_for=(question,))
    answer = facts[question]
    invoice = Invoice.read(answer) if answer is not None else seen
    payments = [InvoicePayment.read(row, of=seen.id) for row in invoice.payments]
    paid = [payment for payment in payments if payment.status == "paid"]
    if not payments and seen.payment is not None and not seen.paid_out_of_band:
        paid = [_only_payment(seen, seen.payment)]
    effects = NO_EFFECTS
    for payment in paid:
        effects += invoice_paid(payment, heard_at=event.created, source=event.id, facts=facts)
    rest = invoice.amount_paid - sum(payment.amount_paid for payment in paid)
    return effects + (_paid_out_of_band(invoice, rest, event) if rest > 0 else NO_EFFECTS)


def _only_payment(invoice: Invoice, payment: str) -> InvoicePayment:
    return InvoicePayment(
        invoice=invoice.id,
        kind="payment_intent" if payment.startswith("pi_") else "charge",
        payment=payment,
        intent=None,
        status="paid",
        amount_paid=invoice.amount_paid,
        currency=invoice.currency,
        paid_at=invoice.paid_at,
    )


def _paid_out_of_band(invoice: Invoice, amount: int, event: Event) -> Effects:
    """What was said to be paid past Stripe: it is taken to be at the bank."""
    transaction = post(
        f"invoice:{invoice.id}:paid:out_of_band",
        "invoice_paid",
        [
            debit(chart.BANK, amount, invoice.currency),
            credit(chart.RECEIVABLE, amount, invoice.currency),
        ],
        description=f"Invoice {invoice.id}, paid out of band",
        occurred_at=moment(invoice.paid_at or event.created),
        source=event.id,
    )
    return Effects(transactions=transactions(transaction))
