"""Transfers from the platform's balance to connected accounts, and their reversals.

Connected accounts' own books are not kept: ``destination_payment`` and ``destination_payment_refund`` are ids
of objects that only the connected account could read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tallystick import money
from tallystick.sandbox import balance
from tallystick.sandbox.errors import refused
from tallystick.sandbox.lists import embedded
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("transfer", "transfer", indexes=("transfer_group", "destination", "source_transaction")),
    TableSpec("transfer_reversal", "transfer reversal", indexes=("transfer",)),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to send: ``amount`` in minor units of ``currency``, in which the platform's balance holds it.

    ``charge`` is where the money comes from, None for the balance at large; ``available_on`` is when it can
    be had, now or with the charge's own.
    """

    amount: int
    currency: str
    destination: str
    available_on: int
    charge: str | None = None
    source_type: str = "card"
    group: str | None = None
    description: str | None = None


def make(call: Call, order: Order, metadata: dict[str, str] | None = None) -> Obj:
    """A new transfer, booked."""
    ids = call.sandbox.ids
    ident = ids.new("tr", of=order.charge)
    transfer: Obj = {
        "id": ident,
        "object": "transfer",
        "amount": order.amount,
        "amount_reversed": 0,
        "balance_transaction": None,
        "created": call.now,
        "currency": order.currency,
        "description": order.description,
        "destination": order.destination,
        "destination_payment": ids.new("py", of=order.charge),
        "livemode": False,
        "metadata": merged_metadata(None, metadata or {}),
        "reversals": embedded([], _reversals(ident)),
        "reversed": False,
        "source_transaction": order.charge,
        "source_type": order.source_type,
        "transfer_group": order.group,
    }
    call.store.put(transfer)
    txn = balance.enter(
        call,
        "transfer",
        -order.amount,
        order.currency,
        source=ident,
        available_on=order.available_on,
        description=order.description,
    )
    call.store.change(transfer, balance_transaction=txn["id"])
    call.emit("transfer.created", transfer)
    return transfer


def reverse(
    call: Call, transfer: Obj, amount: int, *, refund: str | None = None, metadata: Any = None
) -> Obj:
    """Take ``amount`` of a transfer back into the balance; raises StripeError (400) for more than is left."""
    left, code = transfer["amount"] - transfer["amount_reversed"], transfer["currency"]
    if amount > left:
        raise refused(
            f"Transfer reversal amount ({money.decimal_text(amount, code)} {code}) is greater than unreversed"
            f" amount on transfer ({money.decimal_text(left, code)} {code})",
            param="amount",
        )
    ids = call.sandbox.ids
    reversal: Obj = {
        "id": ids.new("trr", of=transfer["id"]),
        "object": "transfer_reversal",
        "amount": amount,
        "balance_transaction": None,
        "created": call.now,
        "currency": code,
        "destination_payment_refund": ids.new("pyr", of=transfer["id"]),
        "metadata": merged_metadata(None, metadata or {}),
        "source_refund": refund,
        "transfer": transfer["id"],
    }
    call.store.put(reversal)
    sent = call.find("balance_transaction", transfer["balance_transaction"])
    txn = balance.enter(
        call,
        "transfer_refund",
        amount,
        code,
        source=reversal["id"],
        available_on=max(call.now, sent["available_on"]),
        description="REFUND FOR TRANSFER",
    )
    call.store.change(reversal, balance_transaction=txn["id"])
    total = transfer["amount_reversed"] + amount
    values = {"amount_reversed": total, "reversed": total == transfer["amount"]}
    previous = call.store.change(transfer, **values, reversals=reversals_of(call, transfer))
    call.emit("transfer.reversed", transfer)
    call.emit("transfer.updated", transfer, previous)
    return reversal


def reversals_of(call: Call, transfer: Obj) -> Obj:
    """The ``reversals`` of a transfer as it shows them, newest first."""
    found = call.store.tables["transfer_reversal"].having("transfer", transfer["id"])
    return embedded([dict(reversal) for reversal in found[::-1]], _reversals(transfer["id"]))


def _reversals(transfer: str) -> str:
    return f"/v1/transfers/{transfer}/reversals"
