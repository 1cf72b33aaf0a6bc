"""The schedule side of ``POST /v1/invoices/create_preview``: one as it is or would be, or a new one.

As with ``subscription_preview``, all is done for real inside a block that undoes it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tallystick.sandbox import schedule_phases as phases
from tallystick.sandbox import schedule_shape as shape
from tallystick.sandbox import subscription_preview, subscription_schedules
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import Params
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

DETAILS: Final = Params(
    {name: shape.CREATE.fields[name] for name in ("billing_mode", "end_behavior", "phases")}
    | {"proration_behavior": shape.UPDATE.fields["proration_behavior"]}
)
"""``schedule_details`` of a preview."""


def of(call: Call, customer: Obj, given: dict[str, Any]) -> Obj:
    """The draft of the next invoice that ``schedule`` leads to, as ``schedule_details`` would change it.

    ``call`` is quiet, inside ``Store.tentative``. Raises StripeError (404 ``invoice_upcoming_none``) when
    nothing will be billed.
    """
    details = given.get("schedule_details", {})
    if "schedule" not in given:
        return _begun(call, _new(call, customer, details))
    schedule = call.find(phases.KIND, given["schedule"], param="schedule")
    subscription = call.store.get("subscription", schedule["subscription"] or "")
    before = None if subscription is None else subscription["latest_invoice"]
    if details:
        changes = {name: value for name, value in details.items() if name != "billing_mode"}
        subscription_schedules.update(replace(call, params=changes, ids=(schedule["id"],)))
    if subscription is None:
        return _begun(call, schedule)
    return subscription_preview.next_draft(call, subscription, before)


def _new(call: Call, customer: Obj, details: dict[str, Any]) -> Obj:
    """A schedule that would be made: of its first phase's start, or of now."""
    if not details.get("phases"):
        raise invalid(
            "Missing required param: schedule_details[phases].",
            param="schedule_details[phases]",
            code="parameter_missing",
        )
    start = details["phases"][0].get("start_date", "now")
    params = {name: value for name, value in details.items() if name != "proration_behavior"}
    params |= {"customer": customer["id"], "start_date": start}
    return subscription_schedules.create(replace(call, params=params, ids=()))


def _begun(call: Call, schedule: Obj) -> Obj:
    """The first invoice of a schedule's subscription."""
    if schedule["status"] == "not_started":
        phases.start(replace(call, now=schedule["phases"][0]["start_date"]), schedule)
    subscription = call.find("subscription", schedule["subscription"])
    return subscription_preview.next_draft(call, subscription, None)
