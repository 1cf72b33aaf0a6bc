"""EVENTS: the one visible table of the event types that we act on. Pure.

The endpoint's subscription list, the documentation and the fixture tests derive from it. Types that are not
here are stored in the inbox and marked ignored.
"""

from __future__ import annotations

from typing import Final

from tallystick.events.charges import on_charge
from tallystick.events.payment_intents import on_payment_intent
from tallystick.events.refunds import on_refund
from tallystick.events.spec import EventSpec

_SPECS: Final = (
    EventSpec("payment_intent.created", on_payment_intent, "the payment exists"),
    EventSpec("payment_intent.requires_action", on_payment_intent, "the customer must authenticate"),
    EventSpec("payment_intent.processing", on_payment_intent, "the bank has not answered yet"),
    EventSpec("payment_intent.amount_capturable_updated", on_payment_intent, "authorised, not captured"),
    EventSpec("payment_intent.partially_funded", on_payment_intent, "a bank transfer covers a part"),
    EventSpec("payment_intent.payment_failed", on_payment_intent, "an attempt failed"),
    EventSpec("payment_intent.canceled", on_payment_intent, "the payment ended without money"),
    EventSpec("payment_intent.succeeded", on_payment_intent, "captured, and the sale if it is ours"),
    EventSpec("charge.pending", on_charge, "a bank debit is under way"),
    EventSpec("charge.succeeded", on_charge, "authorised; captured, and the sale if it is ours"),
    EventSpec("charge.captured", on_charge, "captured, and the sale if it is ours"),
    EventSpec("charge.updated", on_charge, "its balance transaction is known"),
    EventSpec("charge.failed", on_charge, "an attempt failed"),
    EventSpec("charge.expired", on_charge, "an authorisation ran out"),
    EventSpec("charge.refunded", on_charge, "the refunds it carries"),
    EventSpec("charge.refund.updated", on_refund, "a refund changed"),
    EventSpec("refund.created", on_refund, "money goes back"),
    EventSpec("refund.updated", on_refund, "a refund changed"),
    EventSpec("refund.failed", on_refund, "the money came back to us"),
)


def _by_type(specs: tuple[EventSpec, ...]) -> dict[str, EventSpec]:
    table = {spec.type: spec for spec in specs}
    if len(table) != len(specs):
        raise ValueError("An event type stands twice in the catalog.")
    return table


EVENTS: Final[dict[str, EventSpec]] = _by_type(_SPECS)
