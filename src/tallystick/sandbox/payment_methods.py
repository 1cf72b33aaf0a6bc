"""Payment methods: cards and bank accounts, from a number, a token, or one of Stripe's magic ids."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from tallystick.sandbox import bank_accounts, cards, declines, payment_method_shape
from tallystick.sandbox.errors import StripeError, invalid, missing, refused
from tallystick.sandbox.params import (
    ADDRESS,
    Params,
    clearable,
    email,
    exactly_one,
    integer,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("payment_method", "PaymentMethod", indexes=("customer",))]

BILLING: Final = Params(
    {
        "address": clearable(ADDRESS),
        "email": clearable(email()),
        "name": clearable(text()),
        "phone": clearable(text()),
        "tax_id": clearable(text()),
    }
)
_CARD: Final = Params(
    {"number": text(), "exp_month": integer, "exp_year": integer, "cvc": text(), "token": text()}
)
_US: Final = Params(
    {
        "account_holder_type": one_of("company", "individual"),
        "account_number": text(),
        "account_type": one_of("checking", "savings"),
        "routing_number": text(),
    }
)
_SEPA: Final = Params({"iban": text()}, required=("iban",))
_ACSS: Final = Params(
    {"account_number": text(), "institution_number": text(), "transit_number": text()},
    required=("account_number", "institution_number", "transit_number"),
)
_KIND: Final = one_of("card", "customer_balance", *bank_accounts.KINDS, *payment_method_shape.SAVED_ONLY)
REDISPLAY: Final = one_of("always", "limited", "unspecified")
NEW: Final = Params(
    {
        "type": _KIND,
        "card": _CARD,
        "us_bank_account": _US,
        "sepa_debit": _SEPA,
        "customer_balance": Params({}),
        "acss_debit": _ACSS,
        "afterpay_clearpay": Params({}),
        "billing_details": BILLING,
        "metadata": metadata,
        "allow_redisplay": REDISPLAY,
        "radar_options": unsupported("it assesses no browser sessions"),
    },
    required=("type",),
)
"""What a new payment method takes, also inside a PaymentIntent's ``payment_method_data``."""


def make(call: Call, params: dict[str, Any]) -> Obj:
    """A new payment method from checked ``NEW`` parameters; nothing is attached yet."""
    kind = params["type"]
    if kind == "customer_balance":
        return payment_method_shape.store_balance(call, params)
    sent = params.get(kind)
    if kind == "afterpay_clearpay" or (kind == "acss_debit" and sent is not None):
        return payment_method_shape.store_other(call, kind, params)
    if sent is None:
        raise invalid(f"Missing required param: {kind}.", param=kind, code="parameter_missing")
    if kind != "card":
        return _make_account(call, kind, sent, params)
    if exactly_one(sent, "token", "number") == "token":
        card = cards.by_magic_id(sent["token"])
        if card is None:
            raise missing("token", sent["token"], "card[token]")
        return payment_method_shape.store_card(call, card, params, *_default_expiry(call))
    card = cards.by_number(sent["number"])
    if card is None:
        raise _card_refused("Your card number is incorrect.", "incorrect_number", "number")
    for name in ("exp_month", "exp_year"):
        if name not in sent:
            raise invalid(
                f"Missing required param: card[{name}].", param=f"card[{name}]", code="parameter_missing"
            )
    if not _cvc_fits(card, sent.get("cvc")):
        raise _card_refused("Your card's security code is invalid.", "invalid_cvc", "cvc")
    month, year = expiry(call, sent["exp_month"], sent["exp_year"])
    return payment_method_shape.store_card(call, card, params, month, year)


def _cvc_fits(card: cards.TestCard, cvc: str | None) -> bool:
    lengths = (3, 4) if card.brand == "amex" else (3,)
    return cvc is None or (cvc.isdecimal() and len(cvc) in lengths)


def expiry(call: Call, month: int, year: int) -> tuple[int, int]:
    """Month and whole year of a card that has not expired; raises StripeError (402) for any other."""
    year += 2000 if year < 100 else 0
    today = datetime.fromtimestamp(call.now, UTC)
    if not 1 <= month <= 12:
        raise _card_refused("Your card's expiration month is invalid.", "invalid_expiry_month", "exp_month")
    if not (today.year, today.month) <= (year, month) <= (today.year + 50, 12):
        raise _card_refused("Your card's expiration year is invalid.", "invalid_expiry_year", "exp_year")
    return month, year


