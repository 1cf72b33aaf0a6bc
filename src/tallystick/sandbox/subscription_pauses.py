"""Pausing a subscription (status ``paused``) and resuming it. Pausing its collection is another thing.

Facts: Stripe's changelog of endive (2026-09-30) and its SDK 16.1. A pause credits unused time and bills usage
as ``bill_for`` says. A resumption that bills something has its invoice finalised at once and waits for it:

* ``resume_on_payment_attempt`` (default): nothing is charged by itself. Paid or forgiven: active; an attempt
  that fails: past_due; void, also after 23 hours without an attempt: still paused.
* ``resume_on_payment_success``: charged at once, and tried again; still paused until it is paid.

Hidden beside a subscription that waits: ``{"resumption": {"invoice": id, "attempt": bool}}``.
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import invoice_finalisation
from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_changes as changes
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_lines as lines
from tallystick.sandbox import subscription_waiting as waiting
from tallystick.sandbox.errors import refused
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_item_changes import Plan, period_of

EXPIRE: Final = "subscription_resumption_expires"
_SECONDS: Final = 23 * 3_600
_PAUSABLE: Final = ("active", "past_due")


def pause(call: Call, subscription: Obj) -> Obj:
    """Pause now; raises StripeError (400) where it cannot be."""
    _pausable(subscription)
    before = dict(subscription)
    wanted = call.params.get("bill_for", {})
    for line in _credits(call, subscription, wanted.get("unused_time_from", {}).get("type", "now")):
        waiting.pend(call, subscription, line)
    usage = _usage(call, subscription, wanted.get("outstanding_usage_through", {}).get("type", "now"))
    at_once = call.params.get("invoicing_behavior") == "invoice"
    if at_once and (usage or waiting.pending(call, subscription)):
        billing.bill_update(call, subscription, usage, "allow_incomplete")
    elif not at_once:
        for line in usage:
            waiting.pend(call, subscription, line)
    life.paused(call, subscription, "pause_requested", before)
    return subscription


def _pausable(subscription: Obj) -> None:
    if subscription["status"] not in _PAUSABLE:
        raise refused(
            f"You cannot pause a subscription with a status of {subscription['status']}: it must be"
            f" {' or '.join(_PAUSABLE)}."
        )
    if subscription["billing_mode"]["type"] != "flexible":
        raise refused("You can only pause subscriptions in flexible billing mode.")
    if subscription["schedule"] is not None:
        raise refused("You cannot pause a subscription that is attached to a schedule.")
    _automatic(subscription, "pause")


def _automatic(subscription: Obj, verb: str) -> None:
    if subscription["collection_method"] != "charge_automatically":
        raise refused(f"You can only {verb} subscriptions with `collection_method=charge_automatically`.")


def _credits(call: Call, subscription: Obj, since: str) -> list[lines.Line]:
    """What is given back of what was billed in advance; it then counts as billed no more."""
    if since == "none":
        return []
    found = []
    for item in items.of(call, subscription):
        billed = call.store.hidden(item).get("billed")
        if billed is None or billed["end"] <= call.now:
            continue
        moment = call.now if since == "now" else billed["start"]
        line = lines.credit(call, item, billed, moment)
        if line is not None:
            found.append(line)
        call.store.hide(item, billed=None)
    return found


def _usage(call: Call, subscription: Obj, through: str) -> list[lines.Line]:
    if through == "none":
        return []
    return [
        line
        for item in items.of(call, subscription)
        if items.metered(item) and item["current_period_start"] < call.now
        for line in lines.by_usage(call, item, subscription, (item["current_period_start"], call.now))
        if line.amount
    ]


def resume(call: Call, subscription: Obj) -> Obj:
    """Out of ``paused``: a new period from now on, or the old cycle again; at once, or when that is paid."""
    if subscription["status"] != "paused":
        raise refused(
            "You can only resume subscriptions that are paused. This subscription has a status of"
            f" {subscription['status']}."
        )
    _automatic(subscription, "resume")
    before = dict(subscription)
    behavior = call.params.get("proration_behavior", "create_prorations")
    plan = Plan(call.params.get("proration_date", call.now), prorate=behavior != "none")
    if call.params.get("billing_cycle_anchor", "now") == "now":
        plan.restart = True
        changes.begin_period(call, subscription, plan)
    else:
        plan.at_once = behavior == "always_invoice"
        _back_into_cycle(call, subscription, plan)
    items.show(call, subscription)
    if not plan.regular and not (plan.at_once and waiting.pending(call, subscription)):
        life.resumed(call, subscription, before)
        return subscription
    _bill(call, subscription, plan, before)
    return subscription


def _back_into_cycle(call: Call, subscription: Obj, plan: Plan) -> None:
    """The period that the cycle is in by now, and what remains of it as prorations."""
    for item in items.of(call, subscription):
        start, end = period_of(subscription, item["price"], plan.moment)
        billed = call.store.hidden(item).get("billed")
        call.store.change(item, current_period_start=start, current_period_end=end)
        if not items.metered(item) and (billed is None or billed["end"] <= plan.moment):
            plan.touched.append(item)
    if plan.prorate:
        for line in changes.debits(call, subscription, plan):
            waiting.pend(call, subscription, line)


def _bill(call: Call, subscription: Obj, plan: Plan, before: Obj) -> None:
    attempt = call.params.get("payment_behavior") != "resume_on_payment_success"
    ident = billing.announced_id(call, subscription)
    call.store.hide(subscription, resumption={"invoice": ident, "attempt": attempt})
    changes.say(call, subscription, before)
    behavior = "default_incomplete" if attempt else "allow_incomplete"
    billing.bill_update(call, subscription, plan.regular, behavior, ident=ident)
    if attempt and subscription["status"] == "paused":
        call.after(_SECONDS, EXPIRE, subscription["id"])


def _waits_for(call: Call, subscription: Obj, invoice: str | None) -> Obj | None:
    waits: Obj | None = call.store.hidden(subscription).get("resumption")
    return waits if waits is not None and waits["invoice"] == invoice else None


def given_up(call: Call, subscription: Obj) -> None:
    """The invoice of a resumption is void, or it is paid: nothing waits any more."""
    call.sandbox.timers.take(EXPIRE, subscription["id"])
    call.store.hide(subscription, resumption=None)


def paid(call: Call, subscription: Obj, kept: Obj) -> bool:
    """The latest invoice is settled or forgiven: if it was the resumption's, the subscription goes on."""
    if _waits_for(call, subscription, subscription["latest_invoice"]) is None:
        return False
    _go_on(call, subscription, kept, "active")
    return True


def failed(call: Call, subscription: Obj, invoice: Obj) -> None:
    """An attempt to pay has failed; ``resume_on_payment_attempt`` resumes all the same, in debt."""
    waits = _waits_for(call, subscription, invoice["id"])
    if waits is not None and waits["attempt"]:
        _go_on(call, subscription, {}, "past_due")


def _go_on(call: Call, subscription: Obj, kept: Obj, status: str) -> None:
    before = {name: subscription[name] for name in ("status", "status_details")}
    given_up(call, subscription)
    life.resumed(call, subscription, {**before, **kept}, status)


def expire(call: Call, ident: str) -> None:
    """Timer: nobody has tried to pay for 23 hours."""
    subscription = life.living(call, ident)
    waits = None if subscription is None else call.store.hidden(subscription).get("resumption")
    if waits is not None:
        invoice = call.find("invoice", waits["invoice"])
        if invoice["status"] == "open":
            invoice_finalisation.void(call, invoice)


ACTIONS: Final = {EXPIRE: expire}
