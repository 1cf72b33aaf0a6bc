"""PaymentIntents: create, update, list; the attempt to pay is in ``confirmation``."""

from __future__ import annotations

from typing import Any, Final

from tallystick import money
from tallystick.sandbox import balance, confirmation, payment_methods, refunds
from tallystick.sandbox.errors import StripeError, invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    SHIPPING,
    Check,
    Params,
    boolean,
    clearable,
    created,
    currency,
    integer,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
    whole_shipping,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.versions import ASYNC_CAPTURE, AUTOMATIC_METHODS, ENDIVE

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


def _types(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise invalid("Invalid array", param=name)
    if unknown := [item for item in value if item != "card"]:
        raise invalid(
            f"The payment method type provided: {unknown[0]} is invalid. Please ensure the provided type is"
            " activated in your dashboard and your account is enabled for any preview features that you are"
            " trying to use.",
            param=name,
        )
    return list(value)


_CARD_OPTIONS: Final = Params(
    {
        "capture_method": clearable(one_of("manual")),
        "request_three_d_secure": one_of("any", "automatic", "challenge"),
        "setup_future_usage": clearable(one_of("none", "off_session", "on_session")),
    }
)
_OPTIONS: Final = Params({"card": _CARD_OPTIONS})


def _off_session(value: Any, _name: str) -> bool:
    return value in ("true", "one_off", "recurring")


_SHARED: Final[dict[str, Check]] = {
    "payment_method": clearable(text()),
    "payment_method_data": payment_methods.NEW,
    "payment_method_options": _OPTIONS,
    "payment_method_types": _types,
    "capture_method": one_of("automatic", "automatic_async", "manual"),
    "receipt_email": clearable(text()),
    "setup_future_usage": clearable(one_of("off_session", "on_session")),
    "shipping": clearable(SHIPPING),
}
_EDITABLE: Final[dict[str, Check]] = {
    **_SHARED,
    "amount": integer,
    "currency": currency,
    "customer": text(),
    "description": clearable(text(1000)),
    "metadata": metadata,
    "statement_descriptor": clearable(text(22)),
    "statement_descriptor_suffix": clearable(text(22)),
    "transfer_group": clearable(text()),
}
_CONFIRMING: Final[dict[str, Check]] = {
    "error_on_requires_action": boolean,
    "off_session": _off_session,
    "return_url": text(),
    "use_stripe_sdk": boolean,
}
_AUTOMATIC: Final = Params(
    {"enabled": boolean, "allow_redirects": one_of("always", "never")}, required=("enabled",)
)


def check_amount(amount: int, code: str) -> None:
    """Raises StripeError (400) for an amount that Stripe would not charge."""
    if amount < 1:
        raise invalid(
            "The amount must be greater than or equal to the minimum charge amount allowed for your account"
            " and the currency set (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts)."
            "  If you want to save a Payment Method for future use without an immediate payment, use a Setup"
            " Intent instead: https://docs.stripe.com/payments/setup-intents",
            param="amount",
            code="parameter_invalid_integer",
        )
    row = money.currency(code)
    if amount < row.minimum:
        least = money.decimal_text(row.minimum, code)
        raise invalid(f"Amount must be at least {least} {code}", param="amount", code="amount_too_small")
    if amount > money.MAX_CHARGE:
        most = money.decimal_text(money.MAX_CHARGE, code)
        raise invalid(f"Amount must be no more than {most} {code}", param="amount", code="amount_too_large")
    if problem := money.charge_problem(amount, code):
        raise invalid(problem, param="amount", code="invalid_charge_amount")


def _refuse_types(call: Call) -> None:
    if "payment_method_types" in call.params and call.since(ENDIVE):
        raise invalid(
            "payment_method_types is no longer supported. Use automatic_payment_methods, or manage payment"
            " methods from the Dashboard, instead.",
            param="payment_method_types",
            code="payment_method_types_no_longer_supported",
        )


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


def _options(old: Obj, sent: dict[str, Any] | None) -> Obj:
    if sent is None:
        return old
    card = {**old["card"], **sent.get("card", {})}
    for name in ("capture_method", "setup_future_usage"):
        if card.get(name, "") is None:
            del card[name]
    return {**old, "card": card}


def create(call: Call) -> Obj:
    """POST /v1/payment_intents; with ``confirm`` the attempt to pay is part of it."""
    params = call.params
    _refuse_types(call)
    check_amount(params["amount"], params["currency"])
    balance.settled(call, params["amount"], params["currency"])  # without a rate it could never be booked
    _check_confirming(params)
    if params.get("customer"):
        call.find("customer", params["customer"])
    method = _method(call, params, params.get("customer"))
    intent = _new(call, params, method)
    call.store.put(intent, {})
    call.emit("payment_intent.created", intent)
    if params.get("confirm"):
        confirmation.confirm(call, intent, _attempt(params))
    return intent


def _check_confirming(params: dict[str, Any]) -> None:
    if params.get("confirm"):
        return
    for name in ("off_session", "error_on_requires_action", "return_url"):
        if name in params:
            raise invalid(f"You cannot provide `{name}` without setting `confirm` to true.", param=name)


def _attempt(params: dict[str, Any]) -> confirmation.Attempt:
    return confirmation.Attempt(
        off_session=params.get("off_session", False),
        return_url=params.get("return_url"),
        use_stripe_sdk=params.get("use_stripe_sdk", False),
        error_on_requires_action=params.get("error_on_requires_action", False),
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
    automatic = _automatic(call, params)
    options = {"installments": None, "mandate_options": None, "network": None}
    return {
        "id": ident,
        "object": "payment_intent",
        "amount": params["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.get(
            "capture_method", "automatic_async" if call.since(ASYNC_CAPTURE) else "automatic"
        ),
        "client_secret": f"{ident}_secret_{ids.chars(25)}",
        "confirmation_method": params.get("confirmation_method", "automatic"),
        "created": call.now,
        "currency": params["currency"],
        "customer": params.get("customer"),
        "customer_account": None,
        "description": params.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": method,
        "payment_method_configuration_details": {
            "id": f"pmc_1{ids.account}{ids.account}",
            "parent": None,
        }
        if automatic
        else None,
        "payment_method_options": _options(
            {"card": {**options, "request_three_d_secure": "automatic"}},
            params.get("payment_method_options"),
        ),
        "payment_method_types": params.get("payment_method_types", ["card"]),
        "payment_record": None,
        "processing": None,
        "receipt_email": params.get("receipt_email"),
        "review": None,
        "setup_future_usage": params.get("setup_future_usage"),
        "shipping": whole_shipping(params.get("shipping")),
        "source": None,
        "statement_descriptor": params.get("statement_descriptor"),
        "statement_descriptor_suffix": params.get("statement_descriptor_suffix"),
        "status": "requires_confirmation" if method else "requires_payment_method",
        "transfer_data": None,
        "transfer_group": params.get("transfer_group"),
    }


def _edited(call: Call, intent: Obj) -> Obj:
    """The intent's fields as the call's parameters make them; checks only what was sent."""
    params = call.params
    names = _EDITABLE.keys() - {"payment_method", "payment_method_data", "payment_method_options"}
    values: Obj = {name: params[name] for name in names if name in params}
    if "metadata" in values:
        values["metadata"] = merged_metadata(intent["metadata"], values["metadata"])
    if "shipping" in values:
        values["shipping"] = whole_shipping(values["shipping"])
    if "customer" in values:
        call.find("customer", values["customer"])
    if "amount" in values or "currency" in values:
        after = {**intent, **values}
        check_amount(after["amount"], after["currency"])
        balance.settled(call, after["amount"], after["currency"])
    if "payment_method_options" in params:
        values["payment_method_options"] = _options(
            intent["payment_method_options"], params["payment_method_options"]
        )
    method = _method(call, params, values.get("customer", intent["customer"]))
    if method or params.get("payment_method", "") is None:
        values["payment_method"] = method
    return values


def update(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}."""
    intent = call.find("payment_intent")
    _refuse_types(call)
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
    _refuse_types(call)
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


def capture(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/capture: in full or, once, in part."""
    intent, params = call.find("payment_intent"), call.params
    if intent["status"] != "requires_capture":
        raise unexpected(
            intent,
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. Only a"
            " PaymentIntent with one of the following statuses may be captured: requires_capture.",
        )
    capturable: int = intent["amount_capturable"]
    amount: int = params.get("amount_to_capture", capturable)
    if amount > intent["amount_capturable"]:
        raise refused(
            f"The amount_to_capture ({amount}) is greater than the amount that can be captured"
            f" ({intent['amount_capturable']}).",
            code="amount_too_large",
            param="amount_to_capture",
        )
    if amount < 1:
        raise invalid("Invalid positive integer", param="amount_to_capture", code="parameter_invalid_integer")
    if not params.get("final_capture", True):
        raise refused("This payment cannot be captured more than once.", param="final_capture")
    names = ("statement_descriptor", "statement_descriptor_suffix")
    values = {name: params[name] for name in names if name in params}
    if "metadata" in params:
        values["metadata"] = merged_metadata(intent["metadata"], params["metadata"])
    call.store.change(intent, **values)
    confirmation.capture(call, intent, amount)
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
        refunds.let_go(call, call.find("charge", intent["latest_charge"]))
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


_CREATE: Final = Params(
    {
        **_EDITABLE,
        **_CONFIRMING,
        "automatic_payment_methods": _AUTOMATIC,
        "confirm": boolean,
        "confirmation_method": one_of("automatic", "manual"),
    },
    required=("amount", "currency"),
)
_CAPTURE: Final = Params(
    {
        "amount_to_capture": integer,
        "final_capture": boolean,
        "metadata": metadata,
        "statement_descriptor": text(22),
        "statement_descriptor_suffix": text(22),
    }
)
_CANCEL: Final = Params(
    {"cancellation_reason": one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer")}
)

ROUTES: Final = [
    Route("POST", "/v1/payment_intents", create, _CREATE),
    Route("GET", "/v1/payment_intents", list_all, listing(created=created, customer=text())),
    Route("GET", "/v1/payment_intents/{}", retrieve, Params({"client_secret": text()})),
    Route("POST", "/v1/payment_intents/{}", update, Params(_EDITABLE)),
    Route("POST", "/v1/payment_intents/{}/confirm", confirm, Params({**_SHARED, **_CONFIRMING})),
    Route("POST", "/v1/payment_intents/{}/capture", capture, _CAPTURE),
    Route("POST", "/v1/payment_intents/{}/cancel", cancel, _CANCEL),
]
