"""Stripe's test cards: numbers, the ids that stand for them, and how each behaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.sandbox.declines import (
    EXPIRED,
    FRAUDULENT,
    GENERIC,
    INCORRECT_CVC,
    INSUFFICIENT_FUNDS,
    LOST,
    PROCESSING_ERROR,
    STOLEN,
    VELOCITY,
    Decline,
)


@dataclass(frozen=True, slots=True)
class TestCard:
    """A card and its behaviour.

    ``decline`` refuses every charge; ``attaches`` says whether a refused card can be saved all the same.
    ``authentication`` is "" (never), "if_asked" (where ``request_three_d_secure`` asks for it), "always", or
    for payments that the customer attends and, off session, "unless_set_up" or never ("on_session").
    ``refund`` is "" , "pending" (ends later) or "fails" (fails later). ``at_once``: its funds are available
    without waiting. ``dispute`` is the reason of the dispute that its charges draw ("inquiry" for one that
    moves no money); of several, all draw. ``warned``: its charges draw an early fraud warning. ``checks``
    says which checks fail where what they check was sent: "cvc", "line1", "zip", or "unchecked" for both of
    the address. ``co_brand`` is a second network beside the brand's.
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
    warned: bool = False
    risk: str = "normal"
    checks: frozenset[str] = frozenset()
    co_brand: str = ""


_CARDS: Final = (
    TestCard("4242424242424242", ("visa",)),
    TestCard("4000056655665556", ("visa_debit",), funding="debit"),
    TestCard("5555555555554444", ("mastercard",), brand="mastercard"),
    TestCard("2223003122003222", brand="mastercard"),
    TestCard("5200828282828210", ("mastercard_debit",), brand="mastercard", funding="debit"),
    TestCard("5105105105105100", ("mastercard_prepaid",), brand="mastercard", funding="prepaid"),
    TestCard("378282246310005", ("amex", "amex_threeDSecureNotSupported"), brand="amex"),
    TestCard("6011111111111117", ("discover",), brand="discover"),
    TestCard("3056930009020004", ("diners",), brand="diners"),
    TestCard("3566002020360505", ("jcb",), brand="jcb"),
    TestCard("6200000000000005", ("unionpay",), brand="unionpay"),
    TestCard("6011981111111113", brand="discover", funding="debit"),
    TestCard("6200000000000047", brand="unionpay", funding="debit"),
    TestCard("4000002500001001", ("visa_cartesBancaires",), country="FR", co_brand="cartes_bancaires"),
    TestCard(
        "5555552500001001",
        ("mastercard_cartesBancaires",),
        brand="mastercard",
        country="FR",
        co_brand="cartes_bancaires",
    ),
    TestCard(
        "4000050360000001",
        ("visa_debit_eftposAuCoBranded",),
        funding="debit",
        country="AU",
        co_brand="eftpos_au",
    ),
    TestCard(
        "5555050360000080",
        ("mastercard_debit_eftposAuCoBranded",),
        brand="mastercard",
        funding="debit",
        country="AU",
        co_brand="eftpos_au",
    ),
    TestCard("4000000000000002", ("chargeDeclined", "visa_chargeDeclined"), decline=GENERIC),
    TestCard(
        "4000000000009995",
        ("chargeDeclinedInsufficientFunds", "visa_chargeDeclinedInsufficientFunds"),
        decline=INSUFFICIENT_FUNDS,
    ),
    TestCard("4000000000009987", ("chargeDeclinedLostCard", "visa_chargeDeclinedLostCard"), decline=LOST),
    TestCard(
        "4000000000009979",
        ("chargeDeclinedStolenCard", "visa_chargeDeclinedStolenCard"),
        decline=STOLEN,
    ),
    TestCard(
        "4000000000000069",
        ("chargeDeclinedExpiredCard", "visa_chargeDeclinedExpiredCard"),
        decline=EXPIRED,
    ),
    TestCard(
        "4000000000000127",
        ("chargeDeclinedIncorrectCvc", "visa_chargeDeclinedIncorrectCvc"),
        decline=INCORRECT_CVC,
        checks=frozenset(("cvc",)),
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
        "4100000000000019",
        ("radarBlock", "chargeDeclinedFraudulent"),
        decline=FRAUDULENT,
        attaches=True,
    ),
    TestCard("4000000000000341", ("chargeCustomerFail",), decline=GENERIC, attaches=True),
    TestCard("4000000000004954", ("riskLevelHighest",), decline=FRAUDULENT, attaches=True),
    TestCard("4000000000009235", ("riskLevelElevated",), risk="elevated"),
    TestCard("4000000000000101", ("cvcCheckFail",), checks=frozenset(("cvc",))),
    TestCard("4000000000000036", ("avsZipFail",), checks=frozenset(("zip",))),
    TestCard("4000000000000028", ("avsLine1Fail",), checks=frozenset(("line1",))),
    TestCard("4000000000000010", ("avsFail",), checks=frozenset(("line1", "zip"))),
    TestCard("4000000000000044", ("avsUnchecked",), checks=frozenset(("unchecked",))),
    TestCard(
        "4000002500003155", ("authenticationRequiredOnSetup",), country="FR", authentication="unless_set_up"
    ),
    TestCard(
        "4000003800000446",
        ("authenticationRequiredSetupForOffSession",),
        country="IT",
        authentication="on_session",
    ),
    TestCard(
        "4000008260003178",
        ("authenticationRequiredChargeDeclinedInsufficientFunds",),
        country="GB",
        authentication="unless_set_up",
        decline=INSUFFICIENT_FUNDS,
        attaches=True,
    ),
    TestCard("4000000000003063", ("threeDSecureRequired",), authentication="always"),
    TestCard("4000000000003055", ("threeDSecureOptional",), authentication="if_asked"),
    TestCard("4000000000003097", ("threeDSecureOptionalProcessingError",)),
    TestCard(
        "4000008400001280",
        ("threeDSecureRequiredProcessingError",),
        decline=GENERIC,
        attaches=True,
    ),
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
    TestCard("4000000404000038", ("createCe3EligibleDispute",), dispute="fraudulent"),
    TestCard("4000008400000779", ("createComplianceDispute",), dispute="noncompliant"),
    TestCard("4000000000005423", ("createIssuerFraudRecord",), warned=True),
    TestCard("4000000000000077", ("bypassPending",), at_once=True),
    TestCard("4000003720000278", ("bypassPendingInternational",), country="IE", at_once=True),
    TestCard("4000000000007726", ("pendingRefund",), refund="pending"),
    TestCard("4000000000005126", ("refundFail",), refund="fails"),
)

