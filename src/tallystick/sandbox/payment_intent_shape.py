"""What a PaymentIntent looks like, what its calls take, and which amounts Stripe would charge."""

from __future__ import annotations

from typing import Any, Final

from tallystick import money
from tallystick.sandbox import destinations, mandates, payment_methods
from tallystick.sandbox import payment_method_options as methods
from tallystick.sandbox.amount_details import amount_details
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import (
    SHIPPING,
    Check,
    Params,
    boolean,
    clearable,
    created,
    currency,
    descriptor,
    email,
    integer,
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
    "object": "payment_intent",
    "amount": None,
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": 0,
    "application": None,
    "application_fee_amount": None,
    "automatic_payment_methods": None,
    "canceled_at": None,
    "cancellation_reason": None,
    "capture_method": "automatic_async",
    "client_secret": None,
    "confirmation_method": "automatic",
    "created": None,
    "currency": None,
    "customer": None,
    "customer_account": None,
    "description": None,
    "excluded_payment_method_types": None,
    "last_payment_error": None,
    "latest_charge": None,
    "livemode": False,
    "metadata": {},
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "payment_record": None,
    "processing": None,
    "receipt_email": None,
    "review": None,
    "setup_future_usage": None,
    "shipping": None,
    "source": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": "requires_payment_method",
    "transfer_data": None,
    "transfer_group": None,
}
BLANK_OPTIONS: Final = methods.BLANK_OPTIONS
offered_types: Final = methods.offered_types
options: Final = methods.options
"""As invoices, too, call them."""

AS_SENT: Final = (
    "amount",
    "capture_method",
    "confirmation_method",
    "currency",
    "customer",
    "description",
    "payment_method_types",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)


def _types(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise invalid("Invalid array", param=name)
    if unknown := [item for item in value if item not in methods.BLANK_OPTIONS]:
        raise invalid(
            f"The payment method type provided: {unknown[0]} is invalid. Please ensure the provided type is"
            " activated in your dashboard and your account is enabled for any preview features that you are"
            " trying to use.",
            param=name,
        )
    return list(value)


def _off_session(value: Any, _name: str) -> bool:
    return value in ("true", "one_off", "recurring")


_SHARED: Final[dict[str, Check]] = {
    "allowed_payment_method_types": unsupported("name types in excluded_payment_method_types instead"),
    "amount_details": amount_details,
    "confirmation_token": unsupported("it has no ConfirmationTokens; send payment_method_data"),
    "excluded_payment_method_types": clearable(list_of(text())),
    "hooks": unsupported("it computes no taxes for PaymentIntents"),
    "mandate_data": clearable(mandates.data),
    "payment_details": clearable(
        Params({"customer_reference": clearable(text(25)), "order_reference": clearable(text(25))})
    ),
    "radar_options": unsupported("it assesses no browser sessions"),
    "payment_method": clearable(text()),
    "payment_method_data": payment_methods.NEW,
    "payment_method_options": methods.OPTIONS,
    "payment_method_types": _types,
    "capture_method": one_of("automatic", "automatic_async", "manual"),
    "receipt_email": clearable(email()),
    "setup_future_usage": clearable(one_of("off_session", "on_session")),
    "shipping": clearable(SHIPPING),
}
EDITABLE: Final[dict[str, Check]] = {
    **_SHARED,
    "amount": integer,
    "currency": currency,
    "customer": text(),
    "customer_account": unsupported("its customers are no accounts"),
    "description": clearable(text(1000)),
    "metadata": metadata,
    "statement_descriptor": clearable(descriptor),
    "payment_method_configuration": unsupported("its account has one configuration"),
    "statement_descriptor_suffix": clearable(descriptor),
    "transfer_group": clearable(text()),
}
PLAIN: Final = EDITABLE.keys() - {
    "amount_details",
    "excluded_payment_method_types",
    "mandate_data",
    "payment_details",
    "payment_method",
    "payment_method_data",
    "payment_method_options",
    "radar_options",
}
"""The parameters that are fields of the same name."""
_CONFIRMING: Final[dict[str, Check]] = {
    "error_on_requires_action": boolean,
    "mandate": text(),
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
    if amount > money.currency(code).maximum:
        most = money.decimal_text(money.currency(code).maximum, code)
        raise invalid(f"Amount must be no more than {most} {code}", param="amount", code="amount_too_large")
    if problem := money.charge_problem(amount, code):
        raise invalid(problem, param="amount", code="invalid_charge_amount")


def refuse_types(call: Call) -> None:
    """Raises StripeError (400) where payment_method_types are written from endive on."""
    if "payment_method_types" in call.params and call.since(ENDIVE):
        raise invalid(
            "payment_method_types is no longer supported. Use automatic_payment_methods, or manage payment"
            " methods from the Dashboard, instead.",
            param="payment_method_types",
            code="payment_method_types_no_longer_supported",
        )


CREATE: Final = Params(
    {
        **EDITABLE,
        **_CONFIRMING,
        "automatic_payment_methods": _AUTOMATIC,
        "confirm": boolean,
        "confirmation_method": one_of("automatic", "manual"),
        **destinations.NEW,
    },
    required=("amount", "currency"),
)
CAPTURE: Final = Params(
    {
        "amount_details": amount_details,
        "amount_to_capture": integer,
        **destinations.CHANGED,
        "final_capture": boolean,
        "metadata": metadata,
        "statement_descriptor": descriptor,
        "statement_descriptor_suffix": descriptor,
    }
)
INCREMENT: Final = Params(
    {
        "amount": integer,
        "amount_details": amount_details,
        **destinations.CHANGED,
        "description": clearable(text(1000)),
        "hooks": unsupported("it computes no taxes for PaymentIntents"),
        "metadata": metadata,
        "payment_details": _SHARED["payment_details"],
        "statement_descriptor": descriptor,
    },
    required=("amount",),
)
CANCEL: Final = Params(
    {"cancellation_reason": one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer")}
)

UPDATE: Final = Params({**EDITABLE, **destinations.CHANGED})
CONFIRM: Final = Params({**_SHARED, **_CONFIRMING})
RETRIEVE: Final = Params({"client_secret": text()})
LIST: Final = listing(created=created, customer=text())
