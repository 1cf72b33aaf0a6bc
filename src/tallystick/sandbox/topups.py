"""Top-ups: money from the account's own bank account into its balance, a little later."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import balance
from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Params,
    clearable,
    created,
    currency,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("topup", "topup", indexes=("status",))]

ARRIVE: Final = "topup_arrives"


def create(call: Call) -> Obj:
    """POST /v1/topups: pending until the bank has paid."""
    params = call.params
    topup: Obj = {
        "id": call.sandbox.ids.new("tu"),
        "object": "topup",
        "amount": params["amount"],
        "balance_transaction": None,
        "created": call.now,
        "currency": params["currency"],
        "description": params.get("description"),
        "expected_availability_date": balance.midnight_after(call.now, 1),
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "source": None,
        "statement_descriptor": params.get("statement_descriptor"),
        "status": "pending",
        "transfer_group": params.get("transfer_group"),
    }
    call.store.put(topup)
    call.after(call.sandbox.settings.payout_delay, ARRIVE, topup["id"])
    call.emit("topup.created", topup)
    return topup


def arrive(call: Call, ident: str) -> None:
    """Timer: the bank has paid."""
    topup = call.find("topup", ident)
    txn = balance.book(call, "topup", topup, amount=topup["amount"], at_once=True)
    previous = call.store.change(topup, status="succeeded", balance_transaction=txn["id"])
    call.emit("topup.succeeded", topup, previous)


def reverse(control: Control) -> Obj:
    """Have the bank take a top-up back that had succeeded; shows it."""
    call = control.call()
    topup = call.find("topup")
    if topup["status"] != "succeeded":
        raise refused(f"This top-up has a status of {topup['status']}; only a succeeded one can be reversed.")
    balance.book(call, "topup_reversal", topup, amount=-topup["amount"], at_once=True)
    previous = call.store.change(topup, status="reversed")
    call.emit("topup.reversed", topup, previous)
    return topup


def cancel(call: Call) -> Obj:
    """POST /v1/topups/{id}/cancel: only while it is pending."""
    topup = call.find("topup")
    if not call.sandbox.timers.take(ARRIVE, topup["id"]):
        raise refused(f"This top-up has a status of {topup['status']}; only a pending one can be canceled.")
    previous = call.store.change(topup, status="canceled")
    call.emit("topup.canceled", topup, previous)
    return topup


def update(call: Call) -> Obj:
    """POST /v1/topups/{id}: description and metadata."""
    topup = call.find("topup")
    values: Obj = {}
    if "description" in call.params:
        values["description"] = call.params["description"]
    if "metadata" in call.params:
        values["metadata"] = merged_metadata(topup["metadata"], call.params["metadata"])
    call.store.change(topup, **values)
    return topup


def list_all(call: Call) -> Obj:
    """GET /v1/topups."""
    bounds = call.params.get("amount", {})
    return page(
        call,
        "topup",
        "/v1/topups",
        matches=lambda topup: balance.within(topup["amount"], bounds),
        ignore=("amount",),
    )


CONTROLS: Final[Controls] = {("POST", "topups", "{}", "reverse"): reverse}
ACTIONS: Final = {ARRIVE: arrive}
SETTLES: Final = {ARRIVE}

ROUTES: Final = [
    Route(
        "POST",
        "/v1/topups",
        create,
        Params(
            {
                "amount": at_least(1),
                "currency": currency,
                "description": text(),
                "metadata": metadata,
                "payment_method": unsupported("it tops up from the account's own bank account"),
                "payment_method_options": unsupported("it tops up from the account's own bank account"),
                "source": unsupported("it has no sources"),
                "statement_descriptor": text(15),
                "transfer_group": text(),
            },
            required=("amount", "currency"),
        ),
    ),
    Route(
        "GET",
        "/v1/topups",
        list_all,
        listing(
            amount=created,
            created=created,
            status=one_of("canceled", "failed", "pending", "succeeded"),
        ),
    ),
    Route("GET", "/v1/topups/{}", lambda call: call.find("topup")),
    Route("POST", "/v1/topups/{}", update, Params({"description": clearable(text()), "metadata": metadata})),
    Route("POST", "/v1/topups/{}/cancel", cancel),
]
