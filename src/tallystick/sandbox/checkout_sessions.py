"""Checkout Sessions: the list, so that a payment's session can be looked for. None can be made yet."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, created, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("checkout.session", "checkout.session", indexes=("payment_intent", "customer", "subscription"))
]


def retrieve(call: Call) -> Obj:
    """GET /v1/checkout/sessions/{id}."""
    return call.find("checkout.session")


def list_all(call: Call) -> Obj:
    """GET /v1/checkout/sessions."""
    email = call.params.get("customer_details", {}).get("email")

    def matches(session: Obj) -> bool:
        return email is None or (session["customer_details"] or {}).get("email") == email

    return page(
        call, "checkout.session", "/v1/checkout/sessions", matches=matches, ignore=("customer_details",)
    )


ROUTES: Final = [
    Route(
        "GET",
        "/v1/checkout/sessions",
        list_all,
        listing(
            created=created,
            customer=text(),
            customer_details=Params({"email": text()}, required=("email",)),
            payment_intent=text(),
            payment_link=text(),
            status=one_of("complete", "expired", "open"),
            subscription=text(),
        ),
    ),
    Route("GET", "/v1/checkout/sessions/{}", retrieve),
]
