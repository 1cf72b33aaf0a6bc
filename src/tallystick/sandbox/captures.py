"""Capture and settlement of charges: money that was authorized is taken, and a little later booked."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import balance, charge_shape, destinations, disputes, payment_methods
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

SETTLE: Final = "settle_charge"
EXPIRE: Final = "expire_authorization"


def capture(call: Call, intent: Obj, amount: int, *, final: bool = True) -> None:
    """Capture ``amount`` of an authorization; what is left of it is let go of when it is ``final``.

    A charge that is captured several times has one balance transaction for each capture. A final capture of 0
    lets go of what is left.
    """
    charge = call.find("charge", intent["latest_charge"])
    captured: int = charge["amount_captured"] + amount
    if charge["amount_captured"]:
        call.store.hide(charge, booked=_booked(call, charge))
    if final:
        call.sandbox.timers.take(EXPIRE, charge["id"])
    call.store.change(
        charge,
        captured=True,
        amount_captured=captured,
        application_fee_amount=intent["application_fee_amount"],
        **charge_shape.received_by(intent),
        refunded=0 < captured == charge["amount_refunded"],
        statement_descriptor=intent["statement_descriptor"],
        statement_descriptor_suffix=intent["statement_descriptor_suffix"],
    )
    capturable: int = intent["amount_capturable"]
    call.store.change(
        intent,
        status="succeeded" if final else "requires_capture",
        amount_capturable=0 if final else capturable - amount,
        amount_received=captured,
    )
    if amount:
        settle_later(call, charge)
        call.emit("charge.captured", charge)
    card = payment_methods.card_of(call, call.find("payment_method", charge["payment_method"]))
    if final and card.dispute:
        disputes.draw(call, charge)
    if final:
        call.emit("payment_intent.succeeded", intent)
    else:
        call.emit("payment_intent.amount_capturable_updated", intent)
    if card.at_once:
        settle_now(call, charge)


def _booked(call: Call, charge: Obj) -> int:
    """How much of a charge has its balance transaction: kept only for one that is captured several times."""
    once: int = charge["amount_captured"] if charge["balance_transaction"] else 0
    booked: int = call.store.hidden(charge).get("booked", once)
    return booked


def settle_later(call: Call, charge: Obj) -> None:
    """Have what has been captured booked a little later, unless that is to come already."""
    if not call.sandbox.timers.has(SETTLE, charge["id"]):
        call.after(call.sandbox.settings.settlement_delay, SETTLE, charge["id"])


def book(call: Call, charge: Obj) -> Obj:
    """Book what of a captured charge is not booked yet; returns what changed of it."""
    method = call.find("payment_method", charge["payment_method"])
    card = payment_methods.card_of(call, method)
    amount = charge["amount_captured"] - _booked(call, charge)
    txn = balance.book(call, "charge", charge, amount=amount, fee=True, at_once=card.at_once)
    if "booked" in call.store.hidden(charge):
        call.store.hide(charge, booked=charge["amount_captured"])
    if card.at_once:
        call.emit("balance.available", balance.shown(call))
    if charge["balance_transaction"] is not None:
        return {}
    return call.store.change(charge, balance_transaction=txn["id"], **destinations.share(call, charge, txn))


def settle(call: Call, charge_id: str) -> None:
    """Timer: the balance transaction of a captured charge appears."""
    charge = call.find("charge", charge_id)
    if _booked(call, charge) < charge["amount_captured"]:
        call.emit("charge.updated", charge, book(call, charge))


def settle_now(call: Call, charge: Obj) -> None:
    """Settle a charge at once whose settlement is still to come: a refund needs it."""
    if call.sandbox.timers.take(SETTLE, charge["id"]):
        settle(call, charge["id"])


ACTIONS: Final = {SETTLE: settle}
