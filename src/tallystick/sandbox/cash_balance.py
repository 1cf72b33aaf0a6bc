"""A customer's cash balance: money that came by bank transfer and waits to be used; only funded by tests.

``fund_cash_balance`` adds to it: customer_cash_balance_transaction.created, cash_balance.funds_available.
What it pays by itself is in ``transfer_payments``. Hidden beside a customer: ``cash``, minor units by
currency, and ``cash_manual``, whether nothing is to be paid by itself.
Source: https://docs.stripe.com/payments/customer-balance
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.errors import missing
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import Params, currency, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "customer_cash_balance_transaction"
TABLES: Final = [TableSpec(KIND, "customer cash balance transaction", indexes=("customer",))]

_TRANSFERS: Final = {"eur": "eu", "gbp": "gb", "jpy": "jp", "mxn": "mx", "usd": "us"}


def shown(call: Call, customer: Obj) -> Obj:
    """The balance as the API shows it; null before there was any money."""
    manual = bool(call.store.hidden(customer).get("cash_manual"))
    return {
        "object": "cash_balance",
        "available": call.store.hidden(customer).get("cash"),
        "customer": customer["id"],
        "customer_account": None,
        "livemode": False,
        "settings": {
            "reconciliation_mode": "manual" if manual else "automatic",
            "using_merchant_default": not manual,
        },
    }


def fund(call: Call) -> Obj:
    """POST /v1/test_helpers/customers/{id}/fund_cash_balance: as if a bank transfer had come in."""
    customer, params = call.find("customer"), call.params
    code, amount = params["currency"], params["amount"]
    held = call.store.hidden(customer).get("cash") or {}
    ending = held.get(code, 0) + amount
    call.store.hide(customer, cash={**held, code: ending})
    kind = f"{_TRANSFERS.get(code, 'us')}_bank_transfer"
    transfer: Obj = {"reference": params.get("reference"), "type": kind}
    if kind == "us_bank_transfer":
        transfer[kind] = {"network": "ach", "sender_name": "Jenny Rosen"}
    elif kind == "eu_bank_transfer":
        names = ("bic", "iban_last4", "sender_name")
        transfer[kind] = dict.fromkeys(names)
    elif kind == "gb_bank_transfer":
        transfer[kind] = dict.fromkeys(("account_number_last4", "sender_name", "sort_code"))
    elif kind == "jp_bank_transfer":
        transfer[kind] = dict.fromkeys(("sender_bank", "sender_branch", "sender_name"))
    txn: Obj = {
        "id": call.sandbox.ids.new("ccsbtxn"),
        "object": KIND,
        "created": call.now,
        "currency": code,
        "customer": customer["id"],
        "customer_account": None,
        "ending_balance": ending,
        "funded": {"bank_transfer": transfer},
        "livemode": False,
        "net_amount": amount,
        "type": "funded",
    }
    call.store.put(txn)
    call.emit("customer_cash_balance_transaction.created", txn)
    call.emit("cash_balance.funds_available", shown(call, customer))
    return txn


def retrieve(call: Call) -> Obj:
    """GET /v1/customers/{id}/cash_balance."""
    return shown(call, call.find("customer"))


def update(call: Call) -> Obj:
    """POST /v1/customers/{id}/cash_balance: whether it pays what waits by itself."""
    customer = call.find("customer")
    mode = call.params.get("settings", {}).get("reconciliation_mode")
    if mode is not None:
        call.store.hide(customer, cash_manual=mode == "manual")
    return shown(call, customer)


def retrieve_transaction(call: Call) -> Obj:
    """GET /v1/customers/{id}/cash_balance_transactions/{id}."""
    txn = call.store.get(KIND, call.ids[1])
    if txn is None or txn["customer"] != call.ids[0]:
        raise missing("customer cash balance transaction", call.ids[1], "transaction", named=True)
    return txn


def list_transactions(call: Call) -> Obj:
    """GET /v1/customers/{id}/cash_balance_transactions."""
    call.find("customer")
    call.params["customer"] = call.ids[0]
    return page(call, KIND, f"/v1/customers/{call.ids[0]}/cash_balance_transactions")


_SETTINGS: Final = Params({"reconciliation_mode": one_of("automatic", "manual", "merchant_default")})

ROUTES: Final = [
    Route(
        "POST",
        "/v1/test_helpers/customers/{}/fund_cash_balance",
        fund,
        Params(
            {"amount": at_least(1), "currency": currency, "reference": text()},
            required=("amount", "currency"),
        ),
    ),
    Route("GET", "/v1/customers/{}/cash_balance", retrieve),
    Route("POST", "/v1/customers/{}/cash_balance", update, Params({"settings": _SETTINGS})),
    Route("GET", "/v1/customers/{}/cash_balance_transactions", list_transactions, listing()),
    Route("GET", "/v1/customers/{}/cash_balance_transactions/{}", retrieve_transaction),
]
