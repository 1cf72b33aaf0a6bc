"""The permissions that a restricted key of Stripe needs, and what for. Pure.

A test calls every method of the gateway and holds what it asked of Stripe against this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Level = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Permission:
    """``resource`` as Stripe's paths name it; write includes read.

    ``dashboard`` is the line of Stripe's form for restricted keys; where Stripe itself names another, its
    answer counts, and ``tallystick doctor`` shows it.
    """

    resource: str
    level: Level
    dashboard: str
    needed_for: str
    params: tuple[tuple[str, Any], ...] = ()
    """Parameters of the list call that shows whether reading is allowed."""


NEEDED: Final = (
    Permission("payment_intents", "write", "PaymentIntents", "taking, confirming, capturing, cancelling"),
    Permission("refunds", "write", "Charges and Refunds", "giving back"),
    Permission("customers", "write", "Customers", "making and changing customers"),
    Permission("payment_methods", "write", "PaymentMethods", "saving and detaching payment methods"),
    Permission("setup_intents", "write", "SetupIntents", "saving a payment method without a payment"),
    Permission("charges", "read", "Charges and Refunds", "what an event's charge says, when a rule needs it"),
    Permission(
        "balance_transactions",
        "read",
        "Balance and Balance transaction sources",
        "the settlement puller: fees, and the source of every movement",
        (("expand", ("data.source",)),),
    ),
    Permission(
        "invoice_payments",
        "read",
        "Invoices",
        "whether a payment that was made elsewhere pays an invoice",
    ),
    Permission("invoices", "read", "Invoices", "what paid an invoice, past Stripe as well"),
    Permission(
        "checkout/sessions",
        "read",
        "Checkout Sessions",
        "what a payment that was made elsewhere sold, and the tax and shipping in it",
    ),
    Permission("payouts", "read", "Payouts", "whether the list of what a payout settled is complete"),
    Permission("disputes", "read", "Disputes", "what a dispute moved, where its event does not say"),
    Permission("events", "read", "Events", "finding events that were not delivered"),
)
"""What the API and the worker need."""

FOR_DOCTOR: Final = (
    Permission("webhook_endpoints", "read", "Webhook Endpoints", "doctor: whether the endpoint is right"),
    Permission("webhook_endpoints", "write", "Webhook Endpoints", "doctor --fix: making or mending it"),
)
"""What only ``tallystick doctor`` needs; another key can be given to it."""

FOR_ADOPTION: Final = (
    Permission(
        "balance",
        "read",
        "Balance and Balance transaction sources",
        "adopt: what the account holds, to begin the books with",
    ),
)
"""What only ``tallystick adopt`` needs."""
