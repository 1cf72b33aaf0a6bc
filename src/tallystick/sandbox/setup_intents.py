"""SetupIntents: a payment method is made ready for later payments, authenticated where it asks for it."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import cards, intents, mandates, payment_methods
from tallystick.sandbox import setup_intent_shape as shape
from tallystick.sandbox.errors import StripeError, doc_url, invalid, refused
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("setup_intent", "setupintent", indexes=("customer", "payment_method")),
    TableSpec("setup_attempt", "setup attempt", indexes=("setup_intent",)),
]

OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")


def make(call: Call, params: dict[str, Any]) -> Obj:
    """A new SetupIntent from checked ``CREATE`` parameters, and its event; nothing is confirmed yet."""
    ids = call.sandbox.ids
    ident = ids.new("seti")
    if params.get("customer"):
        call.find("customer", params["customer"])
    method = intents.method_of(call, params, params.get("customer"), spent_goes=True)
    automatic = intents.automatic(call, params)
    types = params.get("payment_method_types") or (list(shape.OFFERED) if automatic else ["card"])
    excluded = params.get("excluded_payment_method_types")
    types = [kind for kind in types if kind not in (excluded or ())]
    intent: Obj = {
        **shape.BLANK,
        **{name: params[name] for name in ("customer", "description", "usage") if name in params},
        "id": ident,
        "automatic_payment_methods": automatic,
        "client_secret": f"{ident}_secret_{ids.chars(25)}",
        "created": call.now,
        "excluded_payment_method_types": excluded,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "payment_method": method,
        "payment_method_options": shape.options(types, {}, params.get("payment_method_options")),
        "payment_method_types": types,
        "status": "requires_confirmation" if method else "requires_payment_method",
    }
    if automatic:
        intent["payment_method_configuration_details"] = intents.configuration(call)
    # Stripe asks for a return_url also where it chose the methods by itself; its CLI's fixtures send none.
    call.store.put(intent, {"redirects": "automatic_payment_methods" in params})
    call.emit("setup_intent.created", intent)
    return intent


def confirm_with(call: Call, intent: Obj, params: dict[str, Any]) -> None:
    """Try to set up; raises StripeError (402) for a card that refuses, with its traces kept."""
    if intent["payment_method"] is None:
        raise unexpected(
            intent,
            "You cannot confirm this SetupIntent because it's missing a payment method. Update the"
            " SetupIntent with a payment method and then confirm it again.",
        )
    automatic = intent["automatic_payment_methods"] if call.store.hidden(intent)["redirects"] else None
    redirects = automatic is not None and automatic["allow_redirects"] == "always"
    if redirects and "return_url" not in params and not params.get("use_stripe_sdk"):
        raise invalid(
            "This SetupIntent is configured to accept payment methods enabled in your Dashboard. Because some"
            " of these payment methods might redirect your customer off of your page, you must provide a"
            " `return_url`. If you don't want to accept redirect-based payment methods, set"
            " `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]`"
            " to `never` when creating Setup Intents and Payment Intents."
        )
    method = call.find("payment_method", intent["payment_method"])
    if method["type"] not in intent["payment_method_types"]:
        raise refused(
            f"The PaymentMethod provided ({method['type']}) is not allowed for this SetupIntent.",
            param="payment_method",
            code="setup_intent_invalid_parameter",
        )
    card = payment_methods.card_of(call, method)
    if _needs_authentication(intent, card):
        _ask(call, intent, params)
        return
    _finish(call, intent, method, card, params.get("mandate_data"))


def _needs_authentication(intent: Obj, card: cards.TestCard) -> bool:
    if card.authentication == "if_asked":
        asked = intent["payment_method_options"].get("card", {}).get("request_three_d_secure")
        return asked in ("any", "challenge")
    return card.authentication in ("always", "unless_set_up")


def _ask(call: Call, intent: Obj, params: dict[str, Any]) -> None:
    url = f"{call.base_url}/3d_secure/{intent['id']}?setup_intent_client_secret={intent['client_secret']}"
    back = params.get("return_url")
    if back is not None and not params.get("use_stripe_sdk"):
        action: Obj = {"redirect_to_url": {"return_url": back, "url": url}, "type": "redirect_to_url"}
    else:
        sdk = {
            "source": call.sandbox.ids.new("setatt", of=intent["id"]),
            "stripe_js": url,
            "type": "three_d_secure_redirect",
        }
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": sdk}
    attempt = _attempt(call, intent, "requires_action")
    call.store.change(
        intent,
        status="requires_action",
        next_action=action,
        last_setup_error=None,
        latest_attempt=attempt["id"],
    )
    call.store.hide(intent, return_url=back)
    call.emit("setup_intent.requires_action", intent)


def authenticated(call: Call, intent: Obj, *, success: bool) -> None:
    """What follows the customer's answer; raises StripeError when the card refuses after all."""
    if intent["status"] != "requires_action":
        raise unexpected(
            intent, f"This SetupIntent does not wait for authentication: its status is {intent['status']}."
        )
    method = call.find("payment_method", intent["payment_method"])
    if success:
        _finish(call, intent, method, payment_methods.card_of(call, method), None)
        return
    code = "setup_intent_authentication_failure"
    _failed(
        call,
        intent,
        {
            "code": code,
            "doc_url": doc_url(code),
            "message": "The latest attempt to set up the payment method has failed because authentication"
            " failed.",
            "payment_method": dict(method),
            "type": "invalid_request_error",
        },
    )


