"""Stripe's test bank accounts: US accounts and IBANs, the ids that stand for them, and how each behaves.

Sources: Stripe's "Test account numbers" (ACH Direct Debit) and "Test IBANs" (SEPA Direct Debit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

US: Final = "us_bank_account"
SEPA: Final = "sepa_debit"
KINDS: Final = (US, SEPA)
CURRENCY_OF: Final = {US: "usd", SEPA: "eur"}

_MESSAGES: Final = {
    "account_closed": "The customer's bank account has been closed.",
    "no_account": "The bank account could not be located.",
    "insufficient_funds": "The customer's account has insufficient funds to cover this payment.",
    "debit_not_authorized": "The customer has notified their bank that this payment was unauthorized.",
    "invalid_currency": "The bank was unable to process this transaction because of its currency.",
    "generic_could_not_process": "The bank could not process this payment.",
    "charge_exceeds_weekly_limit": "The payment exceeds the weekly limit for this account.",
    "charge_exceeds_source_limit": "The payment exceeds the account's weekly volume limit.",
}


@dataclass(frozen=True, slots=True)
class TestAccount:
    """A bank account and its behaviour.

    ``failure`` is the code with which its debits fail; ``slow``: the answer comes late; ``stuck``: it never
    comes by itself; ``dispute`` is the reason of the dispute that a debit draws once it has succeeded.
    """

    __test__ = False  # pytest would take it for a test by its name

    kind: str
    number: str
    names: tuple[str, ...] = ()
    failure: str = ""
    slow: bool = False
    stuck: bool = False
    dispute: str = ""

    @property
    def message(self) -> str:
        """What the bank says of its ``failure``."""
        return failure_message(self.failure)


def failure_message(code: str) -> str:
    """What the bank says of a failure code."""
    return _MESSAGES.get(code, _MESSAGES["generic_could_not_process"])


def _us(number: str, name: str, **behaviour: object) -> TestAccount:
    return TestAccount(US, number, (f"pm_usBankAccount_{name}",), **behaviour)  # type: ignore[arg-type]


_US_ACCOUNTS: Final = (
    TestAccount(US, "000123456789", ("pm_usBankAccount_success", "pm_usBankAccount")),
    _us("000111111113", "accountClosed", failure="account_closed"),
    _us("000111111116", "noAccount", failure="no_account"),
    _us("000222222227", "insufficientFunds", failure="insufficient_funds"),
    _us("000333333335", "debitNotAuthorized", failure="debit_not_authorized"),
    _us("000444444440", "invalidCurrency", failure="invalid_currency"),
    _us("000777777771", "weeklyLimitExceeded", failure="charge_exceeds_weekly_limit"),
    _us("000555555559", "dispute", dispute="insufficient_funds"),
    _us("000000000009", "processing", stuck=True),
)

# The endings of Austria's IBANs; other countries' test IBANs behave by the same names below.
_SUCCESS: Final = (
    "AT611904300234573201 BE62510007547061 DE89370400440532013000 ES0700120345030000067890"
    " FR1420041010050500013M02606 IE29AIBK93115212345678 IT40S0542811101000000123456"
    " NL39RABO0300065264 PT50000201231234567890154"
)
_SLOW_SUCCESS: Final = "AT321904300235473204 BE78510007547064 DE08370400440532013003"
_FAILURE: Final = (
    "AT861904300235473202 BE68539007547034 DE62370400440532013001 IT81S0542811101000000123456"
    " IT60X0542811101000000123456"  # Stripe's CLI uses it for checkout.session.async_payment_failed
)
_SLOW_FAILURE: Final = "AT051904300235473205 BE51510007547065 DE78370400440532013004"
_DISPUTE: Final = "AT591904300235473203 DE35370400440532013002"
_BEHAVIOURS: Final[tuple[tuple[str, str, dict[str, object]], ...]] = (
    (_SUCCESS, "success", {}),
    (_SLOW_SUCCESS, "successDelayed", {"slow": True}),
    (_FAILURE, "failed", {"failure": "generic_could_not_process"}),
    (_SLOW_FAILURE, "failedDelayed", {"failure": "generic_could_not_process", "slow": True}),
    (_DISPUTE, "disputed", {"dispute": "debit_not_authorized"}),
    ("AT981904300000343434", "exceedsWeeklyVolumeLimit", {"failure": "charge_exceeds_source_limit"}),
    ("AT601904300000121212", "exceedsWeeklyTransactionLimit", {"failure": "charge_exceeds_weekly_limit"}),
    ("AT981904300002222227", "insufficientFunds", {"failure": "insufficient_funds"}),
)


def _ibans() -> list[TestAccount]:
    return [
        TestAccount(SEPA, iban, (f"pm_sepaDebit_{name}_{iban[:2].lower()}",), **behaviour)  # type: ignore[arg-type]
        for ibans, name, behaviour in _BEHAVIOURS
        for iban in ibans.split()
    ]


_ACCOUNTS: Final = (*_US_ACCOUNTS, *_ibans())
_BY_NUMBER: Final = {account.number: account for account in _ACCOUNTS}
_BY_NAME: Final = {name: account for account in reversed(_ACCOUNTS) for name in account.names}


def by_magic_id(ident: str) -> TestAccount | None:
    """The account that ``pm_usBankAccount_success`` or ``pm_sepaDebit_failed_at`` stands for."""
    return _BY_NAME.get(ident)


def us_account(number: str) -> TestAccount | None:
    """The US account with this number; any other of 4 to 17 digits succeeds."""
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    return TestAccount(US, number) if number.isdecimal() and 4 <= len(number) <= 17 else None


def iban(text: str) -> TestAccount | None:
    """The account with this IBAN; any other with two letters, two digits and up to 30 more succeeds."""
    plain = text.replace(" ", "").upper()
    if plain in _BY_NUMBER:
        return _BY_NUMBER[plain]
    formed = 15 <= len(plain) <= 34 and plain[:2].isalpha() and plain[2:4].isdecimal() and plain.isalnum()
    return TestAccount(SEPA, plain) if formed and plain.isascii() else None


def stored(kind: str, number: str) -> TestAccount:
    """The account that has been stored with a payment method."""
    found = us_account(number) if kind == US else iban(number)
    assert found is not None, "A stored number has passed the check."
    return found
