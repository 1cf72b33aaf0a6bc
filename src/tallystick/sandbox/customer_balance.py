"""A customer's invoice balance and its transactions: below zero the customer has credit, above it a debt.

The transactions have no event of their own; the customer's change has (customer.updated).
Source: https://docs.stripe.com/billing/customer/balance
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Params,
    clearable,
    created,
    currency,
    integer,
    listing,
    merged_metadata,
    metadata,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("customer_balance_transaction", "customer balance transaction", indexes=("customer",))
]


def move(
    call: Call,
    customer: Obj,
    amount: int,
    code: str,
    kind: str,
    *,
    invoice: str | None = None,
    credit_note: str | None = None,
    description: str | None = None,
    tags: dict[str, str] | None = None,
    event: bool = True,
) -> Obj:
    """Add ``amount`` (minor units, negative credits the customer) to the balance; returns the transaction.

    ``event`` False leaves customer.updated out, for a customer that is being created.
    """
    ending = customer["balance"] + amount
    txn: Obj = {
        "id": call.sandbox.ids.new("cbtxn"),
        "object": "customer_balance_transaction",
        "amount": amount,
        "checkout_session": None,
        "created": call.now,
        "credit_note": credit_note,
        "currency": code,
        "customer": customer["id"],
        "customer_account": None,
        "description": description,
        "ending_balance": ending,
        "invoice": invoice,
        "livemode": False,
        "metadata": tags or {},
        "type": kind,
    }
    call.store.put(txn)
    previous = call.store.change(customer, balance=ending)
    if customer["currency"] is None:
        previous |= call.store.change(customer, currency=code)
    if event:
        call.emit("customer.updated", customer, previous)
    return txn


def create(call: Call) -> Obj:
    """POST /v1/customers/{id}/balance_transactions."""
    customer, params = call.find("customer"), call.params
    if params["amount"] == 0:
        raise invalid("Invalid non-zero integer", param="amount", code="parameter_invalid_integer")
    if customer["currency"] not in (None, params["currency"]):
        raise refused(
            f"Cannot adjust the balance of a customer whose currency is {customer['currency']} in"
            f" {params['currency']}.",
            param="currency",
        )
    return move(
        call,
        customer,
        params["amount"],
        params["currency"],
        "adjustment",
        description=params.get("description"),
        tags=merged_metadata(None, params.get("metadata", {})),
    )


def _find(call: Call) -> Obj:
    txn = call.store.get("customer_balance_transaction", call.ids[1])
    if txn is None or txn["customer"] != call.ids[0]:
        raise missing("customer balance transaction", call.ids[1], "transaction", named=True)
    return txn


def retrieve(call: Call) -> Obj:
    """GET /v1/customers/{id}/balance_transactions/{id}."""
    return _find(call)


def update(call: Call) -> Obj:
    """POST /v1/customers/{id}/balance_transactions/{id}: description and metadata."""
    txn, values = _find(call), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(txn["metadata"], values["metadata"])
    call.store.change(txn, **values)
    return txn


def list_all(call: Call) -> Obj:
    """GET /v1/customers/{id}/balance_transactions."""
    call.find("customer")
    call.params["customer"] = call.ids[0]
    return page(call, "customer_balance_transaction", f"/v1/customers/{call.ids[0]}/balance_transactions")


ROUTES: Final = [
    Route(
        "POST",
        "/v1/customers/{}/balance_transactions",
        create,
        Params(
            {
                "amount": integer,
                "currency": currency,
                "description": clearable(text(350)),
                "metadata": metadata,
            },
            required=("amount", "currency"),
        ),
    ),
    Route(
        "GET",
        "/v1/customers/{}/balance_transactions",
        list_all,
        listing(created=created, invoice=text()),
    ),
    Route("GET", "/v1/customers/{}/balance_transactions/{}", retrieve),
    Route(
        "POST",
        "/v1/customers/{}/balance_transactions/{}",
        update,
        Params({"description": clearable(text(350)), "metadata": metadata}),
    ),
]
