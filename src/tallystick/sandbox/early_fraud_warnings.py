"""Early fraud warnings: the issuer takes a payment for fraud before anybody disputes it.

The charges of one test card draw a warning a little later. It can be acted upon (``actionable``)
until the charge is disputed or refunded in full.
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import payment_methods
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import created, listing, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "radar.early_fraud_warning"
TABLES: Final = [TableSpec(KIND, "early fraud warning", indexes=("charge", "payment_intent"))]

WARN: Final = "warn_of_fraud"


def charged(call: Call, charge: Obj) -> None:
    """A charge has gone through: its issuer may have something to say about it."""
    method = call.find("payment_method", charge["payment_method"])
    if payment_methods.card_of(call, method).warned:
        call.after(call.sandbox.settings.settlement_delay, WARN, charge["id"])


def warn(call: Call, charge_id: str) -> None:
    """Timer: the issuer's warning comes in."""
    charge = call.find("charge", charge_id)
    warning = call.store.put(
        {
            "id": call.sandbox.ids.new("issfr", of=charge_id),
            "object": KIND,
            "actionable": not (charge["refunded"] or charge["disputed"]),
            "charge": charge_id,
            "created": call.now,
            "fraud_type": "unauthorized_use_of_card",
            "livemode": False,
            "payment_intent": charge["payment_intent"],
        }
    )
    call.emit("radar.early_fraud_warning.created", warning)


def refunded(call: Call, charge: Obj) -> None:
    """Once all is paid back there is nothing left to do."""
    if charge["refunded"]:
        _settled(call, charge["id"])


def disputed(call: Call, dispute: Obj) -> None:
    """The dispute takes the warning's place."""
    _settled(call, dispute["charge"])


def _settled(call: Call, charge_id: str) -> None:
    for warning in call.store.tables[KIND].having("charge", charge_id):
        previous = call.store.change(warning, actionable=False)
        if previous:
            call.emit("radar.early_fraud_warning.updated", warning, previous)


def retrieve(call: Call) -> Obj:
    """GET /v1/radar/early_fraud_warnings/{id}."""
    return call.find(KIND)


def list_all(call: Call) -> Obj:
    """GET /v1/radar/early_fraud_warnings."""
    return page(call, KIND, "/v1/radar/early_fraud_warnings")


ACTIONS: Final = {WARN: warn}
SETTLES: Final = {WARN}
LISTENERS: Final = {
    "charge.succeeded": charged,
    "charge.refunded": refunded,
    "charge.dispute.created": disputed,
}

ROUTES: Final = [
    Route(
        "GET",
        "/v1/radar/early_fraud_warnings",
        list_all,
        listing(charge=text(), created=created, payment_intent=text()),
    ),
    Route("GET", "/v1/radar/early_fraud_warnings/{}", retrieve),
]
