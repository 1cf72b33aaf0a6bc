"""Payment methods: cards, from a number, a token, or one of Stripe's magic ids."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Final

from tallystick.sandbox import cards
from tallystick.sandbox.errors import StripeError, invalid, missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    ADDRESS,
    Params,
    clearable,
    exactly_one,
    integer,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
    whole_address,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("payment_method", "PaymentMethod", indexes=("customer",))]

BILLING: Final = Params(
    {
        "address": clearable(ADDRESS),
        "email": clearable(text()),
        "name": clearable(text()),
        "phone": clearable(text()),
        "tax_id": clearable(text()),
    }
)
_CARD: Final = Params(
    {"number": text(), "exp_month": integer, "exp_year": integer, "cvc": text(), "token": text()}
)
_KIND: Final = one_of("card")
_REDISPLAY: Final = one_of("always", "limited", "unspecified")
NEW: Final = Params(
    {
        "type": _KIND,
        "card": _CARD,
        "billing_details": BILLING,
        "metadata": metadata,
        "allow_redisplay": _REDISPLAY,
    },
    required=("type",),
)
"""What a new payment method takes, also inside a PaymentIntent's ``payment_method_data``."""


def make(call: Call, params: dict[str, Any]) -> Obj:
    """A new payment method from checked ``NEW`` parameters; nothing is attached yet."""
    sent = params.get("card")
    if sent is None:
        raise invalid("Missing required param: card.", param="card", code="parameter_missing")
    if exactly_one(sent, "token", "number") == "token":
        card = cards.by_magic_id(sent["token"])
        if card is None:
            raise missing("token", sent["token"], "card[token]")
        return _store(call, card, params, *_default_expiry(call))
    card = cards.by_number(sent["number"])
    if card is None:
        raise _card_refused("Your card number is incorrect.", "incorrect_number", "number")
    for name in ("exp_month", "exp_year"):
        if name not in sent:
            raise invalid(
                f"Missing required param: card[{name}].", param=f"card[{name}]", code="parameter_missing"
            )
    month, year = sent["exp_month"], sent["exp_year"]
    year += 2000 if year < 100 else 0
    today = datetime.fromtimestamp(call.now, UTC)
    if not 1 <= month <= 12:
        raise _card_refused("Your card's expiration month is invalid.", "invalid_expiry_month", "exp_month")
    if (year, month) < (today.year, today.month):
        raise _card_refused("Your card's expiration year is invalid.", "invalid_expiry_year", "exp_year")
    return _store(call, card, params, month, year)


def materialise(call: Call, ident: str) -> Obj:
    """The payment method ``ident``; a magic id (``pm_card_visa``) gives a new one each time."""
    card = cards.by_magic_id(ident) if ident.startswith("pm_card_") else None
    if card is not None:
        return _store(call, card, {}, *_default_expiry(call))
    return call.find("payment_method", ident, param="payment_method")


def card_of(call: Call, method: Obj) -> cards.TestCard:
    """The test card behind a payment method."""
    number = call.store.hidden(method)["number"]
    card = cards.by_number(number)
    assert card is not None, "A stored number has passed the check."
    return card


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


def declined(decline: cards.Decline, *, param: str | None = None, **fields: Any) -> StripeError:
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


def _store(call: Call, card: cards.TestCard, params: dict[str, Any], month: int, year: int) -> Obj:
    billing = params.get("billing_details", {})
    method: Obj = {
        "id": call.sandbox.ids.new("pm"),
        "object": "payment_method",
        "allow_redisplay": params.get("allow_redisplay", "unspecified"),
        "billing_details": {
            "address": whole_address(billing.get("address") or {}),
            **{name: billing.get(name) for name in ("email", "name", "phone", "tax_id")},
        },
        "card": {
            "brand": card.brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": card.cvc_check,
            },
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": month,
            "exp_year": year,
            "fingerprint": _fingerprint(card.number),
            "funding": card.funding,
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": call.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "type": "card",
    }
    return call.store.put(method, {"number": card.number})


def _fingerprint(number: str) -> str:
    """The same for the same number, as Stripe's are within one account."""
    return hashlib.sha256(f"card:{number}".encode()).hexdigest()[:16]


# Calls


def create(call: Call) -> Obj:
    """POST /v1/payment_methods."""
    return make(call, call.params)


def retrieve(call: Call) -> Obj:
    """GET /v1/payment_methods/{id}."""
    return materialise(call, call.ids[0])


def update(call: Call) -> Obj:
    """POST /v1/payment_methods/{id}."""
    method, params = call.find("payment_method"), dict(call.params)
    if method["customer"] is None:
        raise refused(
            "You must save this PaymentMethod to a customer before you can update it.",
        )
    values: Obj = {}
    if "metadata" in params:
        values["metadata"] = merged_metadata(method["metadata"], params["metadata"])
    if "allow_redisplay" in params:
        values["allow_redisplay"] = params["allow_redisplay"]
    if "billing_details" in params:
        sent = params["billing_details"]
        billing = {**method["billing_details"], **sent}
        if "address" in sent:
            billing["address"] = whole_address(sent["address"] or {})
        values["billing_details"] = billing
    if "card" in params:
        values["card"] = {**method["card"], **params["card"]}
    previous = call.store.change(method, **values)
    if previous:
        call.emit("payment_method.updated", method, previous)
    return method


def attach_call(call: Call) -> Obj:
    """POST /v1/payment_methods/{id}/attach."""
    return attach(call, materialise(call, call.ids[0]), call.params["customer"])


def detach(call: Call) -> Obj:
    """POST /v1/payment_methods/{id}/detach."""
    method = call.find("payment_method")
    if method["customer"] is None:
        raise refused(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    previous = call.store.change(method, customer=None)
    call.store.hide(method, spent=True)
    call.emit("payment_method.detached", method, previous)
    return method


def list_all(call: Call) -> Obj:
    """GET /v1/payment_methods and /v1/customers/{id}/payment_methods: a customer's only."""
    if call.ids:
        call.find("customer")
        call.params["customer"] = call.ids[0]
        return page(call, "payment_method", f"/v1/customers/{call.ids[0]}/payment_methods")
    if "customer" not in call.params:
        # Without a customer Stripe lists Treasury's saved methods, of which there are none.
        return {"object": "list", "data": [], "has_more": False, "url": "/v1/payment_methods"}
    return page(call, "payment_method", "/v1/payment_methods")


_LIST: Final = listing(customer=text(), type=text(), allow_redisplay=_REDISPLAY)

ROUTES: Final = [
    Route("POST", "/v1/payment_methods", create, NEW),
    Route("GET", "/v1/payment_methods", list_all, _LIST),
    Route("GET", "/v1/customers/{}/payment_methods", list_all, listing(type=text())),
    Route("GET", "/v1/payment_methods/{}", retrieve),
    Route(
        "POST",
        "/v1/payment_methods/{}",
        update,
        Params(
            {
                "billing_details": BILLING,
                "metadata": metadata,
                "allow_redisplay": _REDISPLAY,
                "card": Params({"exp_month": integer, "exp_year": integer}),
            }
        ),
    ),
    Route(
        "POST",
        "/v1/payment_methods/{}/attach",
        attach_call,
        Params({"customer": text()}, required=("customer",)),
    ),
    Route("POST", "/v1/payment_methods/{}/detach", detach),
]
