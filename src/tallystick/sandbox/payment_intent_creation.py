"""PaymentIntents in the making: what a new one is, and what its parameters become."""

from __future__ import annotations

from typing import Any

from tallystick.sandbox import (
    balance,
    confirmation,
    destinations,
    intents,
)
from tallystick.sandbox import payment_intent_shape as shape
from tallystick.sandbox import payment_method_options as methods
from tallystick.sandbox.amount_details import merged
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import merged_metadata, whole_shipping
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.versions import ASYNC_CAPTURE


def create(call: Call) -> Obj:
    """POST /v1/payment_intents; with ``confirm`` the attempt to pay is part of it."""
    params = call.params
    shape.refuse_types(call)
    _check_confirming(params)
    intent = begin(call, params)
    check_descriptor(intent, params)
    if params.get("confirm"):
        confirmation.confirm(call, intent, attempt(params))
    return intent


def begin(call: Call, params: dict[str, Any]) -> Obj:
    """A new PaymentIntent from checked ``CREATE`` parameters, and its event; nothing is confirmed yet."""
    shape.check_amount(params["amount"], params["currency"])
    balance.settled(call, params["amount"], params["currency"])  # without a rate it could never be booked
    if params.get("customer"):
        call.find("customer", params["customer"])
    method = intents.method_of(call, params, params.get("customer"))
    intent = _new(call, params, method)
    call.store.put(intent, {})
    call.emit("payment_intent.created", intent)
    return intent


def _check_confirming(params: dict[str, Any]) -> None:
    if params.get("confirm"):
        return
    for name in ("off_session", "error_on_requires_action", "return_url", "mandate_data", "mandate"):
        if name in params:
            raise invalid(f"You cannot provide `{name}` without setting `confirm` to true.", param=name)


def check_descriptor(intent: Obj, sent: dict[str, Any]) -> None:
    """Raises StripeError (400) for a whole descriptor where cards may pay: those take a suffix only."""
    if sent.get("statement_descriptor") and "card" in intent["payment_method_types"]:
        raise invalid(
            "The statement_descriptor parameter is not supported for the payment_method_type `card`. To"
            " continue supporting payment_method_type `card`, please pass in `statement_descriptor_suffix` or"
            " remove the `statement_descriptor` parameter altogether.",
            param="statement_descriptor",
        )


def attempt(params: dict[str, Any]) -> confirmation.Attempt:
    """The attempt to pay that the parameters ask for."""
    return confirmation.Attempt(
        off_session=params.get("off_session", False),
        return_url=params.get("return_url"),
        use_stripe_sdk=params.get("use_stripe_sdk", False),
        error_on_requires_action=params.get("error_on_requires_action", False),
        mandate_data=params.get("mandate_data"),
    )


def _new(call: Call, params: dict[str, Any], method: str | None) -> Obj:
    ids = call.sandbox.ids
    ident = ids.new_payment("pi")
    intent: Obj = {
        **shape.BLANK,
        "id": ident,
        "automatic_payment_methods": intents.automatic(call, params),
        "capture_method": "automatic_async" if call.since(ASYNC_CAPTURE) else "automatic",
        "client_secret": f"{ident}_secret_{ids.chars(25)}",
        "created": call.now,
        "payment_method": method,
        "status": "requires_confirmation" if method else "requires_payment_method",
        **{name: params[name] for name in shape.AS_SENT if name in params},
    }
    if intent["automatic_payment_methods"]:
        intent["payment_method_types"] = methods.offered_types(params["currency"])
    exclude(intent, params.get("excluded_payment_method_types"))
    intent["metadata"] = merged_metadata(None, params.get("metadata", {}))
    intent["payment_method_options"] = methods.options(
        intent["payment_method_types"], {}, params.get("payment_method_options")
    )
    intent["shipping"] = whole_shipping(params.get("shipping"))
    intent.update(details(intent, params))
    intent.update(destinations.terms(call, intent, params))
    if intent["automatic_payment_methods"]:
        intent["payment_method_configuration_details"] = intents.configuration(call)
    return intent


def exclude(intent: Obj, excluded: list[str] | None) -> None:
    """Take these methods out of what is offered."""
    if excluded:
        intent["excluded_payment_method_types"] = excluded
        intent["payment_method_types"] = [
            kind for kind in intent["payment_method_types"] if kind not in excluded
        ]


def details(intent: Obj, params: dict[str, Any]) -> Obj:
    """What the amount is made of, and the references to the customer's order."""
    values: Obj = {}
    if "amount_details" in params:
        values["amount_details"] = merged(intent["amount_details"], params["amount_details"])
    if "payment_details" in params:
        sent = params["payment_details"] or {}
        values["payment_details"] = {
            name: sent.get(name, intent.get("payment_details", {}).get(name))
            for name in ("customer_reference", "order_reference")
        }
    return values
