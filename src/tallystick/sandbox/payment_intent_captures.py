"""Capturing a PaymentIntent, in full, in part or in parts; and holding more before that."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import (
    captures,
    destinations,
    payment_intent_creation,
    payment_intents,
)
from tallystick.sandbox import payment_intent_shape as shape
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def capture(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/capture: in full or, once, in part."""
    intent, params = call.find("payment_intent"), call.params
    if intent["status"] != "requires_capture":
        raise payment_intents.unexpected(
            intent,
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. Only a"
            " PaymentIntent with one of the following statuses may be captured: requires_capture.",
        )
    amount, final = _captured(call, intent)
    destinations.check_single_capture(intent, final=final)
    names = ("statement_descriptor", "statement_descriptor_suffix")
    values = {name: params[name] for name in names if name in params}
    if "metadata" in params:
        values["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
    values |= payment_intent_creation.details(intent, params)
    call.store.change(intent, **values, **destinations.terms(call, {**intent, "amount": amount}, params))
    captures.capture(call, intent, amount, final=final)
    return intent


def _captured(call: Call, intent: Obj) -> tuple[int, bool]:
    """How much is captured, and whether the rest is let go of; more than one needs a card that allows it."""
    capturable: int = intent["amount_capturable"]
    amount: int = call.params.get("amount_to_capture", capturable)
    if amount > capturable:
        raise refused(
            f"The amount_to_capture ({amount}) is greater than the amount that can be captured"
            f" ({capturable}).",
            code="amount_too_large",
            param="amount_to_capture",
        )
    final: bool = call.params.get("final_capture", True)
    nothing = amount == 0 and final and intent["amount_received"] > 0
    if amount < 1 and not nothing:
        raise invalid("Invalid positive integer", param="amount_to_capture", code="parameter_invalid_integer")
    if not final:
        charge = call.find("charge", intent["latest_charge"])
        if charge["payment_method_details"]["card"]["multicapture"]["status"] != "available":
            raise refused("This payment cannot be captured more than once.", param="final_capture")
    return amount, final or amount == capturable


def increment_authorization(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/increment_authorization: hold more of a card that allows it."""
    intent, params = call.find("payment_intent"), call.params
    if intent["status"] != "requires_capture":
        raise payment_intents.unexpected(
            intent,
            "This PaymentIntent's authorization could not be incremented because it has a status of"
            f" {intent['status']}. Only a PaymentIntent with one of the following statuses may be"
            " incremented: requires_capture.",
        )
    charge = call.find("charge", intent["latest_charge"])
    details = charge["payment_method_details"]
    if details["card"]["incremental_authorization"]["status"] != "available":
        raise refused("This PaymentIntent is not eligible for incremental authorizations.")
    amount = params["amount"]
    if amount <= intent["amount"]:
        raise refused(
            f"The amount must be greater than the currently authorized amount ({intent['amount']}).",
            param="amount",
        )
    shape.check_amount(amount, intent["currency"])
    plain = ("description", "statement_descriptor")
    values: Obj = {name: params[name] for name in plain if name in params}
    if "metadata" in params:
        values["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
    more = amount - intent["amount"]
    capturable = intent["amount_capturable"] + more
    call.store.change(
        intent,
        amount=amount,
        amount_capturable=capturable,
        **values,
        **payment_intent_creation.details(intent, params),
        **destinations.terms(call, {**intent, "amount": amount}, params),
    )
    card = {**details["card"], "amount_authorized": amount}
    previous = call.store.change(charge, amount=amount, payment_method_details={**details, "card": card})
    call.emit("payment_intent.amount_capturable_updated", intent)
    call.emit("charge.updated", charge, previous)
    return intent


ROUTES: Final = [
    Route("POST", "/v1/payment_intents/{}/capture", capture, shape.CAPTURE),
    Route(
        "POST",
        "/v1/payment_intents/{}/increment_authorization",
        increment_authorization,
        shape.INCREMENT,
    ),
]
