"""Application fees: what the platform keeps of a payment that goes to a connected account; their refunds."""

from __future__ import annotations

from typing import Any, Final

from tallystick import money
from tallystick.sandbox import balance
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.lists import embedded, page
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import Params, created, listing, merged_metadata, metadata, text
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("application_fee", "application fee", indexes=("account", "originating_transaction")),
    TableSpec("fee_refund", "fee refund", indexes=("fee",)),
]

_URL: Final = "/v1/application_fees"


def make(call: Call, transfer: Obj, amount: int, *, available_on: int) -> Obj:
    """The fee on a destination charge: ``amount`` of what ``transfer`` sent comes back to the platform."""
    ids, payment = call.sandbox.ids, transfer["destination_payment"]
    ident = ids.new("fee", of=transfer["source_transaction"])
    fee: Obj = {
        "id": ident,
        "object": "application_fee",
        "account": transfer["destination"],
        "amount": amount,
        "amount_refunded": 0,
        "application": f"ca_{ids.account}{ids.account}",
        "balance_transaction": None,
        "charge": payment,
        "created": call.now,
        "currency": transfer["currency"],
        "fee_source": {"charge": payment, "type": "charge"},
        "livemode": False,
        "originating_transaction": transfer["source_transaction"],
        "refunded": False,
        "refunds": embedded([], _refunds(ident)),
    }
    call.store.put(fee)
    txn = balance.enter(
        call, "application_fee", amount, fee["currency"], source=ident, available_on=available_on
    )
    call.store.change(fee, balance_transaction=txn["id"])
    call.emit("application_fee.created", fee)
    return fee


def _refunds(fee: str) -> str:
    return f"{_URL}/{fee}/refunds"


def _refunds_of(call: Call, fee: Obj) -> Obj:
    found = call.store.tables["fee_refund"].having("fee", fee["id"])
    return embedded([dict(refund) for refund in found[::-1]], _refunds(fee["id"]))


def give_back(call: Call, fee: Obj, amount: int, given: Any = None) -> Obj:
    """Refund ``amount`` of a fee to the connected account; raises StripeError (400) for more than is left."""
    left, code = fee["amount"] - fee["amount_refunded"], fee["currency"]
    if not left:
        raise refused(f"Application fee {fee['id']} has already been refunded.", code="fee_already_refunded")
    if amount > left:
        raise refused(
            f"Refund amount ({money.decimal_text(amount, code)} {code}) is greater than unrefunded amount on"
            f" fee ({money.decimal_text(left, code)} {code})",
            param="amount",
        )
    refund: Obj = {
        "id": call.sandbox.ids.new("fr", of=fee["id"]),
        "object": "fee_refund",
        "amount": amount,
        "balance_transaction": None,
        "created": call.now,
        "currency": code,
        "fee": fee["id"],
        "metadata": merged_metadata(None, given or {}),
    }
    call.store.put(refund)
    earned = call.find("balance_transaction", fee["balance_transaction"])
    txn = balance.enter(
        call,
        "application_fee_refund",
        -amount,
        code,
        source=refund["id"],
        available_on=max(call.now, earned["available_on"]),
    )
    call.store.change(refund, balance_transaction=txn["id"])
    total = fee["amount_refunded"] + amount
    values = {"amount_refunded": total, "refunded": total == fee["amount"]}
    previous = call.store.change(fee, **values, refunds=_refunds_of(call, fee))
    call.emit("application_fee.refunded", fee, previous)
    return refund


# Calls


def refund(call: Call) -> Obj:
    """POST /v1/application_fees/{id}/refunds; all that is left by default."""
    fee = call.find("application_fee")
    amount = call.params.get("amount", fee["amount"] - fee["amount_refunded"])
    return give_back(call, fee, amount, call.params.get("metadata"))


def refund_of_old(call: Call) -> Obj:
    """POST /v1/application_fees/{id}/refund, the older way: shows the fee."""
    refund(call)
    return call.find("application_fee")


def _refund(call: Call) -> Obj:
    fee, ident = call.ids
    found = call.find("fee_refund", ident, param="id")
    if found["fee"] != fee:
        raise missing("fee refund", ident, "id")
    return found


def update_refund(call: Call) -> Obj:
    """POST /v1/application_fees/{fee}/refunds/{id}: metadata only."""
    found = _refund(call)
    if "metadata" in call.params:
        merged = merged_metadata(found["metadata"], call.params["metadata"])
        previous = call.store.change(found, metadata=merged)
        if previous:
            fee = call.find("application_fee", found["fee"])
            call.store.change(fee, refunds=_refunds_of(call, fee))
            call.emit("application_fee.refund.updated", found, previous)
    return found


def list_refunds(call: Call) -> Obj:
    """GET /v1/application_fees/{id}/refunds."""
    call.params["fee"] = call.find("application_fee")["id"]
    return page(call, "fee_refund", f"{_URL}/{call.ids[0]}/refunds")


def list_all(call: Call) -> Obj:
    """GET /v1/application_fees; ``charge`` is the connected account's payment, or the platform's charge."""
    wanted = call.params.get("charge")
    return page(
        call,
        "application_fee",
        _URL,
        matches=lambda fee: wanted in (None, fee["charge"], fee["originating_transaction"]),
        ignore=("charge",),
    )


def of_charge(call: Call, charge: Obj) -> Obj:
    """The fee on a charge; raises StripeError (400) where there is none."""
    if charge["application_fee"] is None:
        raise invalid(
            f"Charge {charge['id']} has no application fee that could be refunded.",
            param="refund_application_fee",
        )
    return call.find("application_fee", charge["application_fee"])


ROUTES: Final = [
    Route("GET", _URL, list_all, listing(charge=text(), created=created)),
    Route("GET", f"{_URL}/{{}}", lambda call: call.find("application_fee")),
    Route("POST", f"{_URL}/{{}}/refunds", refund, Params({"amount": at_least(1), "metadata": metadata})),
    Route("GET", f"{_URL}/{{}}/refunds", list_refunds, listing()),
    Route("GET", f"{_URL}/{{}}/refunds/{{}}", _refund),
    Route("POST", f"{_URL}/{{}}/refunds/{{}}", update_refund, Params({"metadata": metadata})),
    Route(
        "POST",
        f"{_URL}/{{}}/refund",
        refund_of_old,
        Params({"amount": at_least(1), "directive": unsupported("it is not documented")}),
    ),
]
