"""Charges: what a confirmed PaymentIntent makes; here they can only be read and annotated."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import cards
from tallystick.sandbox.errors import refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    SHIPPING,
    Params,
    clearable,
    created,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
    whole_shipping,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("charge", "charge", indexes=("payment_intent", "customer", "transfer_group")),
]

_DESCRIPTOR: Final = "TALLYSTICK"
AUTHORIZED_SECONDS: Final = 7 * 24 * 3600
"""How long an authorization waits for its capture."""

_BLANK: Final[Obj] = {
    "id": None,
    "object": "charge",
    "amount": None,
    "amount_captured": 0,
    "amount_refunded": 0,
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "billing_details": None,
    "calculated_statement_descriptor": None,
    "captured": False,
    "created": None,
    "currency": None,
    "customer": None,
    "description": None,
    "destination": None,
    "dispute": None,
    "disputed": False,
    "failure_balance_transaction": None,
    "failure_code": None,
    "failure_message": None,
    "fraud_details": {},
    "livemode": False,
    "metadata": {},
    "on_behalf_of": None,
    "order": None,
    "outcome": None,
    "paid": False,
    "payment_intent": None,
    "payment_method": None,
    "payment_method_details": None,
    "radar_options": {},
    "receipt_email": None,
    "receipt_number": None,
    "receipt_url": None,
    "refunded": False,
    "review": None,
    "shipping": None,
    "source": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": None,
    "transfer_data": None,
    "transfer_group": None,
}
_FROM_INTENT: Final = (
    "amount",
    "currency",
    "customer",
    "description",
    "metadata",
    "receipt_email",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)


def make(
    call: Call,
    intent: Obj,
    method: Obj,
    card: cards.TestCard,
    *,
    decline: cards.Decline | None,
    authenticated: bool,
    captured: bool,
) -> Obj:
    """A new charge of a PaymentIntent on a card: succeeded, authorized only, or failed by ``decline``."""
    amount = intent["amount"]
    paid = decline is None
    captured = captured and paid
    ident = call.sandbox.ids.new("ch", of=intent["id"])
    details = _card_details(call, method, card, amount, paid=paid, authenticated=authenticated)
    if paid and not captured:
        details["capture_before"] = call.now + AUTHORIZED_SECONDS
    charge: Obj = {
        **_BLANK,
        **{name: intent[name] for name in _FROM_INTENT},
        "id": ident,
        "amount_captured": amount if captured else 0,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": _descriptor(intent),
        "captured": captured,
        "created": call.now,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "outcome": _outcome(call, decline),
        "paid": paid,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": details, "type": "card"},
        "receipt_url": f"{call.base_url}/receipts/{ident}" if paid else None,
        "status": "succeeded" if paid else "failed",
    }
    return call.store.put(charge)


def _descriptor(intent: Obj) -> str:
    if intent["statement_descriptor_suffix"]:
        return f"{_DESCRIPTOR}* {intent['statement_descriptor_suffix']}"[:22]
    return str(intent["statement_descriptor"] or _DESCRIPTOR)


def _outcome(call: Call, decline: cards.Decline | None) -> Obj:
    """How the attempt ended, as the network and Radar saw it."""
    if decline is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": call.sandbox.ids.random.randint(1, 64),
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    return {
        "advice_code": decline.advice_code,
        "network_advice_code": None,
        "network_decline_code": decline.network_decline_code,
        "network_status": "not_sent_to_network" if decline.blocked else "declined_by_network",
        "reason": "highest_risk_level" if decline.blocked else decline.decline_code,
        "risk_level": "highest" if decline.blocked else "normal",
        "risk_score": 95 if decline.blocked else call.sandbox.ids.random.randint(1, 64),
        "seller_message": decline.seller_message,
        "type": "blocked" if decline.blocked else "issuer_declined",
    }


def _card_details(
    call: Call, method: Obj, card: cards.TestCard, amount: int, *, paid: bool, authenticated: bool
) -> Obj:
    shown = method["card"]
    dice = call.sandbox.ids.random
    return {
        "amount_authorized": amount if paid else None,
        "authorization_code": f"{dice.randrange(1_000_000):06}" if paid else None,
        "brand": shown["brand"],
        "checks": shown["checks"],
        "country": shown["country"],
        "exp_month": shown["exp_month"],
        "exp_year": shown["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": shown["fingerprint"],
        "funding": shown["funding"],
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": shown["last4"],
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card.brand,
        "network_token": {"used": False},
        "network_transaction_id": f"{dice.randrange(10**15):015}" if paid else None,
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": _three_d_secure(call) if authenticated else None,
        "wallet": None,
    }


def _three_d_secure(call: Call) -> Obj:
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": call.sandbox.ids.chars(28),
        "version": "2.2.0",
    }


# Calls


def retrieve(call: Call) -> Obj:
    """GET /v1/charges/{id}."""
    return call.find("charge")


def update(call: Call) -> Obj:
    """POST /v1/charges/{id}."""
    charge = call.find("charge")
    values: dict[str, Any] = dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(charge["metadata"], values["metadata"])
    if "shipping" in values:
        values["shipping"] = whole_shipping(values["shipping"])
    if "fraud_details" in values:
        report = values["fraud_details"]["user_report"]
        values["fraud_details"] = {"user_report": report} if report else {}
    if "customer" in values:
        call.find("customer", values["customer"])
        if charge["customer"] not in (None, values["customer"]):
            raise refused("This charge already has a customer; it cannot be changed.", param="customer")
    previous = call.store.change(charge, **values)
    if previous:
        call.emit("charge.updated", charge, previous)
    return charge


def list_all(call: Call) -> Obj:
    """GET /v1/charges."""
    return page(call, "charge", "/v1/charges")


ROUTES: Final = [
    Route(
        "GET",
        "/v1/charges",
        list_all,
        listing(created=created, customer=text(), payment_intent=text(), transfer_group=text()),
    ),
    Route("GET", "/v1/charges/{}", retrieve),
    Route(
        "POST",
        "/v1/charges/{}",
        update,
        Params(
            {
                "customer": text(),
                "description": clearable(text(40000)),
                "fraud_details": Params(
                    {"user_report": clearable(one_of("fraudulent", "safe"))}, required=("user_report",)
                ),
                "metadata": metadata,
                "receipt_email": clearable(text()),
                "shipping": SHIPPING,
                "transfer_group": text(),
            }
        ),
    ),
]
