"""Control calls that do what customers and the passing of time do to payments."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import balance, captures, confirmation, families, refunds, setup_intents
from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.store import Obj

_SETTLING: Final = {captures.SETTLE, refunds.FINISH}


def authenticate(control: Control) -> Obj:
    """Answer a PaymentIntent's authentication: ``outcome`` is succeed or fail. Shows the PaymentIntent."""
    outcome = control.choice("outcome", "succeed", "fail")
    call = control.call()
    intent = call.find("payment_intent")
    try:
        confirmation.authenticated(call, intent, success=outcome == "succeed")
    except StripeError as error:
        if not error.keeps_work:
            raise
        # Declined after authentication: the PaymentIntent tells.
    return intent


def authenticate_setup(control: Control) -> Obj:
    """Answer a SetupIntent's authentication: ``outcome`` is succeed or fail. Shows the SetupIntent."""
    outcome = control.choice("outcome", "succeed", "fail")
    call = control.call()
    intent = call.find("setup_intent")
    try:
        setup_intents.authenticated(call, intent, success=outcome == "succeed")
    except StripeError as error:
        if not error.keeps_work:
            raise
        # Declined after authentication: the SetupIntent tells.
    return intent


def settle(control: Control) -> Obj:
    """Bring all pending settlements and refunds due now; with ``funds`` also make pending funds available.

    A family names further actions that it settles in ``SETTLES``.
    """
    actions = _SETTLING | families.settling() | ({balance.RELEASE} if control.body.get("funds") else set())
    return {"settled": control.sandbox.timers.fire_all(actions)}


CONTROLS: Final[Controls] = {
    ("POST", "payment_intents", "{}", "authenticate"): authenticate,
    ("POST", "setup_intents", "{}", "authenticate"): authenticate_setup,
    ("POST", "settle"): settle,
}
