"""EVENTS: the one visible table of the event types that we act on. Pure.

The endpoint's subscription list, the documentation and the fixture tests derive from it. Types that are not
here are stored in the inbox and marked ignored.
"""

from __future__ import annotations

from typing import Final

from tallystick.events.charges import on_charge
from tallystick.events.customer_balances import on_credit_note
from tallystick.events.customers import on_customer, on_payment_method
from tallystick.events.disputes import on_dispute
from tallystick.events.invoices import on_checkout_session, on_invoice, on_invoice_payment
from tallystick.events.payment_intents import on_payment_intent
from tallystick.events.payouts import on_payout
from tallystick.events.refunds import on_refund
from tallystick.events.spec import EventSpec
from tallystick.events.subscriptions import on_subscription
from tallystick.events.topups import on_topup

_SPECS: Final = (
    EventSpec("payment_intent.created", on_payment_intent, "the payment exists"),
    EventSpec("payment_intent.requires_action", on_payment_intent, "the customer must authenticate"),
    EventSpec("payment_intent.processing", on_payment_intent, "the bank has not answered yet"),
    EventSpec("payment_intent.amount_capturable_updated", on_payment_intent, "authorised, not captured"),
    EventSpec("payment_intent.partially_funded", on_payment_intent, "a bank transfer covers a part"),
    EventSpec("payment_intent.payment_failed", on_payment_intent, "an attempt failed"),
    EventSpec("payment_intent.canceled", on_payment_intent, "the payment ended without money"),
    EventSpec("payment_intent.succeeded", on_payment_intent, "captured, and what that was for"),
    EventSpec("charge.pending", on_charge, "a bank debit is under way"),
    EventSpec("charge.succeeded", on_charge, "authorised; captured, and what that was for"),
    EventSpec("charge.captured", on_charge, "captured, and what that was for"),
    EventSpec("charge.updated", on_charge, "its balance transaction is known"),
    EventSpec("charge.failed", on_charge, "an attempt failed"),
    EventSpec("charge.expired", on_charge, "an authorisation ran out"),
    EventSpec("charge.refunded", on_charge, "the refunds it carries"),
    EventSpec("charge.refund.updated", on_refund, "a refund changed"),
    EventSpec("refund.created", on_refund, "money goes back"),
    EventSpec("refund.updated", on_refund, "a refund changed"),
    EventSpec("refund.failed", on_refund, "the money came back to us"),
    EventSpec("customer.created", on_customer, "a customer exists"),
    EventSpec("customer.updated", on_customer, "a customer changed, its balance perhaps"),
    EventSpec("customer.deleted", on_customer, "a customer was deleted"),
    EventSpec("payment_method.attached", on_payment_method, "a payment method is saved with a customer"),
    EventSpec("payment_method.updated", on_payment_method, "a saved payment method changed"),
    EventSpec(
        "payment_method.automatically_updated", on_payment_method, "the card network renewed a saved card"
    ),
    EventSpec("payment_method.detached", on_payment_method, "a payment method is saved no more"),
    EventSpec("charge.dispute.created", on_dispute, "the customer disputes a charge, or their bank asks"),
    EventSpec("charge.dispute.updated", on_dispute, "a dispute changed"),
    EventSpec("charge.dispute.funds_withdrawn", on_dispute, "the disputed amount is taken"),
    EventSpec("charge.dispute.funds_reinstated", on_dispute, "the disputed amount is given back"),
    EventSpec("charge.dispute.closed", on_dispute, "a dispute is decided"),
    EventSpec("payout.created", on_payout, "Stripe sends money to the bank"),
    EventSpec("payout.updated", on_payout, "a payout changed"),
    EventSpec("payout.paid", on_payout, "a payout should have arrived"),
    EventSpec("payout.failed", on_payout, "a payout came back, also one that had arrived"),
    EventSpec("payout.canceled", on_payout, "a payout was cancelled"),
    EventSpec("topup.succeeded", on_topup, "money came from the bank"),
    EventSpec("topup.reversed", on_topup, "a top-up went back to the bank"),
    EventSpec("invoice.finalized", on_invoice, "a notice: an invoice can be paid"),
    EventSpec("invoice.paid", on_invoice, "a notice: an invoice is paid in full; and what paid it"),
    EventSpec("invoice.payment_failed", on_invoice, "a notice: an attempt to pay an invoice failed"),
    EventSpec("invoice.payment_action_required", on_invoice, "a notice: the customer must authenticate"),
    EventSpec("invoice.overdue", on_invoice, "a notice: an invoice was not paid in time"),
    EventSpec("invoice.voided", on_invoice, "a notice: an invoice was declared void"),
    EventSpec("invoice.marked_uncollectible", on_invoice, "a notice: an invoice was given up"),
    EventSpec("invoice_payment.paid", on_invoice_payment, "a payment pays an invoice, or a part of it"),
    EventSpec("credit_note.created", on_credit_note, "what the customer was credited"),
    EventSpec("credit_note.updated", on_credit_note, "what the customer was credited"),
    EventSpec("credit_note.voided", on_credit_note, "what the customer was credited"),
    EventSpec("checkout.session.completed", on_checkout_session, "the invoice that a checkout made"),
    EventSpec(
        "checkout.session.async_payment_succeeded", on_checkout_session, "the invoice that a checkout made"
    ),
    EventSpec("customer.subscription.created", on_subscription, "a notice: a subscription began"),
    EventSpec("customer.subscription.updated", on_subscription, "a notice: a subscription changed"),
    EventSpec("customer.subscription.paused", on_subscription, "a notice: a subscription stands still"),
    EventSpec("customer.subscription.resumed", on_subscription, "a notice: a subscription goes on"),
    EventSpec("customer.subscription.trial_will_end", on_subscription, "a notice: a trial is about to end"),
    EventSpec("customer.subscription.deleted", on_subscription, "a notice: a subscription ended"),
)


def _by_type(specs: tuple[EventSpec, ...]) -> dict[str, EventSpec]:
    table = {spec.type: spec for spec in specs}
    if len(table) != len(specs):
        raise ValueError("An event type stands twice in the catalog.")
    return table


EVENTS: Final[dict[str, EventSpec]] = _by_type(_SPECS)