def _make_account(call: Call, kind: str, sent: dict[str, Any], params: dict[str, Any]) -> Obj:
    """A new bank account from checked parameters."""
    billing = params.get("billing_details", {})
    needed = ("name",) if kind == bank_accounts.US else ("name", "email")
    if kind == bank_accounts.SEPA:
        for name in needed:
            if not billing.get(name):
                param = f"billing_details[{name}]"
                raise invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")
        account = bank_accounts.iban(sent["iban"])
        if account is None:
            raise invalid(
                "The IBAN you provided is invalid.",
                param="sepa_debit[iban]",
                code="invalid_bank_account_iban",
            )
        return payment_method_shape.store_account(call, account, params)
    for name in ("account_number", "routing_number"):
        if name not in sent:
            param = f"us_bank_account[{name}]"
            raise invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")
    routing = sent["routing_number"]
    if not (routing.isdecimal() and len(routing) == 9):
        raise invalid(
            "Invalid routing number. The routing number must have nine digits.",
            param="us_bank_account[routing_number]",
            code="routing_number_invalid",
        )
    account = bank_accounts.us_account(sent["account_number"])
    if account is None:
        raise invalid(
            "Invalid account number: it must have 4 to 17 digits.",
            param="us_bank_account[account_number]",
            code="account_number_invalid",
        )
    return payment_method_shape.store_account(call, account, params)


def materialise(call: Call, ident: str) -> Obj:
    """The payment method ``ident``; a magic id (``pm_card_visa``) gives a new one each time."""
    card = cards.by_magic_id(ident) if ident.startswith("pm_card_") else None
    if card is not None:
        return payment_method_shape.store_card(call, card, {}, *_default_expiry(call))
    account = bank_accounts.by_magic_id(ident)
    if account is not None:
        return payment_method_shape.store_account(call, account, {})
    return call.find("payment_method", ident, param="payment_method")


def account_of(call: Call, method: Obj) -> bank_accounts.TestAccount | None:
    """The bank account behind a payment method; None for a card, and for what cannot pay here."""
    if method["type"] not in bank_accounts.KINDS:
        return None
    return bank_accounts.stored(method["type"], call.store.hidden(method)["number"])


def card_of(call: Call, method: Obj) -> cards.TestCard:
    """The test card behind a payment method; a bank account counts as one that does nothing of note."""
    if method["type"] != "card":
        return _NO_CARD
    number = call.store.hidden(method)["number"]
    card = cards.by_number(number)
    assert card is not None, "A stored number has passed the check."
    return card


_NO_CARD: Final = cards.TestCard("")


def attach(call: Call, method: Obj, customer: str) -> Obj:
    """Save a payment method to a customer; a card that the issuer refuses is a 402."""
    call.find("customer", customer)
    if method["customer"] == customer:
        return method
    hidden = call.store.hidden(method)
    if method["customer"] is not None:
        raise refused("The payment method you provided has already been attached to a customer.")
    if hidden.get("spent"):
        raise spent()
    card = card_of(call, method)
    if card.decline is not None and not card.attaches:
        raise declined(card.decline, param="")
    call.store.change(method, customer=customer)
    call.emit("payment_method.attached", method)
    return method


def spent() -> StripeError:
    """400: without a customer, a payment method pays once."""
    return refused(
        "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment,"
        " shared with a connected account without Customer attachment, or was detached from a Customer. It"
        " may not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer"
        " first."
    )


def declined(decline: declines.Decline, *, param: str | None = None, **fields: Any) -> StripeError:
    """402: the issuer refuses."""
    return StripeError(
        402,
        decline.message,
        kind="card_error",
        code=decline.code,
        param=decline.param if param is None else param,
        stored=True,
        keeps_work=bool(fields),
        decline_code=decline.decline_code,
        advice_code=decline.advice_code,
        network_decline_code=decline.network_decline_code,
        **fields,
    )


def _card_refused(message: str, code: str, param: str) -> StripeError:
    return StripeError(402, message, kind="card_error", code=code, param=param)


def _default_expiry(call: Call) -> tuple[int, int]:
    """What Stripe gives its magic cards: this month, a year ahead."""
    today = datetime.fromtimestamp(call.now, UTC)
    return today.month, today.year + 1
