"""What comes to a customer once it is there: discount, balance, first card, tax ids.

``coupon`` and ``promotion_code`` are Stripe's parameters until basil (2025-03-31), and refused since.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import customer_balance, customer_sources, discounts, tax_ids
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.versions import BASIL

PARAMS: Final = ("balance", "coupon", "promotion_code", "source", "tax", "tax_id_data")


def add(call: Call, params: dict[str, Any], customer: Obj, *, new: bool) -> Obj:
    """What needs the customer to be there: balance, discount, card, tax ids. Says what changed of it."""
    previous: Obj = {}
    place = params.get("tax", {})
    if place.get("validate_location") == "immediately" and not (customer["address"] or {}).get("country"):
        raise refused(
            "The customer's location isn't recognized.", code="customer_tax_location_invalid", param="tax"
        )
    if "ip_address" in place:
        call.store.hide(customer, ip_address=place["ip_address"])
    for sent in params.get("tax_id_data", ()):
        tax_ids.make(call, customer["id"], sent["type"], sent["value"])
    if "source" in params:
        card = customer_sources.add(call, customer, params["source"])
        previous |= customer_sources.default(call, customer, card["id"])
    previous |= _discount(call, params, customer)
    if params.get("balance", customer["balance"]) != customer["balance"]:
        kind = "initial" if new else "adjustment"
        code = customer["currency"] or call.sandbox.settings.default_currency
        change = params["balance"] - customer["balance"]
        customer_balance.move(call, customer, change, code, kind, event=not new)
    return previous


def _discount(call: Call, params: dict[str, Any], customer: Obj) -> Obj:
    """Give or take away the customer's discount; what changed."""
    given = [name for name in ("coupon", "promotion_code") if name in params]
    if not given:
        return {}
    if call.versioned and call.since(BASIL):
        raise invalid(f"Received unknown parameter: {given[0]}", param=given[0], code="parameter_unknown")
    old = customer["discount"]
    name, value = given[0], params[given[0]]
    if value is None:
        if old is None:
            return {}
        previous = call.store.change(customer, discount=None)
        call.emit("customer.discount.deleted", old)
        return previous
    ident = discounts.give(call, [{name: value}], customer=customer["id"])[0]
    discount = dict(call.find("discount", ident))
    previous = call.store.change(customer, discount=discount)
    if old is None:
        call.emit("customer.discount.created", discount)
    else:
        changed = {field: old[field] for field in discount if old[field] != discount[field]}
        call.emit("customer.discount.updated", discount, changed)
    return previous


def delete_discount(call: Call) -> Obj:
    """DELETE /v1/customers/{id}/discount."""
    customer = call.find("customer")
    discount = customer["discount"]
    if discount is None:
        raise refused("This customer has no active discount.", code="resource_missing")
    previous = call.store.change(customer, discount=None)
    call.emit("customer.discount.deleted", discount)
    call.emit("customer.updated", customer, previous)
    shown = {name: value for name, value in discount.items() if name != "end"}
    return {**shown, "deleted": True}


ROUTES: Final = [Route("DELETE", "/v1/customers/{}/discount", delete_discount)]
