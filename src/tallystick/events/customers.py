"""Customers and their saved payment methods: the copies of both. Pure."""

from __future__ import annotations

from tallystick.events.customer_balances import balance_changed, balance_effects
from tallystick.events.spec import Effects, Event, Facts
from tallystick.payments.customer_reports import customer_report, payment_method_report
from tallystick.stripe_gateway.customer_payloads import Customer, PaymentMethod


def on_customer(event: Event, facts: Facts) -> Effects:
    """customer.created, customer.updated, customer.deleted: the copy, and what its balance was changed by."""
    report = customer_report(
        Customer.read(event.object),
        at=event.created,
        source=event.id,
        first=event.type == "customer.created",
        deleted=event.type == "customer.deleted",
        methods_known=event.type == "customer.created",  # whatever is attached later has an event
    )
    effects = Effects(customers=(report,))
    if event.type != "customer.deleted" and balance_changed(event):
        effects += balance_effects(report.id, event, facts)
    return effects


def on_payment_method(event: Event, _facts: Facts) -> Effects:
    """payment_method.* events."""
    method = PaymentMethod.read(event.object)
    first = event.type == "payment_method.attached"
    report = payment_method_report(method, at=event.created, source=event.id, first=first)
    return Effects(payment_methods=(report,))
