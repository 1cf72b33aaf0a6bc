"""Payment methods over the API. What they are made of is in ``payment_methods``."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import bank_accounts, default_methods, payment_methods
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Params,
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
from tallystick.sandbox.store import Obj


def create(call: Call) -> Obj:
    """POST /v1/payment_methods."""
    return payment_methods.make(call, call.params)


def retrieve(call: Call) -> Obj:
    """GET /v1/payment_methods/{id}."""
    return payment_methods.materialise(call, call.ids[0])


def retrieve_of_customer(call: Call) -> Obj:
    """GET /v1/customers/{id}/payment_methods/{id}: only what is saved to this customer."""
    call.find("customer")
    method = call.find("payment_method", call.ids[1], param="id")
    if method["customer"] != call.ids[0]:
        raise missing("PaymentMethod", method["id"], "id")
    return method


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
    for kind in ("card", bank_accounts.US):
        if kind in params and method["type"] != kind:
            raise invalid(f"You can only update `{kind}` on a payment method of that type.", param=kind)
    if bank_accounts.US in params:
        values[bank_accounts.US] = {**method[bank_accounts.US], **params[bank_accounts.US]}
    if "card" in params:
        card = {**method["card"], **params["card"]}
        month, year = payment_methods.expiry(call, card["exp_month"], card["exp_year"])
        values["card"] = {**card, "exp_month": month, "exp_year": year}
    previous = call.store.change(method, **values)
    if previous:
        call.emit("payment_method.updated", method, previous)
    return method


def attach_call(call: Call) -> Obj:
    """POST /v1/payment_methods/{id}/payment_methods.attach."""
    return payment_methods.attach(
        call, payment_methods.materialise(call, call.ids[0]), call.params["customer"]
    )


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
    default_methods.detached(call, method["id"], previous["customer"])
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


_LIST: Final = listing(customer=text(), type=text(), allow_redisplay=payment_methods.REDISPLAY)

_OF_CUSTOMER: Final = listing(type=text(), allow_redisplay=payment_methods.REDISPLAY)

ROUTES: Final = [
    Route("POST", "/v1/payment_methods", create, payment_methods.NEW),
    Route("GET", "/v1/payment_methods", list_all, _LIST),
    Route("GET", "/v1/customers/{}/payment_methods", list_all, _OF_CUSTOMER),
    Route("GET", "/v1/customers/{}/payment_methods/{}", retrieve_of_customer),
    Route("GET", "/v1/payment_methods/{}", retrieve),
    Route(
        "POST",
        "/v1/payment_methods/{}",
        update,
        Params(
            {
                "billing_details": payment_methods.BILLING,
                "metadata": metadata,
                "allow_redisplay": payment_methods.REDISPLAY,
                "card": Params({"exp_month": integer, "exp_year": integer}),
                "us_bank_account": Params(
                    {
                        "account_holder_type": one_of("company", "individual"),
                        "account_type": one_of("checking", "savings"),
                    }
                ),
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
