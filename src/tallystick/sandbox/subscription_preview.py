"""The subscription side of ``POST /v1/invoices/create_preview``.

The change is made for real inside a block that undoes it (``Store.tentative``, a quiet call): a preview has
the very lines and sums that the change would be billed with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_changes as changes
from tallystick.sandbox import subscription_creation, subscription_upcoming
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_pauses as pauses
from tallystick.sandbox import subscription_shape as shape
from tallystick.sandbox import subscription_waiting as waiting
from tallystick.sandbox.errors import StripeError, invalid
from tallystick.sandbox.params import Params, boolean, clearable, integer, list_of, one_of, text
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_lines import Line


def _anchor(value: Any, name: str) -> int | str:
    return str(value) if value in ("now", "unchanged") else integer(value, name)


DETAILS: Final = Params(
    {
        "billing_cycle_anchor": _anchor,
        "billing_mode": shape.BILLING_MODE,
        "billing_schedules": shape.CREATE.fields["billing_schedules"],
        "cancel_at": shape.CREATE.fields["cancel_at"],
        "cancel_at_period_end": boolean,
        "cancel_now": boolean,
        "default_tax_rates": clearable(list_of(text())),
        "items": shape.CHANGED_ITEMS,
        "proration_behavior": shape.PRORATION,
        "proration_date": integer,
        "resume_at": one_of("now"),
        "start_date": integer,
        "trial_end": shape.CREATE.fields["trial_end"],
    }
)
"""``subscription_details`` of a preview."""


def of(call: Call, customer: Obj, subscription: Obj | None, given: dict[str, Any]) -> Obj:
    """The draft of the next invoice, as ``given`` (preview parameters) would make it.

    ``call`` is quiet, inside ``Store.tentative``; the caller shows the draft before the block ends. Without a
    subscription a new one is previewed. Raises StripeError (404 ``invoice_upcoming_none``) when nothing will
    be billed.
    """
    details = dict(given.get("subscription_details", {}))
    if "discounts" in given:
        details["discounts"] = given["discounts"]
    if subscription is None:
        return _new(
            call, customer, {**details, "currency": given["currency"]} if "currency" in given else details
        )
    if subscription["status"] in shape.ENDED:
        raise nothing(subscription["customer"])
    recurring = given.get("preview_mode") == "recurring"
    return _changed(call, subscription, details, recurring=recurring)


def _new(call: Call, customer: Obj, details: dict[str, Any]) -> Obj:
    for name in ("cancel_now", "resume_at", "proration_date"):
        if name in details:
            raise invalid(
                f"You cannot preview {name} without a subscription.", param=f"subscription_details[{name}]"
            )
    params = {name: value for name, value in details.items() if name != "start_date"}
    if "start_date" in details:
        params["backdate_start_date"] = details["start_date"]
    params["payment_behavior"] = "default_incomplete"
    subscription = subscription_creation.make(replace(call, params=params, ids=()), customer)
    return next_draft(call, subscription, None)


def _changed(call: Call, subscription: Obj, details: dict[str, Any], *, recurring: bool) -> Obj:
    before = subscription["latest_invoice"]
    if details.pop("cancel_now", False):
        prorate = details.get("proration_behavior", "create_prorations") != "none"
        life.end(call, subscription, subscription["cancellation_details"], prorate=prorate, invoice_now=True)
    elif details.pop("resume_at", None) is not None:
        pauses.resume(replace(call, params={}), subscription)
    elif details:
        params = {
            name: value for name, value in details.items() if name not in ("billing_mode", "start_date")
        }
        changes.update(
            replace(call, params={**params, "payment_behavior": "default_incomplete"}), subscription
        )
    if recurring:
        for item in waiting.pending(call, subscription):
            call.store.change(item, invoice="excluded")
        before = subscription["latest_invoice"]
    return next_draft(call, subscription, before)


def next_draft(call: Call, subscription: Obj, before: str | None) -> Obj:
    """What has been billed since the invoice ``before``, else the draft of the next renewal."""
    if subscription["latest_invoice"] != before:
        return call.find("invoice", subscription["latest_invoice"])
    if subscription["status"] in shape.ENDED:
        raise nothing(subscription["customer"])
    moment = subscription_upcoming.foresee(call, subscription)
    if subscription["latest_invoice"] != before:
        return call.find("invoice", subscription["latest_invoice"])
    if subscription["status"] in shape.ENDED:
        raise nothing(subscription["customer"])
    ends = subscription["cancel_at"]
    billed: list[Line] = life.renewal(call, subscription, moment)
    if ends is not None and ends <= moment:
        billed = [line for line in billed if items.metered(line.item)]
        if not billed and not waiting.pending(call, subscription):
            raise nothing(subscription["customer"])
    return billing.make(call, subscription, billed, "subscription_cycle", auto_advance=False)


def nothing(customer: str) -> StripeError:
    """404: there is no invoice to come."""
    return StripeError(404, f"No upcoming invoices for customer: {customer}", code="invoice_upcoming_none")
