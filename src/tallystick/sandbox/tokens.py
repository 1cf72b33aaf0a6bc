"""Tokens and the cards behind them: what the older calls (``source=tok_visa``) charge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from tallystick.sandbox import cards, payment_method_shape, payment_methods
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.params import Params, clearable, exactly_one, integer, one_of, text
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("token", "token")]

_ADDRESS: Final = (
    "address_city",
    "address_country",
    "address_line1",
    "address_line2",
    "address_state",
    "address_zip",
)
_CARD_FIELDS: Final = Params(
    {
        **dict.fromkeys(_ADDRESS, clearable(text())),
        "currency": text(),
        "cvc": text(),
        "exp_month": integer,
        "exp_year": integer,
        "name": clearable(text()),
        "networks": Params({"preferred": text()}),
        "number": text(),
        "object": one_of("card"),
    },
    required=("exp_month", "exp_year", "number"),
)


def card(value: Any, name: str) -> Any:
    """A card's fields, or the id of a token."""
    return _CARD_FIELDS(value, name) if isinstance(value, dict) else text()(value, name)


_BANK: Final = Params(
    {
        "account_holder_name": text(),
        "account_holder_type": one_of("company", "individual"),
        "account_number": text(),
        "account_type": one_of("checking", "futsu", "savings", "toza"),
        "country": text(2),
        "currency": text(3),
        "payment_method": text(),
        "routing_number": text(),
    },
    required=("account_number", "country"),
)


def create(call: Call) -> Obj:
    """POST /v1/tokens: of a card or a bank account."""
    kind = exactly_one(call.params, "card", "bank_account", "account", "person", "pii", "cvc_update")
    token: Obj = {
        "id": call.sandbox.ids.new("tok"),
        "object": "token",
        "client_ip": None,
        "created": call.now,
        "livemode": False,
        "type": kind,
        "used": False,
    }
    sent = call.params[kind]
    if kind == "bank_account":
        token["bank_account"] = _bank_account(call, sent)
        return call.store.put(token, {})
    if isinstance(sent, str):
        raise missing("token", sent, "card")
    method = _method(call, sent)
    token["card"] = card_source(method, sent)
    return call.store.put(token, {"method": method["id"]})


def _method(call: Call, sent: Obj) -> Obj:
    fields = {name: sent[name] for name in ("number", "exp_month", "exp_year", "cvc") if name in sent}
    address = {
        name.removeprefix("address_").replace("zip", "postal_code"): sent.get(name) for name in _ADDRESS
    }
    return payment_methods.make(
        call,
        {
            "id": call.sandbox.ids.new("card"),
            "type": "card",
            "card": fields,
            "billing_details": {"address": address, "name": sent.get("name")},
        },
    )


def card_source(method: Obj, sent: Obj | None = None) -> Obj:
    """A card as older calls show it: brand in words, address in single fields."""
    shown = method["card"]
    sent = sent or {}
    return {
        "id": method["id"],
        "object": "card",
        **{name: sent.get(name) for name in _ADDRESS},
        "address_line1_check": None,
        "address_zip_check": None,
        "brand": _BRANDS.get(shown["brand"], shown["brand"].title()),
        "country": shown["country"],
        "cvc_check": shown["checks"]["cvc_check"],
        "dynamic_last4": None,
        "exp_month": shown["exp_month"],
        "exp_year": shown["exp_year"],
        "fingerprint": shown["fingerprint"],
        "funding": shown["funding"],
        "last4": shown["last4"],
        "metadata": {},
        "name": method["billing_details"]["name"],
        "networks": {"preferred": None},
        "regulated_status": shown["regulated_status"],
        "tokenization_method": None,
    }


_BRANDS: Final = {
    "visa": "Visa",
    "mastercard": "MasterCard",
    "amex": "American Express",
    "discover": "Discover",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
}


def _bank_account(call: Call, sent: Obj) -> Obj:
    number = sent["account_number"]
    return {
        "id": call.sandbox.ids.new("ba"),
        "object": "bank_account",
        "account_holder_name": sent.get("account_holder_name"),
        "account_holder_type": sent.get("account_holder_type"),
        "account_type": sent.get("account_type"),
        "bank_name": "STRIPE TEST BANK",
        "country": sent["country"].upper(),
        "currency": sent.get("currency", call.sandbox.settings.default_currency),
        "fingerprint": payment_method_shape.fingerprint("us", number),
        "last4": number[-4:],
        "routing_number": sent.get("routing_number"),
        "status": "new",
    }


def card_of_token(call: Call, ident: str, param: str) -> Obj:
    """The card behind a token or a magic id, as a payment method; a token is used once."""
    magic = cards.by_magic_id(ident)
    if magic is not None:
        today = datetime.fromtimestamp(call.now, UTC)
        given = {"id": call.sandbox.ids.new("card")}
        return payment_method_shape.store_card(call, magic, given, today.month, today.year + 1)
    token = call.find("token", ident, param=param)
    if token["used"]:
        raise refused(
            f"You cannot use a Stripe token more than once: {ident}.", code="token_already_used", param=param
        )
    if token["type"] != "card":
        raise invalid("Only cards can be charged without a PaymentIntent.", param=param)
    call.store.change(token, used=True)
    return call.find("payment_method", call.store.hidden(token)["method"])


def chargeable(call: Call) -> tuple[Obj, Obj]:
    """What POST /v1/charges charges (``source``, ``card`` or the customer's own), and how it is shown."""
    params = call.params
    sent = params.get("source", params.get("card"))
    if isinstance(sent, dict):
        method = _method(call, sent)
    elif sent is not None and sent.startswith("tok_"):
        method = card_of_token(call, sent, "source")
    else:
        method = _own(call, sent, params.get("customer"))
    return method, card_source(method)


def _own(call: Call, sent: str | None, customer: str | None) -> Obj:
    """A customer's card: the one named, or the default one."""
    if customer is None:
        raise refused("Must provide source or customer.", code="parameter_missing")
    default = call.find("customer", customer)["default_source"]
    ident = sent or default
    if ident is None:
        raise refused(
            "Cannot charge a customer that has no active card",
            code="missing",
            param="card",
            kind="card_error",
        )
    method = call.find("payment_method", ident, param="source")
    if method["customer"] != customer or method["type"] != "card":
        raise missing("source", ident, "source")
    return method


_NOT: Final = "only cards and bank accounts become tokens"

ROUTES: Final = [
    Route(
        "POST",
        "/v1/tokens",
        create,
        Params(
            {
                "bank_account": _BANK,
                "card": card,
                "customer": unsupported("it has no connected accounts to share a customer's card with"),
                **dict.fromkeys(("account", "cvc_update", "person", "pii"), unsupported(_NOT)),
            }
        ),
    ),
    Route("GET", "/v1/tokens/{}", lambda call: call.find("token")),
]
