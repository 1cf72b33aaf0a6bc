"""Which payment method is charged by default, and what becomes of that when the method is detached."""

from __future__ import annotations

from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_shape import ENDED


def of_invoice(call: Call, invoice: Obj) -> str | None:
    """What an invoice is charged to: its own method, its subscription's, its customer's."""
    parent = (invoice["parent"] or {}).get("subscription_details") or {}
    subscription = call.store.get("subscription", parent["subscription"]) if parent else None
    customer = call.store.get("customer", invoice["customer"]) or {"invoice_settings": {}}
    choices = (
        invoice["default_payment_method"],
        invoice["default_source"],
        subscription and (subscription["default_payment_method"] or subscription["default_source"]),
        customer["invoice_settings"].get("default_payment_method"),
        customer.get("default_source"),
    )
    found: str | None = next((choice for choice in choices if choice), None)
    return found


def detached(call: Call, method: str, customer_id: str) -> None:
    """A method is not the customer's any more: nothing is charged to it by default from now on."""
    customer = call.store.get("customer", customer_id)
    if customer is None:
        return
    settings = customer["invoice_settings"]
    if settings["default_payment_method"] == method:
        values = {"invoice_settings": {**settings, "default_payment_method": None}}
        call.emit("customer.updated", customer, call.store.change(customer, **values))
    for kind, ended, event in (
        ("subscription", ENDED, "customer.subscription.updated"),
        ("invoice", ("paid", "void"), "invoice.updated"),
    ):
        for holder in call.store.tables[kind].having("customer", customer_id):
            if holder["default_payment_method"] == method and holder["status"] not in ended:
                call.emit(event, holder, call.store.change(holder, default_payment_method=None))
