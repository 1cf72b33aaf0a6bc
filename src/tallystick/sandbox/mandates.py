"""Mandates: a customer's leave to debit a bank account, once or again."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import bank_accounts
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import Params, integer, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("mandate", "mandate", indexes=("payment_method",))]

_ONLINE: Final = Params({"ip_address": text(), "user_agent": text()})
_ACCEPTANCE: Final = Params(
    {
        "accepted_at": integer,
        "offline": Params({}),
        "online": _ONLINE,
        "type": one_of("offline", "online"),
    },
    required=("type",),
)
_DATA: Final = Params({"customer_acceptance": _ACCEPTANCE}, required=("customer_acceptance",))


def data(value: Any, name: str) -> dict[str, Any]:
    """``mandate_data`` as sent; an online acceptance says from where."""
    sent = _DATA(value, name)
    acceptance = sent["customer_acceptance"]
    if acceptance["type"] == "online" and "online" not in acceptance:
        param = f"{name}[customer_acceptance][online]"
        raise invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")
    return sent


def given(call: Call, method: Obj, sent: dict[str, Any] | None, *, once: Obj | None = None) -> Obj:
    """The mandate for a bank account: the one in force, or a new one.

    ``sent`` is checked ``mandate_data``; without it the acceptance counts as given offline (Stripe would
    refuse some such calls). ``once``: the PaymentIntent for which alone it holds.
    """
    if sent is None:
        for known in reversed(call.store.tables["mandate"].having("payment_method", method["id"])):
            if known["status"] == "active" and known["type"] == "multi_use":
                return known
    acceptance = dict((sent or {}).get("customer_acceptance", {"type": "offline", "offline": {}}))
    kind = method["type"]
    shown: Obj = {
        "accepted_at": acceptance.get("accepted_at", call.now),
        "type": acceptance["type"],
    }
    if acceptance["type"] == "online":
        online = acceptance["online"]
        shown["online"] = {name: online.get(name) for name in ("ip_address", "user_agent")}
    else:
        shown["offline"] = {}
    reference = call.sandbox.ids.chars(16).upper()
    details: Obj = {}
    if kind == bank_accounts.SEPA:
        details = {"reference": reference, "url": f"{call.base_url}/mandates/{reference}"}
    mandate: Obj = {
        "id": call.sandbox.ids.new("mandate", of=None if once is None else once["id"]),
        "object": "mandate",
        "customer_acceptance": shown,
        "livemode": False,
        "payment_method": method["id"],
        "payment_method_details": {kind: details, "type": kind},
        "status": "active",
        "type": "multi_use" if once is None else "single_use",
    }
    if once is None:
        mandate["multi_use"] = {}
    else:
        mandate["single_use"] = {"amount": once["amount"], "currency": once["currency"]}
    return call.store.put(mandate)


def retrieve(call: Call) -> Obj:
    """GET /v1/mandates/{id}."""
    return call.find("mandate")


ROUTES: Final = [Route("GET", "/v1/mandates/{}", retrieve)]
