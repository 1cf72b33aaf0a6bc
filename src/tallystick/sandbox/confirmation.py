"""The attempt to pay a PaymentIntent: authentication, charge, cancellation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from tallystick.sandbox import (
    bank_debits,
    captures,
    cards,
    charge_shape,
    declines,
    disputes,
    payment_methods,
    transfer_payments,
)
from tallystick.sandbox.errors import StripeError, doc_url, invalid, refused
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

LAPSE: Final = "lapse_authentication"
UNCONFIRMED_SECONDS: Final = 3600
"""How long an authentication waits for the second confirmation of ``confirmation_method=manual``."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How the caller confirms."""

    off_session: bool = False
    return_url: str | None = None
    use_stripe_sdk: bool = False
    error_on_requires_action: bool = False
    mandate_data: Obj | None = None


def check_owner(call: Call, method: Obj, customer: str | None) -> None:
    """Raises StripeError when the payment method is not this customer's to use, or is used up."""
    owner = method["customer"]
    if owner is None:
        if call.store.hidden(method).get("spent"):
            raise payment_methods.spent()
        return
    if customer is None:
        raise refused(
            f"The payment method supplied ({method['id']}) belongs to the Customer {owner}. Please include"
            " the Customer in the `customer` parameter on the PaymentIntent.",
            param="payment_method",
        )
    if owner != customer:
        raise refused(
            f"The customer does not have a payment method with the ID {method['id']}. The payment method must"
            " be attached to the customer.",
            code="resource_missing",
            param="payment_method",
        )


def confirm(call: Call, intent: Obj, attempt: Attempt) -> None:
    """Try to pay; raises StripeError (402) for a decline, with its traces kept."""
    if intent["payment_method"] is None:
        raise refused(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either"
            " update the PaymentIntent with a payment method and then confirm it again, or confirm it again"
            " directly with a payment method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
            payment_intent=dict(intent),
        )
    automatic = intent["automatic_payment_methods"]
    redirects = automatic is not None and automatic["allow_redirects"] == "always"
    if redirects and attempt.return_url is None and not attempt.use_stripe_sdk and not attempt.off_session:
        raise invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because"
            " some of these payment methods might redirect your customer off of your page, you must provide a"
            " `return_url`. If you don't want to accept redirect-based payment methods, set"
            " `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]`"
            " to `never` when creating Setup Intents and Payment Intents."
        )
    if attempt.off_session and intent["setup_future_usage"] is not None:
        raise invalid(
            "You cannot use `setup_future_usage` with `off_session` set to true: the payment method must be"
            " set up already to be charged while the customer is away.",
            param="setup_future_usage",
        )
    method = call.find("payment_method", intent["payment_method"])
    check_owner(call, method, intent["customer"])
    _check_type(intent, method)
    if method["type"] == transfer_payments.KIND:
        transfer_payments.ask(call, intent)
        return
    if method["type"] != "card":
        _keep_method(call, intent, method)
        bank_debits.submit(call, intent, method, attempt.mandate_data)
        return
    card = payment_methods.card_of(call, method)
    done = call.store.hidden(intent).get("authenticated") == method["id"]
    if done:
        call.store.hide(intent, authenticated=None)
    if done or not _needs_authentication(call, intent, method, card, attempt):
        pay(call, intent, method, card, authenticated=done)
    elif attempt.off_session or attempt.error_on_requires_action:
        decline = (
            declines.AUTHENTICATION_NOT_HANDLED
            if attempt.error_on_requires_action
            else declines.AUTHENTICATION
        )
        fail(call, intent, method, card, decline, authenticated=False)
    else:
        _ask(call, intent, attempt)


def _check_type(intent: Obj, method: Obj) -> None:
    allowed = intent["payment_method_types"]
    if method["type"] not in allowed:
        raise refused(
            f"The PaymentMethod provided ({method['type']}) is not allowed for this PaymentIntent. Please"
            f" attach a PaymentMethod of one of the following types: {', '.join(allowed)}.",
            param="payment_method",
            code="payment_intent_incompatible_payment_method",
        )


def _card_options(intent: Obj) -> Obj:
    options: Obj = intent["payment_method_options"].get("card", {})
    return options


def _needs_authentication(
    call: Call, intent: Obj, method: Obj, card: cards.TestCard, attempt: Attempt
) -> bool:
    kind = card.authentication
    if kind == "if_asked":
        return _card_options(intent).get("request_three_d_secure") in ("any", "challenge")
    if kind in ("unless_set_up", "on_session") and attempt.off_session:
        return kind == "unless_set_up" and not call.store.hidden(method).get("set_up")
    return bool(kind)


def _ask(call: Call, intent: Obj, attempt: Attempt) -> None:
    """Ask the customer to authenticate: ``requires_action``."""
    url = f"{call.base_url}/3d_secure/{intent['id']}?payment_intent_client_secret={intent['client_secret']}"
    if attempt.return_url is not None and not attempt.use_stripe_sdk:
        action: Obj = {
            "redirect_to_url": {"return_url": attempt.return_url, "url": url},
            "type": "redirect_to_url",
        }
    else:
        source = call.sandbox.ids.new("payatt", of=intent["id"])
        action = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"source": source, "stripe_js": url, "type": "three_d_secure_redirect"},
        }
    call.store.change(intent, status="requires_action", next_action=action, last_payment_error=None)
    call.store.hide(intent, return_url=attempt.return_url)
    call.emit("payment_intent.requires_action", intent)


