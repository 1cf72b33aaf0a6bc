"""How issuers and Radar refuse a card, as the API tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Decline:
    """A refusal as the API tells it. ``code`` is the error's, ``decline_code`` the issuer's."""

    code: str
    decline_code: str
    message: str
    seller_message: str
    advice_code: str | None = "try_again_later"
    network_decline_code: str | None = "01"
    param: str | None = None
    blocked: bool = False
    """Stopped by Radar, never sent to the network."""


_NO_DETAILS: Final = "The bank did not return any further details with this decline."
_DECLINED: Final = "Your card was declined."

GENERIC: Final = Decline("card_declined", "generic_decline", _DECLINED, _NO_DETAILS)
AUTHENTICATION: Final = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
    "The bank requires the customer to authenticate this payment.",
    advice_code=None,
    network_decline_code=None,
)
INSUFFICIENT_FUNDS: Final = Decline(
    "card_declined",
    "insufficient_funds",
    "Your card has insufficient funds.",
    "The bank returned the decline code `insufficient_funds`.",
    network_decline_code="51",
)
LOST: Final = Decline(
    "card_declined",
    "lost_card",
    _DECLINED,
    "The bank returned the decline code `lost_card`.",
    advice_code="do_not_try_again",
    network_decline_code="41",
)
STOLEN: Final = Decline(
    "card_declined",
    "stolen_card",
    _DECLINED,
    "The bank returned the decline code `stolen_card`.",
    advice_code="do_not_try_again",
    network_decline_code="43",
)
EXPIRED: Final = Decline(
    "expired_card",
    "expired_card",
    "Your card has expired.",
    "The bank returned the decline code `expired_card`.",
    advice_code="do_not_try_again",
    network_decline_code="54",
    param="exp_month",
)
INCORRECT_CVC: Final = Decline(
    "incorrect_cvc",
    "incorrect_cvc",
    "Your card's security code is incorrect.",
    "The bank returned the decline code `incorrect_cvc`.",
    advice_code="confirm_card_data",
    network_decline_code="82",
    param="cvc",
)
PROCESSING_ERROR: Final = Decline(
    "processing_error",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
    "The bank returned the decline code `processing_error`.",
    network_decline_code="06",
)
VELOCITY: Final = Decline(
    "card_declined",
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    "The bank returned the decline code `card_velocity_exceeded`.",
    network_decline_code="65",
)
AUTHENTICATION_NOT_HANDLED: Final = Decline(
    "authentication_required",
    "authentication_not_handled",
    "This payment required an authentication action to complete, but `error_on_requires_action` was set. When"
    " you're ready, you can upgrade your integration to handle actions at"
    " https://stripe.com/docs/payments/payment-intents/upgrade-to-handle-actions.",
    "The bank requires the customer to authenticate this payment.",
    advice_code=None,
    network_decline_code=None,
)
FRAUDULENT: Final = Decline(
    "card_declined",
    "fraudulent",
    _DECLINED,
    "Stripe blocked this payment as too risky.",
    advice_code=None,
    network_decline_code=None,
    blocked=True,
)
