"""What to do about a decline, and what to say of it to the customer, by Stripe's decline code. Pure.

After Stripe's own table (docs.stripe.com/declines/codes). Two readers: ``advice`` is for the merchant,
``customer_message`` can be shown as it is. Where Stripe asks not to tell the customer more (lost, stolen and
fraudulent cards), the customer reads what a plain decline says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tallystick.stripe_gateway.answers import (
    AUTHENTICATION,
    AuthenticationDeclinedError,
    DeclinedError,
    StripeAnswer,
)


@dataclass(frozen=True, slots=True)
class Advice:
    """``advice`` for the merchant, ``customer_message`` for the customer."""

    advice: str
    customer_message: str


PLAIN: Final = "Your card was declined. Please use another card or payment method."
_CALL: Final = "Your card was declined. Please contact your card issuer, or use another card."
_UNKNOWN: Final = Advice("Ask for another card.", PLAIN)
_ASK_ISSUER: Final = Advice("The issuer gave no reason; the customer can ask it, or use another card.", _CALL)
_CHECK: Final = "The customer entered it wrongly: ask them to correct it."
_LATER: Final = Advice(
    "The issuer or Stripe could not process it: try again in a moment; if it fails again, ask for another"
    " card.",
    "Your card could not be processed. Please try again in a moment, or use another card.",
)
_PIN: Final = Advice(
    "The issuer wants the card inserted with its PIN, in person.",
    "Your card needs its PIN. Please use another card.",
)
_HIDDEN: Final = Advice(
    "Ask for another card. Do not try this one again, and tell the customer no more than of any decline.",
    PLAIN,
)
_NOT_FOR_THIS: Final = Advice(
    "The card cannot be used for this kind of purchase, amount or currency; the customer can ask the issuer.",
    "Your card does not support this purchase. Please use another card, or contact your card issuer.",
)
_NO_MORE: Final = Advice(
    "The cardholder withdrew the permission: do not try again, ask the customer how they want to pay.",
    _CALL,
)

HIDDEN: Final = frozenset({"fraudulent", "lost_card", "merchant_blacklist", "pickup_card", "stolen_card"})
"""Reasons that a customer must not be told: whoever holds the card may be the wrong person."""

_BY_CODE: Final[dict[str, Advice]] = {
    **dict.fromkeys(HIDDEN, _HIDDEN),
    **dict.fromkeys(
        ("call_issuer", "do_not_honor", "do_not_try_again", "generic_decline", "no_action_taken",
         "restricted_card", "security_violation", "service_not_allowed", "transaction_not_allowed"),
        _ASK_ISSUER,
    ),
    **dict.fromkeys(
        ("approve_with_id", "issuer_not_available", "processing_error", "reenter_transaction",
         "try_again_later"),
        _LATER,
    ),
    **dict.fromkeys(
        ("incorrect_pin", "invalid_pin", "offline_pin_required", "online_or_offline_pin_required",
         "pin_try_exceeded"),
        _PIN,
    ),
    **dict.fromkeys(
        ("card_not_supported", "currency_not_supported", "invalid_amount", "not_permitted"), _NOT_FOR_THIS
    ),
    **dict.fromkeys(
        ("revocation_of_all_authorizations", "revocation_of_authorization", "stop_payment_order"), _NO_MORE
    ),
    "authentication_required": Advice(
        "The bank wants the customer to authenticate: bring them back and confirm the payment again.",
        "Your bank asks you to confirm this payment. Please try again and follow its instructions.",
    ),
    "mobile_device_authentication_required": Advice(
        "The customer must authenticate on their device and pay again.",
        "Your card asks you to confirm this payment on your device. Please try again.",
    ),
    "card_velocity_exceeded": Advice(
        "The card's balance, credit or number of uses is exceeded: ask for another card.",
        "Your card's limit is exceeded. Please use another card, or contact your card issuer.",
    ),
    "withdrawal_count_limit_exceeded": Advice(
        "The card's balance, credit or number of uses is exceeded: ask for another card.",
        "Your card's limit is exceeded. Please use another card, or contact your card issuer.",
    ),
    "duplicate_transaction": Advice(
        "A payment of the same amount was made with this card just before: look whether it succeeded.",
        "This looks like a repeated payment. Please check your recent payments before you try again.",
    ),
    "expired_card": Advice("Ask for another card.", "Your card has expired. Please use another card."),
    "incorrect_address": Advice(_CHECK, "The billing address is wrong. Please check it and try again."),
    "incorrect_cvc": Advice(_CHECK, "The security code is wrong. Please check it and try again."),
    "invalid_cvc": Advice(_CHECK, "The security code is wrong. Please check it and try again."),
    "incorrect_number": Advice(_CHECK, "The card number is wrong. Please check it and try again."),
    "invalid_number": Advice(_CHECK, "The card number is wrong. Please check it and try again."),
    "incorrect_zip": Advice(_CHECK, "The postal code is wrong. Please check it and try again."),
    "invalid_expiry_month": Advice(_CHECK, "The expiry date is wrong. Please check it and try again."),
    "invalid_expiry_year": Advice(_CHECK, "The expiry date is wrong. Please check it and try again."),
    "insufficient_funds": Advice(
        "Ask for another card, or try again later; repeated attempts within a day rarely help.",
        "Your card has insufficient funds. Please use another card or payment method.",
    ),
    "invalid_account": Advice(
        "The card, or the account behind it, is not valid: the customer can ask the issuer.", _CALL
    ),
    "new_account_information_available": Advice(
        "The card was replaced: ask for the new card's details.",
        "Your card's details have changed. Please enter the new ones, or use another card.",
    ),
    "testmode_decline": Advice(
        "The number of a test card was used with a live key.", PLAIN
    ),
}  # fmt: skip


def known_code(*codes: str | None) -> str | None:
    """The first of the codes that Stripe documents; None if there is none."""
    return next((code for code in codes if code in _BY_CODE), None)


def advice_for(code: str | None, decline_code: str | None, advice_code: str | None) -> Advice:
    """The advice for an error of Stripe with these codes; the plain one for a code that is new.

    Where the issuer says not to try again (``advice_code``), the advice says so before anything else.
    """
    found = _BY_CODE.get(decline_code or "") or _BY_CODE.get(code or "") or _UNKNOWN
    if advice_code == "do_not_try_again" and found is not _HIDDEN:
        return Advice(f"Do not try this card again. {found.advice}", found.customer_message)
    return found


def decline(message: str, codes: Mapping[str, str | None], *, intent: StripeAnswer | None) -> DeclinedError:
    """The error for a decline, with what to do about it.

    ``codes``: ``stripe_code``, ``decline_code`` and ``advice_code`` as Stripe gave them. ``message`` is
    Stripe's, unless it could tell what the customer must not know.
    """
    found = advice_for(codes.get("stripe_code"), codes.get("decline_code"), codes.get("advice_code"))
    extra = {name: value for name, value in codes.items() if value}
    extra |= {"advice": found.advice, "customer_message": found.customer_message}
    kind = AuthenticationDeclinedError if AUTHENTICATION in codes.values() else DeclinedError
    hidden = codes.get("decline_code") in HIDDEN
    return kind("Your card was declined." if hidden else message, intent=intent, extra=extra)
