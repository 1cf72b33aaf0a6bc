"""Transfers and their reversals over the API."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import application_fees, balance, captures, destinations, transfers
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Params,
    boolean,
    clearable,
    created,
    currency,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_URL: Final = "/v1/transfers"


def create(call: Call) -> Obj:
    """POST /v1/transfers: of a charge's money (``source_transaction``), or of what is available."""
    params = call.params
    account = destinations.destination(call, params["destination"], "destination")
    order = (_of_charge if "source_transaction" in params else _of_balance)(call, account)
    return transfers.make(call, order, params.get("metadata"))


def _of_balance(call: Call, account: Obj) -> transfers.Order:
    params = call.params
    if "amount" not in params:
        raise invalid("Missing required param: amount.", param="amount", code="parameter_missing")
    if params["amount"] > balance.available(call, params["currency"]):
        raise refused(
            "You have insufficient available funds in your Stripe account. Try adding funds directly to your"
            " available balance by creating Charges using the 4000000000000077 test card. See:"
            " https://stripe.com/docs/testing#available-balance",
            code="balance_insufficient",
        )
    return transfers.Order(
        amount=params["amount"],
        currency=params["currency"],
        destination=account["id"],
        available_on=call.now,
        source_type=params.get("source_type", "card"),
        group=params.get("transfer_group"),
        description=params.get("description"),
    )


def _of_charge(call: Call, account: Obj) -> transfers.Order:
    params = call.params
    charge = call.find("charge", params["source_transaction"], param="source_transaction")
    captures.settle_now(call, charge)
    if charge["balance_transaction"] is None or charge["status"] != "succeeded":
        raise refused(
            f"Charge {charge['id']} has brought nothing that could be transferred: its status is"
            f" {charge['status']}.",
            param="source_transaction",
        )
    txn = call.find("balance_transaction", charge["balance_transaction"])
    if params["currency"] != txn["currency"]:
        raise invalid(
            f"The currency of source_transaction's balance transaction ({txn['currency']}) must be the same"
            f" as the transfer currency ({params['currency']})",
            param="currency",
        )
    sent = call.store.tables["transfer"].having("source_transaction", charge["id"])
    left = txn["amount"] - sum(transfer["amount"] - transfer["amount_reversed"] for transfer in sent)
    amount = params.get("amount", left)
    if not 0 < amount <= left:
        raise refused(
            "Transfers using this transaction as a source must not exceed the source amount of"
            f" {txn['amount']}. (There is already a transfer using this source, amounting to"
            f" {txn['amount'] - left}.)",
            param="amount",
        )
    group = params.get("transfer_group") or charge["transfer_group"]
    if charge["transfer_group"] is None:
        group = group or f"group_{charge['payment_intent'] or charge['id']}"
        previous = call.store.change(charge, transfer_group=group)
        call.emit("charge.updated", charge, previous)
    return transfers.Order(
        amount=amount,
        currency=txn["currency"],
        destination=account["id"],
        available_on=max(call.now, txn["available_on"]),
        charge=charge["id"],
        source_type=params.get("source_type", "card"),
        group=group,
        description=params.get("description"),
    )


def update(call: Call) -> Obj:
    """POST /v1/transfers/{id}: description and metadata."""
    transfer, values = call.find("transfer"), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(transfer["metadata"], values["metadata"])
    previous = call.store.change(transfer, **values)
    if previous:
        call.emit("transfer.updated", transfer, previous)
    return transfer


def list_all(call: Call) -> Obj:
    """GET /v1/transfers."""
    return page(call, "transfer", _URL)


def reverse(call: Call) -> Obj:
    """POST /v1/transfers/{id}/reversals; all that is left by default."""
    transfer, params = call.find("transfer"), call.params
    left = transfer["amount"] - transfer["amount_reversed"]
    if not left:
        raise refused(
            f"Transfer {transfer['id']} has already been fully reversed.", code="transfer_already_reversed"
        )
    amount = params.get("amount", left)
    before = transfer["amount_reversed"]
    reversal = transfers.reverse(call, transfer, amount, metadata=params.get("metadata"))
    if params.get("refund_application_fee"):
        _give_back_fee(call, transfer, before)
    return reversal


def _give_back_fee(call: Call, transfer: Obj, before: int) -> None:
    """Refund the fee on a destination charge in the proportion in which its transfer was just reversed."""
    if transfer["source_transaction"] is None:
        raise invalid(
            f"Transfer {transfer['id']} has no application fee that could be refunded.",
            param="refund_application_fee",
        )
    fee = application_fees.of_charge(call, call.find("charge", transfer["source_transaction"]))
    part = destinations.between(fee["amount"], before, transfer["amount_reversed"], transfer["amount"])
    if part:
        application_fees.give_back(call, fee, part)


def list_reversals(call: Call) -> Obj:
    """GET /v1/transfers/{id}/reversals."""
    call.params["transfer"] = call.find("transfer")["id"]
    return page(call, "transfer_reversal", f"{_URL}/{call.ids[0]}/reversals")


def _reversal(call: Call) -> Obj:
    transfer, ident = call.ids
    found = call.find("transfer_reversal", ident, param="id")
    if found["transfer"] != transfer:
        raise missing("transfer reversal", ident, "id")
    return found


def update_reversal(call: Call) -> Obj:
    """POST /v1/transfers/{transfer}/reversals/{id}: metadata only."""
    reversal = _reversal(call)
    if "metadata" in call.params:
        call.store.change(reversal, metadata=merged_metadata(reversal["metadata"], call.params["metadata"]))
        transfer = call.find("transfer", reversal["transfer"])
        previous = call.store.change(transfer, reversals=transfers.reversals_of(call, transfer))
        if previous:
            call.emit("transfer.updated", transfer, previous)
    return reversal


ROUTES: Final = [
    Route(
        "POST",
        _URL,
        create,
        Params(
            {
                "amount": at_least(1),
                "currency": currency,
                "description": text(),
                "destination": text(),
                "metadata": metadata,
                "source_transaction": text(),
                "source_type": one_of("bank_account", "card", "fpx"),
                "transfer_group": text(),
            },
            required=("currency", "destination"),
        ),
    ),
    Route("GET", _URL, list_all, listing(created=created, destination=text(), transfer_group=text())),
    Route("GET", f"{_URL}/{{}}", lambda call: call.find("transfer")),
    Route("POST", f"{_URL}/{{}}", update, Params({"description": clearable(text()), "metadata": metadata})),
    Route(
        "POST",
        f"{_URL}/{{}}/reversals",
        reverse,
        Params(
            {
                "amount": at_least(1),
                "description": text(),
                "metadata": metadata,
                "refund_application_fee": boolean,
            }
        ),
    ),
    Route("GET", f"{_URL}/{{}}/reversals", list_reversals, listing()),
    Route("GET", f"{_URL}/{{}}/reversals/{{}}", _reversal),
    Route("POST", f"{_URL}/{{}}/reversals/{{}}", update_reversal, Params({"metadata": metadata})),
]
