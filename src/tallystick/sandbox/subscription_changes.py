"""A subscription's update: items, anchor, trial, pause of collection; with proration.

Stripe's rules (docs "Prorations", "Change the billing period"): a changed price or quantity credits what is
unused of what was billed and debits what remains of the period, as pending invoice items
(``create_prorations``) or on an invoice at once (``always_invoice``), or not at all (``none``). A new billing
interval, ``billing_cycle_anchor=now`` and the end of a trial begin a new period and are billed at once.
"""

from __future__ import annotations

from typing import Any

from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_lines as lines
from tallystick.sandbox import subscription_pending as updates
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox import subscription_waiting as waiting
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_item_changes import Plan, change_items, credit, period_of, trialing
from tallystick.sandbox.subscription_lines import Line
from tallystick.sandbox.subscription_shape import ENDED


def update(call: Call, subscription: Obj) -> Obj:
    """Apply the call's parameters; raises StripeError when they do not fit the subscription."""
    if subscription["status"] in ENDED:
        _update_ended(call, subscription)
        return subscription
    params = call.params
    _not_against_schedule(subscription, params)
    before = dict(subscription)
    behavior = params.get("payment_behavior", "allow_incomplete")
    customer = call.find("customer", subscription["customer"])
    call.store.change(subscription, **terms.simple(call, subscription, customer))
    _discounts(call, subscription)
    plan = _plan(call, subscription)
    _trial(call, subscription, plan)
    if "items" in params:
        change_items(call, subscription, params["items"], plan)
    if params.get("billing_cycle_anchor") == "now":
        restart(call, subscription, plan)
    items.show(call, subscription)
    call.store.change(subscription, **terms.ending(call, subscription))
    _pause_collection(call, subscription)
    if "cancellation_details" in params:
        details = {**subscription["cancellation_details"], **params["cancellation_details"]}
        call.store.change(subscription, cancellation_details=details)
    add_once(call, subscription)
    settle(call, subscription, plan, before, behavior)
    return subscription


def _not_against_schedule(subscription: Obj, params: dict[str, Any]) -> None:
    schedule = subscription["schedule"]
    ending = ("cancel_at", "cancel_at_period_end")
    if schedule and any(params.get(name, subscription[name]) != subscription[name] for name in ending):
        raise refused(
            f"The subscription is managed by the subscription schedule `{schedule}`, and updating any"
            " cancelation behavior directly is not allowed. Please update the schedule instead."
        )


def _update_ended(call: Call, subscription: Obj) -> None:
    params = call.params
    if set(params) - {"cancellation_details", "metadata"}:
        raise refused("A canceled subscription can only update its cancellation_details and metadata.")
    values: Obj = {}
    if "metadata" in params:
        values["metadata"] = merged_metadata(subscription["metadata"], params["metadata"])
    if "cancellation_details" in params:
        values["cancellation_details"] = {
            **subscription["cancellation_details"],
            **params["cancellation_details"],
        }
    previous = call.store.change(subscription, **values)
    if previous:
        call.emit("customer.subscription.updated", subscription, previous)


def _plan(call: Call, subscription: Obj) -> Plan:
    behavior = call.params.get("proration_behavior", "create_prorations")
    moment = call.params.get("proration_date", call.now)
    held = subscription["items"]["data"]
    start = min(item["current_period_start"] for item in held)
    if not start <= moment <= max(item["current_period_end"] for item in held):
        raise invalid(
            "Cannot specify `proration_date` outside of the current period of the subscription.",
            param="proration_date",
        )
    billed = {item["id"]: call.store.hidden(item).get("billed") for item in items.of(call, subscription)}
    return Plan(moment, at_once=behavior == "always_invoice", prorate=behavior != "none", billed=billed)


def _discounts(call: Call, subscription: Obj) -> None:
    sent = terms.discount_params(call.params)
    if sent is None:
        return
    held = subscription["discounts"]
    given = terms.give_discounts(call, subscription, sent)
    call.store.change(subscription, discounts=given)
    for ident in held:
        if ident not in given:
            call.emit("customer.discount.deleted", call.find("discount", ident))
    for ident in given:
        if ident not in held:
            call.emit("customer.discount.created", call.find("discount", ident))


# Anchor and trial


def restart(call: Call, subscription: Obj, plan: Plan) -> None:
    """Begin a new period at the plan's moment for all items."""
    plan.restart = plan.at_once = True
    for item in items.of(call, subscription):
        if items.metered(item):
            start = item["current_period_start"]
            if start < plan.moment and subscription["status"] != "trialing":
                plan.regular += lines.by_usage(call, item, subscription, (start, plan.moment))
        else:
            credit(call, item, plan)


