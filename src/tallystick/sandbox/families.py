"""All Stripe families of the sandbox, in one visible table."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Final

from tallystick.sandbox import (
    account,
    accounts,
    application_fees,
    balance,
    bank_debits,
    billing_portal,
    captures,
    cash_balance,
    charges,
    checkout_completion,
    checkout_items,
    checkout_page,
    checkout_payment,
    checkout_reading,
    checkout_sessions,
    control_money,
    coupons,
    credit_notes,
    customer_additions,
    customer_balance,
    customer_sources,
    customers,
    delinquency,
    discounts,
    dispute_calls,
    disputes,
    early_fraud_warnings,
    event_destinations,
    event_log,
    invoice_collection,
    invoice_drafts,
    invoice_items,
    invoice_lines,
    invoice_payments,
    invoice_preview,
    invoice_verbs,
    invoiceitems,
    invoices,
    mandates,
    meter_events,
    meters,
    payment_intent_captures,
    payment_intents,
    payment_link_opening,
    payment_links,
    payment_method_calls,
    payment_methods,
    payout_calls,
    payouts,
    plans,
    prices,
    products,
    promotion_codes,
    refund_calls,
    refunds,
    schedule_phases,
    setup_intent_calls,
    setup_intents,
    shipping_rates,
    subscription_item_calls,
    subscription_items,
    subscription_life,
    subscription_pauses,
    subscription_payments,
    subscription_schedules,
    subscription_upcoming,
    subscriptions,
    tax_ids,
    tax_rates,
    test_clocks,
    tokens,
    topups,
    transfer_calls,
    transfer_payments,
    transfers,
    webhook_endpoints,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

FAMILIES: Final[list[ModuleType]] = [
    account,
    accounts,
    application_fees,
    balance,
    bank_debits,
    billing_portal,
    captures,
    cash_balance,
    charges,
    checkout_completion,
    checkout_items,
    checkout_page,
    checkout_payment,
    checkout_reading,
    checkout_sessions,
    control_money,
    coupons,
    credit_notes,
    customer_additions,
    customer_balance,
    customer_sources,
    customers,
    delinquency,
    discounts,
    dispute_calls,
    disputes,
    early_fraud_warnings,
    event_destinations,
    event_log,
    invoice_collection,
    invoice_drafts,
    invoice_items,
    invoice_lines,
    invoice_payments,
    invoice_preview,
    invoice_verbs,
    invoiceitems,
    invoices,
    mandates,
    meter_events,
    meters,
    payment_intent_captures,
    payment_intents,
    payment_link_opening,
    payment_links,
    payment_method_calls,
    payment_methods,
    payout_calls,
    payouts,
    plans,
    prices,
    products,
    promotion_codes,
    refund_calls,
    refunds,
    schedule_phases,
    setup_intent_calls,
    setup_intents,
    shipping_rates,
    subscription_item_calls,
    subscription_items,
    subscription_life,
    subscription_pauses,
    subscription_payments,
    subscription_schedules,
    subscription_upcoming,
    subscriptions,
    tax_ids,
    tax_rates,
    test_clocks,
    tokens,
    topups,
    transfer_calls,
    transfer_payments,
    transfers,
    webhook_endpoints,
]
"""A module may have ``TABLES`` (its kinds of object), ``ROUTES``, ``ACTIONS`` (what its timers do) and
``LISTENERS`` (what it does when another family emits an event of a type)."""

Action = Callable[[Call, str], None]
Listener = Callable[[Call, Obj], None]


def tables() -> list[TableSpec]:
    """Every kind of object."""
    return [spec for family in FAMILIES for spec in getattr(family, "TABLES", ())]


def routes() -> list[Route]:
    """Every call of the API."""
    return [route for family in FAMILIES for route in getattr(family, "ROUTES", ())]


def actions() -> dict[str, Action]:
    """What timers do, by name."""
    return {name: action for family in FAMILIES for name, action in getattr(family, "ACTIONS", {}).items()}


def listeners() -> dict[str, list[Listener]]:
    """What families do upon the events of others, by type, in the order of the families."""
    heard: dict[str, list[Listener]] = {}
    for family in FAMILIES:
        for kind, hear in getattr(family, "LISTENERS", {}).items():
            heard.setdefault(kind, []).append(hear)
    return heard


def settling() -> set[str]:
    """The timers' actions that ``POST /_control/settle`` brings due, of the families that name some."""
    return {action for family in FAMILIES for action in getattr(family, "SETTLES", ())}
