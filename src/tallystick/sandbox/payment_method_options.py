"""``payment_method_options`` of PaymentIntents: which types there are, what they take, and their blanks."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import bank_accounts, transfer_payments
from tallystick.sandbox.params import (
    Params,
    boolean,
    clearable,
    list_of,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.store import Obj

BLANK_OPTIONS: Final[dict[str, Obj]] = {
    "card": {
        "installments": None,
        "mandate_options": None,
        "network": None,
        "request_three_d_secure": "automatic",
    },
    bank_accounts.US: {"mandate_options": {}, "verification_method": "automatic"},
    bank_accounts.SEPA: {"mandate_options": {}},
    "customer_balance": {"bank_transfer": None, "funding_type": None},
}
"""What the options of each type of payment method are when nothing was sent."""
_OFFERED: Final = {
    "usd": ["card", bank_accounts.US],
    "eur": ["card", bank_accounts.SEPA],
}


_KEEPING: Final = clearable(one_of("none", "off_session", "on_session"))
_REQUESTED: Final = one_of("if_available", "never")
_CARD_OPTIONS: Final = Params(
    {
        "capture_method": clearable(one_of("manual")),
        "cvc_token": unsupported("it keeps no CVC tokens"),
        "installments": unsupported("its account offers no installments"),
        "mandate_options": unsupported("cards need no mandates for its account"),
        "network": one_of("amex", "diners", "discover", "jcb", "mastercard", "unionpay", "visa"),
        "request_extended_authorization": _REQUESTED,
        "request_incremental_authorization": _REQUESTED,
        "request_multicapture": _REQUESTED,
        "request_overcapture": _REQUESTED,
        "request_three_d_secure": one_of("any", "automatic", "challenge"),
        "require_cvc_recollection": boolean,
        "setup_future_usage": _KEEPING,
        "statement_descriptor_suffix_kana": unsupported("its account is not Japanese"),
        "statement_descriptor_suffix_kanji": unsupported("its account is not Japanese"),
        "three_d_secure": unsupported("it authenticates by itself"),
    }
)
_US_OPTIONS: Final = Params(
    {
        "financial_connections": unsupported("it has no Financial Connections"),
        "mandate_options": Params({"collection_method": clearable(one_of("paper"))}),
        "networks": Params({"requested": list_of(one_of("ach", "us_domestic_wire"))}),
        "setup_future_usage": _KEEPING,
        "target_date": text(),
        "transaction_purpose": clearable(one_of("goods", "other", "services", "unspecified")),
        "verification_method": one_of("automatic", "instant", "microdeposits"),
    }
)
_SEPA_OPTIONS: Final = Params(
    {
        "mandate_options": Params({"reference_prefix": clearable(text(12))}),
        "setup_future_usage": _KEEPING,
        "target_date": text(),
    }
)
OPTIONS: Final = Params(
    {
        "card": clearable(_CARD_OPTIONS),
        bank_accounts.US: clearable(_US_OPTIONS),
        bank_accounts.SEPA: clearable(_SEPA_OPTIONS),
        "customer_balance": clearable(
            Params(
                {
                    "bank_transfer": Params(
                        {
                            "eu_bank_transfer": Params({"country": text(2)}, required=("country",)),
                            "requested_address_types": list_of(text()),
                            "type": transfer_payments.transfer_type,
                        },
                        required=("type",),
                    ),
                    "funding_type": one_of("bank_transfer"),
                    "setup_future_usage": one_of("none"),
                }
            )
        ),
    }
)


def offered_types(code: str) -> list[str]:
    """The types that Stripe would offer for a currency, of those that the account has."""
    return list(_OFFERED.get(code, ["card"]))


def options(types: list[str], old: Obj, sent: dict[str, Any] | None) -> Obj:
    """``payment_method_options`` for these types, with what was sent; an unset one goes back to its blank."""
    shown = {kind: old.get(kind, BLANK_OPTIONS[kind]) for kind in types}
    for kind, values in (sent or {}).items():
        merged = {
            **BLANK_OPTIONS[kind],
            **(old.get(kind, {}) if values is not None else {}),
            **(values or {}),
        }
        shown[kind] = {
            name: value for name, value in merged.items() if value is not None or name in BLANK_OPTIONS[kind]
        }
    return shown
