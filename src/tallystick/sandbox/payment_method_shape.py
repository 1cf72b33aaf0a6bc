"""What a payment method looks like: a card or a bank account."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from tallystick.sandbox import bank_accounts, cards
from tallystick.sandbox.params import merged_metadata, whole_address
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

SAVED_ONLY: Final = ("acss_debit", "afterpay_clearpay")
"""Kinds that can be made and saved to a customer; no payment takes them here."""

_BANK: Final = "STRIPE TEST BANK"


def store_card(call: Call, card: cards.TestCard, params: dict[str, Any], month: int, year: int) -> Obj:
    """A new card; ``params`` are those of a new payment method."""
    shown = {
        "brand": card.brand,
        "checks": _checks(card, params),
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": month,
        "exp_year": year,
        "fingerprint": fingerprint("card", card.number),
        "funding": card.funding,
        "generated_from": None,
        "last4": card.number[-4:],
        "networks": {"available": [*filter(None, (card.co_brand, card.brand))], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    return _store(call, "card", shown, card.number, params)


def _checks(card: cards.TestCard, params: dict[str, Any]) -> Obj:
    """What the issuer says to the CVC and the address; it checks only what it is sent."""
    address = params.get("billing_details", {}).get("address") or {}
    fields = params.get("card", {})
    shown: Obj = {}
    for name, part in (("line1", "line1"), ("zip", "postal_code")):
        failed = "unchecked" if "unchecked" in card.checks else "fail" if name in card.checks else "pass"
        shown[f"address_{part}_check"] = failed if address.get(part) else None
    # One of Stripe's own ids or tokens stands for a card that was entered with its CVC.
    sent = "cvc" in fields or "number" not in fields
    shown["cvc_check"] = ("fail" if "cvc" in card.checks else "pass") if sent else None
    return shown


def store_account(call: Call, account: bank_accounts.TestAccount, params: dict[str, Any]) -> Obj:
    """A new bank account; ``params`` are those of a new payment method."""
    sent = params.get(account.kind, {})
    number = account.number
    if account.kind == bank_accounts.US:
        shown: Obj = {
            "account_holder_type": sent.get("account_holder_type", "individual"),
            "account_type": sent.get("account_type", "checking"),
            "bank_name": _BANK,
            "financial_connections_account": None,
            "fingerprint": fingerprint("us", number),
            "last4": number[-4:],
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": sent.get("routing_number", "110000000"),
            "status_details": {},
        }
    else:
        shown = {
            "bank_code": number[4:9] if number[:2] == "AT" else number[4:12],
            "branch_code": "",
            "country": number[:2],
            "fingerprint": fingerprint("iban", number),
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": number[-4:],
        }
    if "billing_details" not in params:
        params = {**params, "billing_details": {"name": "Jenny Rosen", "email": "jenny.rosen@example.com"}}
    return _store(call, account.kind, shown, number, params)


def store_other(call: Call, kind: str, params: dict[str, Any]) -> Obj:
    """A new payment method of a ``SAVED_ONLY`` kind."""
    sent = params.get(kind, {})
    number = sent.get("account_number", "")
    shown: Obj = {}
    if kind == "acss_debit":
        shown = {
            "bank_name": _BANK,
            "fingerprint": fingerprint("acss", number),
            "institution_number": sent["institution_number"],
            "last4": number[-4:],
            "transit_number": sent["transit_number"],
        }
    return _store(call, kind, shown, number, params)


def store_balance(call: Call, params: dict[str, Any]) -> Obj:
    """A new payment method that stands for the customer's own cash balance."""
    return _store(call, "customer_balance", {}, "", params)


def _store(call: Call, kind: str, shown: Obj, number: str, params: dict[str, Any]) -> Obj:
    billing = params.get("billing_details", {})
    method: Obj = {
        "id": params.get("id") or call.sandbox.ids.new("pm"),
        "object": "payment_method",
        "allow_redisplay": params.get("allow_redisplay", "unspecified"),
        "billing_details": {
            "address": whole_address(billing.get("address") or {}),
            **{name: billing.get(name) for name in ("email", "name", "phone", "tax_id")},
        },
        kind: shown,
        "created": call.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "type": kind,
    }
    return call.store.put(method, {"number": number})


def fingerprint(kind: str, number: str) -> str:
    """The same for the same number, as Stripe's are within one account."""
    return hashlib.sha256(f"{kind}:{number}".encode()).hexdigest()[:16]
