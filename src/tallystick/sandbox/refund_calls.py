"""Refunds over the API; what becomes of one is in ``refunds``."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import (
    refunds,
)
from tallystick.sandbox.errors import missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    created,
    integer,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def retrieve(call: Call) -> Obj:
    """GET /v1/refunds/{id} and, the older way, /v1/charges/{id}/refunds/{id}."""
    return _named(call)


def _named(call: Call) -> Obj:
    """The refund in the path, below its charge or by itself."""
    if len(call.ids) == 1:
        return call.find("refund")
    charge, refund = call.find("charge"), call.find("refund", call.ids[1], param="id")
    if refund["charge"] != charge["id"]:
        raise missing("refund", refund["id"], "id")
    return refund


def update(call: Call) -> Obj:
    """POST /v1/refunds/{id} and /v1/charges/{id}/refunds/{id}: metadata only."""
    refund = _named(call)
    if "metadata" in call.params:
        merged = merged_metadata(refund["metadata"], call.params["metadata"])
        previous = call.store.change(refund, metadata=merged)
        if previous:
            refunds.updated(call, refund, previous)
    return refund


def cancel(call: Call) -> Obj:
    """POST /v1/refunds/{id}/cancel: only one that waits for the customer; card refunds never do."""
    refund = call.find("refund")
    raise refused(
        f"This refund cannot be canceled because it has a status of {refund['status']}. Only a refund with"
        " the status requires_action may be canceled."
    )


def list_all(call: Call) -> Obj:
    """GET /v1/refunds and /v1/charges/{id}/refunds."""
    if call.ids:
        call.find("charge")
        call.params["charge"] = call.ids[0]
        return page(call, "refund", f"/v1/charges/{call.ids[0]}/refunds")
    return page(call, "refund", "/v1/refunds")


_SHARED: Final[dict[str, Check]] = {
    "amount": integer,
    "instructions_email": text(),
    "metadata": metadata,
    "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    "refund_application_fee": boolean,
    "reverse_transfer": boolean,
}
OF_CHARGE: Final = Params(_SHARED)
_CREATE: Final = Params(
    {
        **_SHARED,
        "charge": text(),
        "currency": unsupported("only a customer's cash balance is refunded by currency"),
        "customer": unsupported("only a customer's cash balance is refunded by customer"),
        "origin": unsupported("there are no cash balances to refund"),
        "payment_intent": text(),
    }
)

ROUTES: Final = [
    Route("POST", "/v1/refunds", refunds.create, _CREATE),
    Route("GET", "/v1/refunds", list_all, listing(created=created, charge=text(), payment_intent=text())),
    Route("GET", "/v1/refunds/{}", retrieve),
    Route("POST", "/v1/refunds/{}", update, Params({"metadata": metadata})),
    Route("POST", "/v1/refunds/{}/cancel", cancel),
    Route("GET", "/v1/charges/{}/refunds", list_all, listing()),
    Route("GET", "/v1/charges/{}/refunds/{}", retrieve),
    Route("POST", "/v1/charges/{}/refunds/{}", update, Params({"metadata": metadata})),
]