def _finish(call: Call, intent: Obj, method: Obj, card: cards.TestCard, acceptance: Obj | None) -> None:
    """The payment method is ready, and the customer's; or its issuer refuses (402)."""
    if card.decline is not None and not card.attaches:
        error: StripeError = payment_methods.declined(card.decline, payment_method=dict(method))
        _failed(call, intent, dict(error.body))
        error.body["setup_intent"] = dict(intent)
        raise error
    if intent["customer"] is not None and method["customer"] is None:
        payment_methods.attach(call, method, intent["customer"])
    call.store.hide(method, set_up=True)
    mandate = None if method["type"] == "card" else mandates.given(call, method, acceptance)["id"]
    attempt = _attempt(call, intent, "succeeded")
    call.store.change(
        intent,
        status="succeeded",
        next_action=None,
        last_setup_error=None,
        latest_attempt=attempt["id"],
        mandate=mandate,
    )
    call.emit("setup_intent.succeeded", intent)


def _failed(call: Call, intent: Obj, error: Obj) -> None:
    attempt = _attempt(call, intent, "failed", error)
    call.store.change(
        intent,
        status="requires_payment_method",
        next_action=None,
        payment_method=None,
        last_setup_error=error,
        latest_attempt=attempt["id"],
    )
    call.emit("setup_intent.setup_failed", intent)


def _attempt(call: Call, intent: Obj, status: str, error: Obj | None = None) -> Obj:
    """The attempt's record; one that waited for the customer is continued."""
    latest = call.store.get("setup_attempt", intent["latest_attempt"] or "")
    if latest is not None and latest["status"] == "requires_action":
        call.store.change(latest, status=status, setup_error=error)
        return latest
    method = call.find("payment_method", intent["payment_method"])
    kind = method["type"]
    details: Obj = {}
    if kind == "card":
        card = method["card"]
        names = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
        details = {name: card[name] for name in names}
        details |= {"network": card["brand"], "three_d_secure": None, "wallet": None}
    return call.store.put(
        {
            "id": call.sandbox.ids.new("setatt", of=intent["id"]),
            "object": "setup_attempt",
            "application": None,
            "created": call.now,
            "customer": intent["customer"],
            "customer_account": None,
            "flow_directions": None,
            "livemode": False,
            "on_behalf_of": None,
            "payment_method": method["id"],
            "payment_method_details": {kind: details, "type": kind},
            "setup_error": error,
            "setup_intent": intent["id"],
            "status": status,
            "usage": intent["usage"],
        }
    )


def unexpected(intent: Obj, message: str) -> StripeError:
    """400 ``setup_intent_unexpected_state``, with the SetupIntent inside."""
    return refused(message, code="setup_intent_unexpected_state", setup_intent=dict(intent))