_BY_COUNTRY: Final = """
    us 4242424242424242 ar 4000000320000021 br 4000000760000002 ca 4000001240000000 cl 4000001520000001
    co 4000001700000003 cr 4000001880000005 ec 4000002180000000 mx 4000004840008001 pa 4000005910000000
    py 4000006000000066 pe 4000006040000068 uy 4000008580000003 ae 4000007840000001 at 4000000400000008
    be 4000000560000004 bg 4000001000000000 by 4000001120000005 hr 4000001910000009 cy 4000001960000008
    cz 4000002030000002 dk 4000002080000001 ee 4000002330000009 fi 4000002460000001 fr 4000002500000003
    de 4000002760000016 gi 4000002920000005 gr 4000003000000030 hu 4000003480000005 ie 4000003720000005
    it 4000003800000008 lv 4000004280000005 li 4000004380000004 lt 4000004400000000 lu 4000004420000006
    mt 4000004700000007 nl 4000005280000002 no 4000005780000007 pl 4000006160000005 pt 4000006200000007
    ro 4000006420000001 sa 4000006820000007 si 4000007050000006 sk 4000007030000001 es 4000007240000007
    se 4000007520000008 ch 4000007560000009 gb 4000008260000000 au 4000000360000006 cn 4000001560000002
    hk 4000003440000004 in 4000003560000008 jp 4000003920000003 my 4000004580000002 nz 4000005540000008
    sg 4000007020000003 tw 4000001580000008 th_credit 4000007640000003 th_debit 4000057640000008
    gb_debit 4000058260000005 ae_mastercard 5200007840000022 gb_mastercard 5555558265554449
""".split()
"""Stripe's international cards: what follows ``pm_card_``, and the number; all of them succeed."""


def _international(name: str, number: str) -> TestCard:
    country, _, kind = name.partition("_")
    return TestCard(
        number,
        (name,),
        brand="mastercard" if kind == "mastercard" else "visa",
        funding="debit" if kind == "debit" else "credit",
        country=country.upper(),
    )


_INTERNATIONAL: Final = tuple(map(_international, _BY_COUNTRY[::2], _BY_COUNTRY[1::2]))

BY_NUMBER: Final = {card.number: card for card in (*_INTERNATIONAL, *_CARDS)}
BY_NAME: Final = {name: card for card in (*_INTERNATIONAL, *_CARDS) for name in card.names}
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
