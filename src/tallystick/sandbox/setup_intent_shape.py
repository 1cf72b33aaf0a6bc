"""What a SetupIntent looks like and what its calls take."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import bank_accounts, mandates, payment_methods
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    created,
    list_of,
    listing,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.versions import ENDIVE

BLANK: Final[Obj] = {
    "id": None,
    "object": "setup_intent",
    "application": None,
    "automatic_payment_methods": None,
    "cancellation_reason": None,
    "client_secret": None,
    "created": None,
    "customer": None,
    "customer_account": None,
    "description": None,
    "excluded_payment_method_types": None,
    "flow_directions": None,
    "last_setup_error": None,
    "latest_attempt": None,
    "livemode": False,
    "mandate": None,
    "metadata": {},
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "single_use_mandate": None,
    "status": "requires_payment_method",
    "usage": "off_session",
}
OFFERED: Final = ["card", *bank_accounts.KINDS]
_OPTIONS: Final[dict[str, Obj]] = {
    "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"},
    bank_accounts.US: {"mandate_options": {}, "verification_method": "automatic"},
    bank_accounts.SEPA: {"mandate_options": {}},
}


def options(types: list[str], old: Obj, sent: dict[str, Any] | None) -> Obj:
    """``payment_method_options`` for these types, with what was sent."""
    return {kind: {**_OPTIONS[kind], **old.get(kind, {}), **((sent or {}).get(kind) or {})} for kind in types}


def _types(value: Any, name: str) -> list[str]:
    types: list[str] = list_of(text())(value, name)
    for kind in types:
        if kind not in _OPTIONS:
            raise invalid(
                f"The payment method type provided: {kind} is invalid. Please ensure the provided type is"
                " activated in your dashboard and your account is enabled for any preview features that you"
                " are trying to use.",
                param=name,
            )
    return types


def refuse_types(call: Call) -> None:
    """Raises StripeError (400) where payment_method_types are written from endive on."""
    if "payment_method_types" in call.params and call.since(ENDIVE):
        raise invalid(
            "payment_method_types is no longer supported. Use automatic_payment_methods, or manage payment"
            " methods from the Dashboard, instead.",
            param="payment_method_types",
            code="payment_method_types_no_longer_supported",
        )


_CARD_OPTIONS: Final = Params(
    {
        "mandate_options": unsupported("cards need no mandates for its account"),
        "network": one_of("amex", "diners", "discover", "jcb", "mastercard", "unionpay", "visa"),
        "request_three_d_secure": one_of("any", "automatic", "challenge"),
        "three_d_secure": unsupported("it authenticates by itself"),
    }
)
_US_OPTIONS: Final = Params(
    {
        "financial_connections": unsupported("it has no Financial Connections"),
        "mandate_options": Params({"collection_method": clearable(one_of("paper"))}),
        "networks": Params({"requested": list_of(one_of("ach", "us_domestic_wire"))}),
        "verification_method": one_of("automatic", "instant", "microdeposits"),
    }
)
_ALL_OPTIONS: Final = Params(
    {
        "card": _CARD_OPTIONS,
        bank_accounts.US: _US_OPTIONS,
        bank_accounts.SEPA: Params({"mandate_options": Params({"reference_prefix": clearable(text(12))})}),
    }
)
_CONNECT: Final = unsupported("it keeps no connected accounts' books")

_METHOD: Final[dict[str, Check]] = {
    "allowed_payment_method_types": unsupported("name types in excluded_payment_method_types instead"),
    "payment_method": clearable(text()),
    "payment_method_data": payment_methods.NEW,
    "payment_method_options": _ALL_OPTIONS,
}
_EDITABLE: Final[dict[str, Check]] = {
    **_METHOD,
    "attach_to_self": _CONNECT,
    "customer": text(),
    "customer_account": unsupported("its customers are no accounts"),
    "description": clearable(text(1000)),
    "excluded_payment_method_types": clearable(list_of(text())),
    "flow_directions": _CONNECT,
    "metadata": metadata,
    "payment_method_configuration": unsupported("its account has one configuration"),
    "payment_method_types": _types,
}
_CONFIRMING: Final[dict[str, Check]] = {
    "confirmation_token": unsupported("it has no ConfirmationTokens; send payment_method_data"),
    "mandate_data": clearable(mandates.data),
    "return_url": text(),
    "use_stripe_sdk": boolean,
}
CREATE: Final = Params(
    {
        **_EDITABLE,
        **_CONFIRMING,
        "automatic_payment_methods": Params(
            {"enabled": boolean, "allow_redirects": one_of("always", "never")}, required=("enabled",)
        ),
        "confirm": boolean,
        "on_behalf_of": _CONNECT,
        "single_use": unsupported("single-use mandates belong to PaymentIntents"),
        "usage": one_of("off_session", "on_session"),
    }
)
UPDATE: Final = Params(_EDITABLE)
CONFIRM: Final = Params({**_METHOD, **_CONFIRMING, "client_secret": text()})
CANCEL: Final = Params({"cancellation_reason": one_of("abandoned", "duplicate", "requested_by_customer")})
RETRIEVE: Final = Params({"client_secret": text()})
LIST: Final = listing(
    attach_to_self=boolean, created=created, customer=text(), customer_account=text(), payment_method=text()
)
