"""PaymentIntents: update, confirm, cancel, list; a new one is in ``payment_intent_creation``, the attempt to
pay in ``confirmation``."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import (
    balance,
    bank_debits,
    confirmation,
    destinations,
    intents,
    refunds,
    search,
    transfer_payments,
)
from tallystick.sandbox import payment_intent_creation as creation
from tallystick.sandbox import payment_intent_shape as shape
from tallystick.sandbox import payment_method_options as methods
from tallystick.sandbox.errors import StripeError, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import merged_metadata, whole_shipping
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("payment_intent", "payment_intent", indexes=("customer",))]

OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE: Final = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
_ANYTIME: Final = frozenset(("metadata", "description", "receipt_email"))
"""What can be changed whatever the status."""


def _edited(call: Call, intent: Obj) -> Obj:
    """The intent's fields as the call's parameters make them; checks only what was sent."""
    params = call.params
    values: Obj = {name: params[name] for name in shape.PLAIN if name in params}
    values |= creation.details(intent, params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(intent["metadata"], values["metadata"])
    if "shipping" in values:
        values["shipping"] = whole_shipping(values["shipping"])
    if "customer" in values:
        call.find("customer", values["customer"])
    if "amount" in values or "currency" in values:
        after = {**intent, **values}
        shape.check_amount(after["amount"], after["currency"])
        balance.settled(call, after["amount"], after["currency"])
    values |= destinations.terms(call, {**intent, **values}, params)
    if "currency" in values and intent["automatic_payment_methods"]:
        values["payment_method_types"] = methods.offered_types(values["currency"])
    if "excluded_payment_method_types" in params:
        values = {"payment_method_types": intent["payment_method_types"], **values}
        creation.exclude(values, params["excluded_payment_method_types"])
    if "payment_method_options" in params or "payment_method_types" in values:
        types: list[str] = values.get("payment_method_types") or intent["payment_method_types"]
        values["payment_method_options"] = methods.options(
            types, intent["payment_method_options"], params.get("payment_method_options")
        )
    method = intents.method_of(call, params, values.get("customer", intent["customer"]))
    if method or params.get("payment_method", "") is None:
        values["payment_method"] = method
    return values


def update(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}."""
    intent = call.find("payment_intent")
    shape.refuse_types(call)
    if intent["status"] not in OPEN:
        for name in call.params:
            if name not in _ANYTIME:
                raise unexpected(
                    intent,
                    f"This PaymentIntent's {name} could not be updated because it has a status of"
                    f" {intent['status']}. You may only update the {name} of a PaymentIntent with one of the"
                    f" following statuses: {', '.join(OPEN)}.",
                    param=name,
                )
    creation.check_descriptor({**intent, **call.params}, call.params)
    values = _edited(call, intent)
    if intent["status"] in OPEN and "payment_method" in values:
        values["status"] = "requires_confirmation" if values["payment_method"] else "requires_payment_method"
        values["next_action"] = None
    call.store.change(intent, **values)
    return intent


def unexpected(intent: Obj, message: str, *, param: str | None = None) -> StripeError:
    """400 ``payment_intent_unexpected_state``, with the PaymentIntent inside."""
    return refused(message, code="payment_intent_unexpected_state", param=param, payment_intent=dict(intent))


def confirm(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/confirm."""
    intent = call.find("payment_intent")
    shape.refuse_types(call)
    if intent["status"] == "succeeded":
        raise unexpected(
            intent,
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously"
            " confirmed.",
        )
    if intent["status"] not in OPEN:
        raise unexpected(
            intent,
            f"This PaymentIntent could not be confirmed because it has a status of {intent['status']}. Only a"
            " PaymentIntent with one of the following statuses may be confirmed: requires_confirmation,"
            " requires_action.",
        )
    call.store.change(intent, **_edited(call, intent))
    confirmation.confirm(call, intent, creation.attempt(call.params))
    return intent


def cancel(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/cancel; an authorization is let go of."""
    intent = call.find("payment_intent")
    if intent["status"] not in _CANCELABLE:
        raise unexpected(
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a"
            " PaymentIntent with one of the following statuses may be canceled: requires_payment_method,"
            " requires_capture, requires_confirmation, requires_action, processing.",
        )
    if intent["status"] == "requires_capture":
        charge = call.find("charge", intent["latest_charge"])
        if charge["captured"]:
            raise unexpected(
                intent,
                "You cannot cancel this PaymentIntent because part of it has been captured. Capture it with"
                " `final_capture` to let go of the rest.",
            )
        refunds.let_go(call, charge)
    elif transfer_payments.waits(intent):
        transfer_payments.let_go(call, intent)
    elif intent["status"] == "processing":
        bank_debits.cancel(call, call.find("charge", intent["latest_charge"]))
    confirmation.mark_canceled(call, intent, call.params.get("cancellation_reason"))
    return intent


def retrieve(call: Call) -> Obj:
    """GET /v1/payment_intents/{id}; a wrong client_secret finds nothing."""
    return intents.retrieve(call, "payment_intent", "PaymentIntent")


def list_all(call: Call) -> Obj:
    """GET /v1/payment_intents."""
    return page(call, "payment_intent", "/v1/payment_intents")


_SEARCHED: Final = {
    name: search.field(name) for name in ("amount", "created", "currency", "customer", "status")
}


def search_all(call: Call) -> Obj:
    """GET /v1/payment_intents/search."""
    return search.page(call, "payment_intent", "/v1/payment_intents/search", _SEARCHED)


ACTIONS: Final = {confirmation.LAPSE: confirmation.lapse}

ROUTES: Final = [
    Route("GET", "/v1/payment_intents/search", search_all, search.PARAMS),
    Route("POST", "/v1/payment_intents", creation.create, shape.CREATE),
    Route("GET", "/v1/payment_intents", list_all, shape.LIST),
    Route("GET", "/v1/payment_intents/{}", retrieve, shape.RETRIEVE),
    Route("POST", "/v1/payment_intents/{}", update, shape.UPDATE),
    Route("POST", "/v1/payment_intents/{}/confirm", confirm, shape.CONFIRM),
    Route("POST", "/v1/payment_intents/{}/cancel", cancel, shape.CANCEL),
]
