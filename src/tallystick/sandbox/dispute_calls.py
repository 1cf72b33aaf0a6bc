"""Disputes over the API: read, answered, given up, also the older way through their charge."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import disputes
from tallystick.sandbox.dispute_evidence import evidence_check
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Params,
    boolean,
    created,
    listing,
    merged_metadata,
    metadata,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def retrieve(call: Call) -> Obj:
    """GET /v1/disputes/{id}."""
    return call.find("dispute")


def _of_charge(call: Call) -> Obj:
    """The newest dispute of the charge in the path."""
    charge = call.find("charge")
    found = call.store.tables["dispute"].having("charge", charge["id"])
    if not found:
        raise StripeError(404, f"No dispute for charge: {charge['id']}")
    return found[-1]


def update(call: Call) -> Obj:
    """POST /v1/disputes/{id}: metadata, and evidence, which is submitted unless ``submit`` is false."""
    return _update(call, call.find("dispute"))


def _update(call: Call, dispute: Obj) -> Obj:
    params = call.params
    disputes.check_open(dispute)
    values: Obj = {}
    if "metadata" in params:
        values["metadata"] = merged_metadata(dispute["metadata"], params["metadata"])
    sent = params.get("evidence", {})
    details = dispute["evidence_details"]
    if sent:
        values["evidence"] = {**dispute["evidence"], **sent}
        details = {**details, "has_evidence": any(values["evidence"].values())}
    submitted = params.get("submit", bool(sent))
    if submitted:
        warning = "warning_" if dispute["status"].startswith("warning_") else ""
        details = {**details, "submission_count": details["submission_count"] + 1}
        values["status"] = f"{warning}under_review"
    values["evidence_details"] = details
    previous = call.store.change(dispute, **values)
    if previous:
        call.emit("charge.dispute.updated", dispute, previous)
    if submitted:
        call.emit("charge.updated", call.find("charge", dispute["charge"]), {})
        if dispute["evidence"]["uncategorized_text"] in disputes.VERDICTS:
            call.sandbox.timers.take(disputes.DECIDE, dispute["id"])
            call.after(call.sandbox.settings.dispute_delay, disputes.DECIDE, dispute["id"])
    return dispute


def close(call: Call) -> Obj:
    """POST /v1/disputes/{id}/close: give it up; it is lost."""
    dispute = call.find("dispute")
    disputes.settle(call, dispute, "lost")
    return dispute


def retrieve_of_charge(call: Call) -> Obj:
    """GET /v1/charges/{id}/dispute, the older way."""
    return _of_charge(call)


def update_of_charge(call: Call) -> Obj:
    """POST /v1/charges/{id}/dispute."""
    return _update(call, _of_charge(call))


def close_of_charge(call: Call) -> Obj:
    """POST /v1/charges/{id}/dispute/close."""
    dispute = _of_charge(call)
    disputes.settle(call, dispute, "lost")
    return dispute


def list_all(call: Call) -> Obj:
    """GET /v1/disputes."""
    return page(call, "dispute", "/v1/disputes")


_UPDATE: Final = Params({"evidence": evidence_check, "metadata": metadata, "submit": boolean})

ROUTES: Final = [
    Route("GET", "/v1/disputes", list_all, listing(charge=text(), created=created, payment_intent=text())),
    Route("GET", "/v1/disputes/{}", retrieve),
    Route("POST", "/v1/disputes/{}", update, _UPDATE),
    Route("POST", "/v1/disputes/{}/close", close),
    Route("GET", "/v1/charges/{}/dispute", retrieve_of_charge),
    Route("POST", "/v1/charges/{}/dispute", update_of_charge, _UPDATE),
    Route("POST", "/v1/charges/{}/dispute/close", close_of_charge),
]
