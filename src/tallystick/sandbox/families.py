"""All Stripe families of the sandbox, in one visible table."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Final

from tallystick.sandbox import (
    account,
    balance,
    charges,
    checkout_sessions,
    confirmation,
    customers,
    event_log,
    invoice_payments,
    payment_intents,
    payment_methods,
    refunds,
    webhook_endpoints,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import TableSpec

FAMILIES: Final[list[ModuleType]] = [
    account,
    balance,
    charges,
    checkout_sessions,
    confirmation,
    customers,
    event_log,
    invoice_payments,
    payment_intents,
    payment_methods,
    refunds,
    webhook_endpoints,
]
"""A module may have ``TABLES`` (its kinds of object), ``ROUTES`` and ``ACTIONS`` (what its timers do)."""

Action = Callable[[Call, str], None]


def tables() -> list[TableSpec]:
    """Every kind of object."""
    return [spec for family in FAMILIES for spec in getattr(family, "TABLES", ())]


def routes() -> list[Route]:
    """Every call of the API."""
    return [route for family in FAMILIES for route in getattr(family, "ROUTES", ())]


def actions() -> dict[str, Action]:
    """What timers do, by name."""
    return {name: action for family in FAMILIES for name, action in getattr(family, "ACTIONS", {}).items()}