def _trial(call: Call, subscription: Obj, plan: Plan) -> None:
    params = call.params
    if "trial_end" not in params:
        if params.get("trial_from_plan"):
            raise invalid(
                "trial_from_plan can be used with a new subscription only.", param="trial_from_plan"
            )
        return
    moment = terms.later_trial_end(call, params["trial_end"])
    if moment is None:
        if trialing(subscription, call.now):
            restart(call, subscription, plan)
            call.store.change(subscription, trial_end=call.now)
        return
    restart(call, subscription, plan)
    plan.at_once = False
    start = subscription["trial_start"] if subscription["status"] == "trialing" else call.now
    call.store.change(subscription, trial_end=moment, trial_start=start, status="trialing")


def begin_period(call: Call, subscription: Obj, plan: Plan) -> None:
    """The new period of a restart: until the trial ends, or a whole cycle from a new anchor."""
    if trialing(subscription, plan.moment):
        call.store.change(subscription, billing_cycle_anchor=subscription["trial_end"])
    else:
        call.store.change(subscription, billing_cycle_anchor=plan.moment)
    for item in items.of(call, subscription):
        start, end = period_of(subscription, item["price"], plan.moment)
        call.store.change(item, current_period_start=start, current_period_end=end)
        if trialing(subscription, plan.moment):
            plan.regular.append(lines.trial(call, item, (start, end)))
        elif not items.metered(item):
            plan.regular += lines.in_advance(call, item, subscription["currency"], (start, end))


# What comes of it


def settle(call: Call, subscription: Obj, plan: Plan, before: Obj, behavior: str) -> None:
    """Bill what has been planned, say what has changed, set the timers anew."""
    ends_trial = before["status"] == "trialing" and not trialing(subscription, call.now)
    if ends_trial and life.without_method(call, subscription):
        items.show(call, subscription)
        life.wind(call, subscription)
        return
    if plan.restart:
        begin_period(call, subscription, plan)
    remaining = [] if plan.restart or not plan.prorate else debits(call, subscription, plan)
    items.show(call, subscription)
    if ends_trial:
        call.store.change(subscription, status="active")
    pending = plan.credits + remaining
    at_once = plan.at_once and (pending or plan.regular)
    for line in pending:
        waiting.pend(call, subscription, line)
    if at_once and behavior == "pending_if_incomplete":
        _try(call, subscription, plan, before)
    else:
        ident = billing.announced_id(call, subscription) if at_once or plan.regular else None
        say(call, subscription, before)
        if ident is not None:
            billing.bill_update(call, subscription, plan.regular, behavior, ident=ident)
    life.wind(call, subscription)


def _try(call: Call, subscription: Obj, plan: Plan, before: Obj) -> None:
    """Bill a change that takes effect only when it is paid."""
    call.store.hide(subscription, trying=True)
    invoice = billing.bill_update(call, subscription, plan.regular, "allow_incomplete")
    call.store.hide(subscription, trying=False)
    if invoice["status"] == "paid" or subscription["collection_method"] == "send_invoice":
        say(call, subscription, before)
    else:
        updates.put_off(call, subscription, before, plan.billed, invoice)


def debits(call: Call, subscription: Obj, plan: Plan) -> list[Line]:
    """What remains of the period of the items that have changed, net of discounts."""
    if trialing(subscription, plan.moment):
        return []
    nets = lines.net_costs(call, items.of(call, subscription), subscription)
    found = []
    for item in plan.touched:
        period = item["current_period_start"], item["current_period_end"]
        line = lines.remaining(call, item, nets[item["id"]], period, plan.moment)
        billed: Obj | None = None
        if line is not None:
            found.append(line)
            billed = {
                "amount": line.amount,
                "start": line.start,
                "end": line.end,
                "invoice": None,
                "lines": [],
            }
        call.store.hide(item, billed=billed)
    return found


def say(call: Call, subscription: Obj, before: Obj) -> None:
    previous = {name: value for name, value in before.items() if subscription.get(name) != value}
    if previous:
        call.emit("customer.subscription.updated", subscription, previous)


def _pause_collection(call: Call, subscription: Obj) -> None:
    if "pause_collection" not in call.params:
        return
    sent = call.params["pause_collection"]
    if sent is None:
        call.store.change(subscription, pause_collection=None)
        return
    resumes = sent.get("resumes_at")
    if resumes is not None and resumes <= call.now:
        raise terms.past("pause_collection[resumes_at]")
    call.store.change(subscription, pause_collection={"behavior": sent["behavior"], "resumes_at": resumes})


def add_once(call: Call, subscription: Obj) -> None:
    """``add_invoice_items``: one-time prices on the next invoice of the subscription."""
    for index, sent in enumerate(call.params.get("add_invoice_items", ())):
        waiting.pend_once(call, subscription, sent, f"add_invoice_items[{index}]")
