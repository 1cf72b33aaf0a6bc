"""SetupIntents over the API; the attempt is in ``setup_intents``."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import intents, setup_intents
from tallystick.sandbox import setup_intent_shape as shape
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, created, listing, merged_metadata, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def create(call: Call) -> Obj:
    """POST /v1/setup_intents; with ``confirm`` the attempt is part of it."""
    params = call.params
    shape.refuse_types(call)
    if not params.get("confirm"):
        for name in ("mandate_data", "return_url"):
            if name in params:
                raise invalid(f"You cannot provide `{name}` without setting `confirm` to true.", param=name)
    intent = setup_intents.make(call, params)
    if params.get("confirm"):
        setup_intents.confirm_with(call, intent, params)
    return intent


def _edit(call: Call, intent: Obj) -> None:
    """Change the intent as the call's parameters say."""
    params = call.params
    names = ("customer", "description", "excluded_payment_method_types", "payment_method_types")
    values: Obj = {name: params[name] for name in names if name in params}
    if values.get("customer"):
        call.find("customer", values["customer"])
    if "metadata" in params:
        values["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
    types: list[str] = values.get("payment_method_types") or intent["payment_method_types"]
    excluded = values.get("excluded_payment_method_types") or ()
    values["payment_method_types"] = [kind for kind in types if kind not in excluded]
    values["payment_method_options"] = shape.options(
        values["payment_method_types"], intent["payment_method_options"], params.get("payment_method_options")
    )
    owner = values.get("customer", intent["customer"])
    method = intents.method_of(call, params, owner, spent_goes=True)
    if method or params.get("payment_method", "") is None:
        values["payment_method"] = method
        values["status"] = "requires_confirmation" if method else "requires_payment_method"
        values["next_action"] = None
    call.store.change(intent, **values)


def update(call: Call) -> Obj:
    """POST /v1/setup_intents/{id}."""
    intent = call.find("setup_intent")
    shape.refuse_types(call)
    if intent["status"] not in setup_intents.OPEN and set(call.params) - {"metadata", "description"}:
        raise setup_intents.unexpected(
            intent, f"You cannot update this SetupIntent because it has a status of {intent['status']}."
        )
    _edit(call, intent)
    return intent


def confirm(call: Call) -> Obj:
    """POST /v1/setup_intents/{id}/confirm."""
    intent = call.find("setup_intent")
    if intent["status"] not in setup_intents.OPEN:
        already = "it has already succeeded" if intent["status"] == "succeeded" else "it has been canceled"
        raise setup_intents.unexpected(intent, f"You cannot confirm this SetupIntent because {already}.")
    _edit(call, intent)
    setup_intents.confirm_with(call, intent, call.params)
    return intent


def cancel(call: Call) -> Obj:
    """POST /v1/setup_intents/{id}/cancel."""
    intent = call.find("setup_intent")
    if intent["status"] not in setup_intents.OPEN:
        raise setup_intents.unexpected(
            intent,
            f"You cannot cancel this SetupIntent because it has a status of {intent['status']}. Only a"
            " SetupIntent with one of the following statuses may be canceled:"
            f" {', '.join(setup_intents.OPEN)}.",
        )
    call.store.change(
        intent,
        status="canceled",
        cancellation_reason=call.params.get("cancellation_reason"),
        next_action=None,
    )
    call.emit("setup_intent.canceled", intent)
    return intent


def retrieve(call: Call) -> Obj:
    """GET /v1/setup_intents/{id}; a wrong client_secret finds nothing."""
    return intents.retrieve(call, "setup_intent", "SetupIntent")


def list_all(call: Call) -> Obj:
    """GET /v1/setup_intents."""
    return page(call, "setup_intent", "/v1/setup_intents")


def list_attempts(call: Call) -> Obj:
    """GET /v1/setup_attempts: those of one SetupIntent."""
    call.find("setup_intent", call.params["setup_intent"], param="setup_intent")
    return page(call, "setup_attempt", "/v1/setup_attempts")


_ATTEMPTS: Final = Params(listing(created=created, setup_intent=text()).fields, required=("setup_intent",))

ROUTES: Final = [
    Route("POST", "/v1/setup_intents", create, shape.CREATE),
    Route("GET", "/v1/setup_intents", list_all, shape.LIST),
    Route("GET", "/v1/setup_intents/{}", retrieve, shape.RETRIEVE),
    Route("POST", "/v1/setup_intents/{}", update, shape.UPDATE),
    Route("POST", "/v1/setup_intents/{}/confirm", confirm, shape.CONFIRM),
    Route("POST", "/v1/setup_intents/{}/cancel", cancel, shape.CANCEL),
    Route("GET", "/v1/setup_attempts", list_attempts, _ATTEMPTS),
]
