"""What PaymentIntents and SetupIntents have in common: how a method is given, and who may read them."""

from __future__ import annotations

from typing import Any

from tallystick.sandbox import confirmation, payment_methods
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.versions import AUTOMATIC_METHODS


def method_of(
    call: Call, params: dict[str, Any], customer: str | None, *, spent_goes: bool = False
) -> str | None:
    """The id of the payment method that was sent, made on the spot if need be.

    ``spent_goes``: also one that has paid its only payment. Raises StripeError (400) for another's.
    """
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
    if method["customer"] is not None or not spent_goes:
        confirmation.check_owner(call, method, customer)
    return str(method["id"])


def automatic(call: Call, params: dict[str, Any]) -> Obj | None:
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


def configuration(call: Call) -> Obj:
    """The account's default configuration of payment methods, as an intent shows it."""
    account = call.sandbox.ids.account
    return {"id": f"pmc_1{account}{account}", "parent": None}


def retrieve(call: Call, kind: str, name: str) -> Obj:
    """The intent in the path; raises StripeError (400) for a ``client_secret`` that is not its own."""
    intent = call.find(kind)
    secret = call.params.get("client_secret")
    if secret is not None and secret != intent["client_secret"]:
        raise invalid(
            f"The client_secret provided does not match the client_secret associated with the {name}.",
            param="client_secret",
            code=f"{kind}_invalid_parameter",
        )
    return intent
