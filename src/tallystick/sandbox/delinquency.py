"""Customers who owe: ``delinquent`` follows the last thing that happened to one of their invoices.

An automatic payment that fails, or a due date that passes, sets it; an invoice that is paid or written off
clears it (Stripe's description of ``customer.delinquent``).
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def _owes(call: Call, invoice: Obj, delinquent: bool) -> None:
    customer = call.store.get("customer", invoice["customer"] or "")
    previous = customer and call.store.change(customer, delinquent=delinquent)
    if customer and previous:
        call.emit("customer.updated", customer, previous)


def failed(call: Call, invoice: Obj) -> None:
    """Listener: a payment has failed; one that somebody asked for says nothing about the customer."""
    if invoice["auto_advance"]:
        _owes(call, invoice, True)


def overdue(call: Call, invoice: Obj) -> None:
    """Listener: the due date has passed."""
    _owes(call, invoice, True)


def settled(call: Call, invoice: Obj) -> None:
    """Listener: an invoice is paid or written off."""
    _owes(call, invoice, False)


LISTENERS: Final = {
    "invoice.marked_uncollectible": settled,
    "invoice.overdue": overdue,
    "invoice.paid": settled,
    "invoice.payment_failed": failed,
}
