"""Charges: read, annotated, searched, and made the older way, without a PaymentIntent."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import (
    balance,
    captures,
    cards,
    charge_shape,
    destinations,
    disputes,
    payment_methods,
    refund_calls,
    refunds,
    search,
    tokens,
)
from tallystick.sandbox import payment_intent_shape as shape
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    SHIPPING,
    Check,
    Params,
    boolean,
    clearable,
    created,
    currency,
    descriptor,
    email,
    integer,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
    whole_shipping,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("charge", "charge", indexes=("payment_intent", "customer", "transfer_group")),
]


def create(call: Call) -> Obj:
    """POST /v1/charges: charge a token or a customer's card at once, without a PaymentIntent."""
    params = call.params
    for name in ("amount", "currency"):
        if name not in params:
            raise invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
    shape.check_amount(params["amount"], params["currency"])
    balance.settled(call, params["amount"], params["currency"])
    if "customer" in params:
        call.find("customer", params["customer"])
    method, source = tokens.chargeable(call)
    card = payment_methods.card_of(call, method)
    order: Obj = {
        **dict.fromkeys(charge_shape.FROM_INTENT),
        **{name: params[name] for name in charge_shape.FROM_INTENT if name in params},
        "id": None,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "payment_method_options": {},
        "shipping": whole_shipping(params.get("shipping")),
    }
    unshared = {**order, "transfer_data": None, "application_fee_amount": None}
    order |= destinations.terms(call, unshared, params)
    captured = params.get("capture", True)
    charge = charge_shape.make(
        call, order, method, card, decline=card.decline, authenticated=False, captured=captured
    )
    group = charge["transfer_group"] or (params.get("transfer_data") and f"group_{charge['id']}")
    call.store.change(charge, source=source, transfer_group=group)
    if card.decline is not None:
        call.emit("charge.failed", charge)
        raise payment_methods.declined(card.decline, charge=charge["id"])
    _follow(call, charge, card, captured=captured)
    return charge


def _follow(call: Call, charge: Obj, card: cards.TestCard, *, captured: bool) -> None:
    """What follows a charge that has gone through."""
    if captured:
        captures.book(call, charge)
    else:
        call.after(charge_shape.AUTHORIZED_SECONDS, captures.EXPIRE, charge["id"])
    call.emit("charge.succeeded", charge)
    if card.dispute and captured:
        disputes.draw(call, charge)


def capture(call: Call) -> Obj:
    """POST /v1/charges/{id}/capture: of a charge without a PaymentIntent; what is left is let go of."""
    charge, params = call.find("charge"), dict(call.params)
    if charge["payment_intent"] is not None:
        raise refused(
            f"Charge {charge['id']} belongs to a PaymentIntent; capture {charge['payment_intent']} instead.",
            code="charge_invalid_parameter",
        )
    if charge["status"] != "succeeded":
        raise refused(f"Charge {charge['id']} failed; it cannot be captured.", param="id")
    if charge["captured"] or charge["refunded"]:
        raise refused(f"Charge {charge['id']} has already been captured.", code="charge_already_captured")
    amount = params.pop("amount", charge["amount"])
    if not 1 <= amount <= charge["amount"]:
        raise refused(
            f"You may only capture up to {charge['amount']} of this charge.",
            code="amount_too_large",
            param="amount",
        )
    call.sandbox.timers.take(captures.EXPIRE, charge["id"])
    terms = destinations.terms(call, {**charge, "amount": amount}, params)
    call.store.change(charge, captured=True, amount_captured=amount, **{**params, **terms})
    captures.book(call, charge)
    call.emit("charge.captured", charge)
    if payment_methods.card_of(call, call.find("payment_method", charge["payment_method"])).dispute:
        disputes.draw(call, charge)
    return charge


def expire(call: Call) -> Obj:
    """POST /v1/test_helpers/charges/{id}/expire: an authorization runs out now."""
    charge = call.find("charge")
    if not call.sandbox.timers.take(captures.EXPIRE, charge["id"]):
        raise refused(f"Charge {charge['id']} is no authorization that could expire.")
    refunds.expire(call, charge["id"])
    return charge


def refund(call: Call) -> Obj:
    """POST /v1/charges/{id}/refund, the older way: shows the charge."""
    charge = call.find("charge")
    call.params["charge"] = charge["id"]
    refunds.create(call)
    return charge


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


_SEARCHED: Final = {
    name: search.field(name)
    for name in ("amount", "created", "currency", "customer", "disputed", "refunded", "status")
} | {
    "billing_details.address.postal_code": search.field("billing_details.address.postal_code"),
    **{
        f"payment_method_details.card.{name}": search.field(f"payment_method_details.card.{name}")
        for name in ("brand", "exp_month", "exp_year", "fingerprint", "last4")
    },
}


def search_all(call: Call) -> Obj:
    """GET /v1/charges/search."""
    return search.page(call, "charge", "/v1/charges/search", _SEARCHED)


def list_all(call: Call) -> Obj:
    """GET /v1/charges."""
    return page(call, "charge", "/v1/charges")


_SHARED: Final[dict[str, Check]] = {
    "description": clearable(text(40000)),
    "metadata": metadata,
    "receipt_email": clearable(email()),
    "shipping": SHIPPING,
    "transfer_group": text(),
}
_CREATE: Final = Params(
    {
        **_SHARED,
        "amount": integer,
        "capture": boolean,
        "card": tokens.card,
        "currency": currency,
        "customer": text(),
        "radar_options": unsupported("it assesses no browser sessions"),
        "source": text(),
        "statement_descriptor": clearable(descriptor),
        "statement_descriptor_suffix": clearable(descriptor),
        **destinations.NEW,
        **dict.fromkeys(
            ("application_fee", "destination"),
            unsupported("application_fee_amount and transfer_data replaced it"),
        ),
    }
)
_CAPTURE: Final = Params(
    {
        "amount": integer,
        "receipt_email": email(),
        "statement_descriptor": descriptor,
        "statement_descriptor_suffix": descriptor,
        "transfer_group": text(),
        **destinations.CHANGED,
        "application_fee": unsupported("application_fee_amount replaced it"),
    }
)

ROUTES: Final = [
    Route("POST", "/v1/charges", create, _CREATE),
    Route("GET", "/v1/charges/search", search_all, search.PARAMS),
    Route("POST", "/v1/charges/{}/capture", capture, _CAPTURE),
    Route("POST", "/v1/charges/{}/refund", refund, refund_calls.OF_CHARGE),
    Route("POST", "/v1/charges/{}/refunds", refunds.create_of_charge, refund_calls.OF_CHARGE),
    Route("POST", "/v1/test_helpers/charges/{}/expire", expire),
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
                **_SHARED,
                "customer": text(),
                "fraud_details": Params(
                    {"user_report": clearable(one_of("fraudulent", "safe"))}, required=("user_report",)
                ),
            }
        ),
    ),
]
