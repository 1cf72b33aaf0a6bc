"""PaymentIntents: create, update, list; the attempt to pay is in ``confirmation``."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import (
    balance,
    bank_debits,
    confirmation,
    payment_methods,
    refunds,
    search,
    transfer_payments,
)
from tallystick.sandbox import payment_intent_shape as shape
from tallystick.sandbox import payment_method_options as methods
from tallystick.sandbox.amount_details import merged
from tallystick.sandbox.errors import StripeError, invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import merged_metadata, whole_shipping
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.versions import ASYNC_CAPTURE, AUTOMATIC_METHODS

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


def _method(call: Call, params: dict[str, Any], customer: str | None) -> str | None:
    """The id of the payment method that was sent, made on the spot if need be."""
    if "payment_method_data" in params:
        if params.get("payment_method"):
            raise invalid(
                "You may only specify one of these parameters: payment_method, payment_method_data.",
                param="payment_method_data",
            )
        return str(payment_methods.make(call, params["payment_method_data"])["id"])
    if not params.get("payment_method"):
        return None
    method = payment_methods.materialise(call, params["payment_method"])
    confirmation.check_owner(call, method, customer)
    return str(method["id"])


def create(call: Call) -> Obj:
    """POST /v1/payment_intents; with ``confirm`` the attempt to pay is part of it."""
    params = call.params
    shape.refuse_types(call)
    _check_confirming(params)
    intent = begin(call, params)
    if params.get("confirm"):
        confirmation.confirm(call, intent, _attempt(params))
    return intent


def begin(call: Call, params: dict[str, Any]) -> Obj:
    """A new PaymentIntent from checked ``CREATE`` parameters, and its event; nothing is confirmed yet."""
    shape.check_amount(params["amount"], params["currency"])
    balance.settled(call, params["amount"], params["currency"])  # without a rate it could never be booked
    if params.get("customer"):
        call.find("customer", params["customer"])
    method = _method(call, params, params.get("customer"))
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


def _attempt(params: dict[str, Any]) -> confirmation.Attempt:
    return confirmation.Attempt(
        off_session=params.get("off_session", False),
        return_url=params.get("return_url"),
        use_stripe_sdk=params.get("use_stripe_sdk", False),
        error_on_requires_action=params.get("error_on_requires_action", False),
        mandate_data=params.get("mandate_data"),
    )


def _automatic(call: Call, params: dict[str, Any]) -> Obj | None:
    """Whether Stripe picks the methods: yes from 2023-08-16 on, unless types were named."""
    sent = params.get("automatic_payment_methods")
    if sent is not None and "payment_method_types" in params:
        raise invalid(
            "You may only specify one of these parameters: payment_method_types, automatic_payment_methods.",
            param="automatic_payment_methods",
        )
    if sent is None:
        sent = {"enabled": "payment_method_types" not in params and call.since(AUTOMATIC_METHODS)}
    if not sent["enabled"]:
        return None
    return {"allow_redirects": sent.get("allow_redirects", "always"), "enabled": True}


def _new(call: Call, params: dict[str, Any], method: str | None) -> Obj:
    ids = call.sandbox.ids
    ident = ids.new_payment("pi")
    intent: Obj = {
        **shape.BLANK,
        "id": ident,
        "automatic_payment_methods": _automatic(call, params),
        "capture_method": "automatic_async" if call.since(ASYNC_CAPTURE) else "automatic",
        "client_secret": f"{ident}_secret_{ids.chars(25)}",
        "created": call.now,
        "payment_method": method,
        "status": "requires_confirmation" if method else "requires_payment_method",
        **{name: params[name] for name in shape.AS_SENT if name in params},
    }
    if intent["automatic_payment_methods"]:
        intent["payment_method_types"] = methods.offered_types(params["currency"])
    _exclude(intent, params.get("excluded_payment_method_types"))
    intent["metadata"] = merged_metadata(None, params.get("metadata", {}))
    intent["payment_method_options"] = methods.options(
        intent["payment_method_types"], {}, params.get("payment_method_options")
    )
    intent["shipping"] = whole_shipping(params.get("shipping"))
    intent.update(details(intent, params))
    if intent["automatic_payment_methods"]:
        # The account's default configuration of payment methods: cards.
        configuration = f"pmc_1{ids.account}{ids.account}"
        intent["payment_method_configuration_details"] = {"id": configuration, "parent": None}
    return intent


def _exclude(intent: Obj, excluded: list[str] | None) -> None:
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


def _edited(call: Call, intent: Obj) -> Obj:
    """The intent's fields as the call's parameters make them; checks only what was sent."""
    params = call.params
    values: Obj = {name: params[name] for name in shape.PLAIN if name in params}
    values |= details(intent, params)
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
    if "currency" in values and intent["automatic_payment_methods"]:
        values["payment_method_types"] = methods.offered_types(values["currency"])
    if "excluded_payment_method_types" in params:
        values = {"payment_method_types": intent["payment_method_types"], **values}
        _exclude(values, params["excluded_payment_method_types"])
    if "payment_method_options" in params or "payment_method_types" in values:
        types: list[str] = values.get("payment_method_types") or intent["payment_method_types"]
        values["payment_method_options"] = methods.options(
            types, intent["payment_method_options"], params.get("payment_method_options")
        )
    method = _method(call, params, values.get("customer", intent["customer"]))
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
    confirmation.confirm(call, intent, _attempt(call.params))
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
    intent = call.find("payment_intent")
    secret = call.params.get("client_secret")
    if secret is not None and secret != intent["client_secret"]:
        raise invalid(
            "The client_secret provided does not match the client_secret associated with the PaymentIntent.",
            param="client_secret",
            code="payment_intent_invalid_parameter",
        )
    return intent


def list_all(call: Call) -> Obj:
    """GET /v1/payment_intents."""
    return page(call, "payment_intent", "/v1/payment_intents")


_SEARCHED: Final = {
    name: search.field(name) for name in ("amount", "created", "currency", "customer", "status")
}


def search_all(call: Call) -> Obj:
    """GET /v1/payment_intents/search."""
    return search.page(call, "payment_intent", "/v1/payment_intents/search", _SEARCHED)


ROUTES: Final = [
    Route("GET", "/v1/payment_intents/search", search_all, search.PARAMS),
    Route("POST", "/v1/payment_intents", create, shape.CREATE),
    Route("GET", "/v1/payment_intents", list_all, shape.LIST),
    Route("GET", "/v1/payment_intents/{}", retrieve, shape.RETRIEVE),
    Route("POST", "/v1/payment_intents/{}", update, shape.UPDATE),
    Route("POST", "/v1/payment_intents/{}/confirm", confirm, shape.CONFIRM),
    Route("POST", "/v1/payment_intents/{}/cancel", cancel, shape.CANCEL),
]