def authenticated(call: Call, intent: Obj, *, success: bool) -> None:
    """What follows the customer's answer; raises StripeError when the card is declined after all."""
    if intent["status"] != "requires_action" or transfer_payments.waits(intent):
        raise refused(
            f"This PaymentIntent does not wait for authentication: it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    method = call.find("payment_method", intent["payment_method"])
    card = payment_methods.card_of(call, method)
    if success and intent["confirmation_method"] == "manual":
        # The server confirms once more, within an hour.
        call.store.change(intent, status="requires_confirmation", next_action=None)
        call.store.hide(intent, authenticated=method["id"])
        call.after(UNCONFIRMED_SECONDS, LAPSE, intent["id"])
        return
    if success:
        pay(call, intent, method, card, authenticated=True)
        return
    _authentication_failed(call, intent, method)


def _authentication_failed(call: Call, intent: Obj, method: Obj) -> None:
    code = "payment_intent_authentication_failure"
    call.store.change(
        intent,
        status="requires_payment_method",
        next_action=None,
        payment_method=None,
        last_payment_error={
            "code": code,
            "doc_url": doc_url(code),
            "message": "The provided PaymentMethod has failed authentication. You can provide"
            " payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent again.",
            "payment_method": dict(method),
            "type": "invalid_request_error",
        },
    )
    call.emit("payment_intent.payment_failed", intent)


def pay(call: Call, intent: Obj, method: Obj, card: cards.TestCard, *, authenticated: bool) -> None:
    """Charge the card; raises StripeError (402) for a decline."""
    if card.decline is not None:
        fail(call, intent, method, card, card.decline, authenticated=authenticated)
    manual = "manual" in (intent["capture_method"], _card_options(intent).get("capture_method"))
    charge = charge_shape.make(
        call, intent, method, card, decline=None, authenticated=authenticated, captured=not manual
    )
    _keep_method(call, intent, method)
    call.store.change(
        intent,
        status="requires_capture" if manual else "succeeded",
        latest_charge=charge["id"],
        amount_capturable=intent["amount"] if manual else 0,
        amount_received=0 if manual else intent["amount"],
        next_action=None,
        last_payment_error=None,
    )
    if intent["capture_method"] == "automatic" and not manual:
        # The synchronous capture of old: the balance transaction is there before the answer.
        captures.book(call, charge)
    elif manual:
        call.after(charge_shape.AUTHORIZED_SECONDS, captures.EXPIRE, charge["id"])
    else:
        captures.settle_later(call, charge)
    call.emit("charge.succeeded", charge)
    if card.dispute and not manual:
        disputes.draw(call, charge)
    call.emit("payment_intent.amount_capturable_updated" if manual else "payment_intent.succeeded", intent)
    if card.at_once and not manual:
        captures.settle_now(call, charge)


def _keep_method(call: Call, intent: Obj, method: Obj) -> None:
    """Save the method where a later use was announced; otherwise it has paid its one payment."""
    options = intent["payment_method_options"].get(method["type"], {})
    future = intent["setup_future_usage"] or options.get("setup_future_usage")
    if future and future != "none" and intent["customer"] is not None:
        if method["customer"] is None:
            call.store.change(method, customer=intent["customer"])
            call.emit("payment_method.attached", method)
        call.store.hide(method, set_up=True)
    elif method["customer"] is None:
        call.store.hide(method, spent=True)


def fail(
    call: Call,
    intent: Obj,
    method: Obj,
    card: cards.TestCard,
    decline: declines.Decline,
    *,
    authenticated: bool,
) -> NoReturn:
    """Record a declined attempt, and raise it (402)."""
    charge = charge_shape.make(
        call, intent, method, card, decline=decline, authenticated=authenticated, captured=False
    )
    shown = dict(method)
    error: StripeError = payment_methods.declined(decline, charge=charge["id"], payment_method=shown)
    call.store.change(
        intent,
        status="requires_payment_method",
        latest_charge=charge["id"],
        next_action=None,
        payment_method=None,
        last_payment_error=dict(error.body),
    )
    call.emit("charge.failed", charge)
    call.emit("payment_intent.payment_failed", intent)
    error.body["payment_intent"] = dict(intent)
    raise error


def lapse(call: Call, ident: str) -> None:
    """Timer: an authentication that the server has not followed by a confirmation is worth nothing."""
    intent = call.find("payment_intent", ident)
    if intent["status"] != "requires_confirmation" or not call.store.hidden(intent).get("authenticated"):
        return
    call.store.hide(intent, authenticated=None)
    call.store.change(intent, status="requires_payment_method", payment_method=None)


def mark_canceled(call: Call, intent: Obj, reason: str | None) -> None:
    """The end of a PaymentIntent that is not paid."""
    call.store.change(
        intent,
        status="canceled",
        canceled_at=call.now,
        cancellation_reason=reason,
        amount_capturable=0,
        next_action=None,
    )
    call.emit("payment_intent.canceled", intent)
