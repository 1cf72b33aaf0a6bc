"""Invoice payments: which payment paid which invoice. The account has no invoices yet, so none are made."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, created, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("invoice_payment", "invoice payment", indexes=("invoice",))]

_PAYMENT: Final = Params(
    {
        "type": one_of("charge", "payment_intent", "payment_record"),
        "payment_intent": text(),
        "payment_record": text(),
    },
    required=("type",),
)


def retrieve(call: Call) -> Obj:
    """GET /v1/invoice_payments/{id}."""
    return call.find("invoice_payment")


def list_all(call: Call) -> Obj:
    """GET /v1/invoice_payments; ``payment[…]`` finds the invoices of a PaymentIntent."""
    wanted = call.params.get("payment", {})

    def matches(payment: Obj) -> bool:
        return all(payment["payment"].get(name) == value for name, value in wanted.items())

    return page(call, "invoice_payment", "/v1/invoice_payments", matches=matches, ignore=("payment",))


ROUTES: Final = [
    Route(
        "GET",
        "/v1/invoice_payments",
        list_all,
        listing(created=created, invoice=text(), payment=_PAYMENT, status=one_of("canceled", "open", "paid")),
    ),
    Route("GET", "/v1/invoice_payments/{}", retrieve),
]
