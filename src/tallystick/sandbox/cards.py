"""Stripe's test cards: numbers, the ids that stand for them, and how each behaves."""

from __future__ import annotations

from dataclasses import dataclass, field
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
FRAUDULENT: Final = Decline(
    "card_declined",
    "fraudulent",
    _DECLINED,
    "Stripe blocked this payment as too risky.",
    advice_code=None,
    network_decline_code=None,
    blocked=True,
)


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card and its behaviour.

    ``decline`` refuses every charge; ``attaches`` says whether a refused card can be saved all the same.
    ``authentication`` is "" (never), "unless_set_up" or "always". ``refund`` is "" , "pending" (ends later)
    or "fails" (fails later). ``at_once``: its funds are available without waiting. ``dispute`` is the reason
    of the dispute that its charges draw ("inquiry" for one that moves no money); of several, all draw.
    """

    __test__ = False  # pytest would take it for a test by its name

    number: str
    names: tuple[str, ...] = ()
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    decline: Decline | None = None
    attaches: bool = False
    authentication: str = ""
    refund: str = ""
    at_once: bool = False
    dispute: str = ""
    cvc_check: str = field(default="pass")


_CARDS: Final = (
    TestCard("4242424242424242", ("visa",)),
    TestCard("4000056655665556", ("visa_debit",), funding="debit"),
    TestCard("5555555555554444", ("mastercard",), brand="mastercard"),
    TestCard("2223003122003222", brand="mastercard"),
    TestCard("5200828282828210", ("mastercard_debit",), brand="mastercard", funding="debit"),
    TestCard("5105105105105100", ("mastercard_prepaid",), brand="mastercard", funding="prepaid"),
    TestCard("378282246310005", ("amex",), brand="amex"),
    TestCard("6011111111111117", ("discover",), brand="discover"),
    TestCard("3056930009020004", ("diners",), brand="diners"),
    TestCard("3566002020360505", ("jcb",), brand="jcb"),
    TestCard("6200000000000005", ("unionpay",), brand="unionpay"),
    TestCard("4000002760000016", ("de",), country="DE"),
    TestCard("4000008260000000", ("gb",), country="GB"),
    TestCard("4000003920000003", ("jp",), country="JP"),
    TestCard("4000000000000002", ("chargeDeclined", "visa_chargeDeclined"), decline=GENERIC),
    TestCard(
        "4000000000009995",
        ("chargeDeclinedInsufficientFunds", "visa_chargeDeclinedInsufficientFunds"),
        decline=INSUFFICIENT_FUNDS,
    ),
    TestCard("4000000000009987", ("chargeDeclinedLostCard", "visa_chargeDeclinedLostCard"), decline=LOST),
    TestCard(
        "4000000000009979", ("chargeDeclinedStolenCard", "visa_chargeDeclinedStolenCard"), decline=STOLEN
    ),
    TestCard(
        "4000000000000069", ("chargeDeclinedExpiredCard", "visa_chargeDeclinedExpiredCard"), decline=EXPIRED
    ),
    TestCard(
        "4000000000000127",
        ("chargeDeclinedIncorrectCvc", "visa_chargeDeclinedIncorrectCvc"),
        decline=INCORRECT_CVC,
        cvc_check="fail",
    ),
    TestCard(
        "4000000000000119",
        ("chargeDeclinedProcessingError", "visa_chargeDeclinedProcessingError"),
        decline=PROCESSING_ERROR,
    ),
    TestCard(
        "4000000000006975",
        ("chargeDeclinedVelocityLimitExceeded", "visa_chargeDeclinedVelocityLimitExceeded"),
        decline=VELOCITY,
    ),
    TestCard(
        "4100000000000019", ("radarBlock", "chargeDeclinedFraudulent"), decline=FRAUDULENT, attaches=True
    ),
    TestCard("4000000000000341", ("chargeCustomerFail",), decline=GENERIC, attaches=True),
    TestCard("4000002500003155", ("authenticationRequiredOnSetup",), authentication="unless_set_up"),
    TestCard("4000002760003184", ("authenticationRequired",), country="DE", authentication="always"),
    TestCard("4000000000003220", ("threeDSecure2Required",), authentication="always"),
    TestCard(
        "4000008400001629",
        ("threeDSecureRequiredChargeDeclined",),
        authentication="always",
        decline=GENERIC,
        attaches=True,
    ),
    TestCard("4000000000000259", ("createDispute",), dispute="fraudulent"),
    TestCard("4000000000002685", ("createDisputeProductNotReceived",), dispute="product_not_received"),
    TestCard("4000000000001976", ("createDisputeInquiry",), dispute="inquiry"),
    TestCard("4000000404000079", ("createMultipleDisputes",), dispute="fraudulent fraudulent"),
    TestCard("4000000000000077", ("bypassPending",), at_once=True),
    TestCard("4000003720000278", ("bypassPendingInternational",), country="IE", at_once=True),
    TestCard("4000000000007726", ("pendingRefund",), refund="pending"),
    TestCard("4000000000005126", ("refundFail",), refund="fails"),
)

BY_NUMBER: Final = {card.number: card for card in _CARDS}
BY_NAME: Final = {name: card for card in _CARDS for name in card.names}
BY_NAME.update({f"visa_{name}": card for name, card in BY_NAME.items() if name.startswith("createDispute")})

_BRANDS: Final = {
    "34": "amex",
    "37": "amex",
    "30": "diners",
    "36": "diners",
    "38": "diners",
    "35": "jcb",
    "60": "discover",
    "65": "discover",
    "62": "unionpay",
}


def by_magic_id(ident: str) -> TestCard | None:
    """The card that ``pm_card_visa`` or ``tok_visa`` stands for."""
    for prefix in ("pm_card_", "tok_"):
        if ident.startswith(prefix):
            return BY_NAME.get(ident.removeprefix(prefix))
    return None


def by_number(number: str) -> TestCard | None:
    """The card with this number; any other number that passes the Luhn check behaves like 4242."""
    digits = number.replace(" ", "").replace("-", "")
    known = BY_NUMBER.get(digits)
    if known is not None:
        return known
    if not digits.isdecimal() or not 12 <= len(digits) <= 19 or not _luhn(digits):
        return None
    brand = "visa" if digits[0] == "4" else "mastercard" if digits[0] in "25" else _BRANDS.get(digits[:2])
    return TestCard(digits, brand=brand or "unknown")


def _luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if index % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
