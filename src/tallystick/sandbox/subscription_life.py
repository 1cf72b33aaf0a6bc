"""What time and payments bring to a subscription: renewal, trial end, expiry, dunning, cancellation.

Timers fire in the time in which the subscription lives, a test clock's or the sandbox's own. Sources: the
docs "How subscriptions work" (statuses, 23 hours for the first payment), "Trials" (trial_will_end three days
ahead), "Smart retries" (what follows the last failed payment is a setting).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tallystick.sandbox import periods, subscription_discounts
from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_invoices as invoices
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_lines as lines
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox import subscription_waiting as waiting
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_shape import ENDED

CYCLE: Final = "subscription_cycle"
TRIAL_WILL_END: Final = "subscription_trial_will_end"
UPCOMING: Final = "subscription_upcoming"
EXPIRE: Final = "subscription_expire"
CANCEL: Final = "subscription_cancel_at"
RESUME: Final = "subscription_resume_collection"
_NAMES: Final = (CYCLE, TRIAL_WILL_END, UPCOMING, CANCEL, RESUME)

_FIRST_PAYMENT: Final = 23 * 3_600
_BEFORE_TRIAL_END: Final = 3 * terms.DAY
RENEWING: Final = ("active", "trialing", "past_due", "unpaid")
BEFORE_RENEWAL: Final[list[Callable[[Call, Obj], None]]] = []
"""What changes a subscription at the instant of its renewal, before it is billed: a schedule's next phase."""


def wind(call: Call, subscription: Obj) -> None:
    """Set the subscription's timers anew, as its state wants them."""
    ident, timers = subscription["id"], call.sandbox.timers
    for name in _NAMES:
        timers.take(name, ident)
    if subscription["status"] == "incomplete":
        if not timers.has(EXPIRE, ident):
            call.after(_FIRST_PAYMENT, EXPIRE, ident)
        return
    timers.take(EXPIRE, ident)
    if subscription["status"] not in RENEWING:
        return
    due = min(item["current_period_end"] for item in items.of(call, subscription))
    call.at(due, CYCLE, ident)
    told = call.store.hidden(subscription)
    if subscription["status"] == "trialing" and told.get("trial_told") != subscription["trial_end"]:
        call.at(max(call.now, subscription["trial_end"] - _BEFORE_TRIAL_END), TRIAL_WILL_END, ident)
    if told.get("upcoming_told") != due and not subscription["cancel_at_period_end"]:
        ahead = due - int(call.sandbox.settings.upcoming_invoice_days * terms.DAY)
        if ahead > call.now:
            call.at(ahead, UPCOMING, ident)
    if subscription["cancel_at"] is not None:
        call.at(subscription["cancel_at"], CANCEL, ident)
    paused = subscription["pause_collection"]
    if paused is not None and paused["resumes_at"] is not None:
        call.at(paused["resumes_at"], RESUME, ident)


def living(call: Call, ident: str) -> Obj | None:
    subscription = call.store.get("subscription", ident)
    return subscription if subscription is not None and subscription["status"] not in ENDED else None


# Renewal


def cycle(call: Call, ident: str) -> None:
    """Timer: a period is over."""
    subscription = living(call, ident)
    if subscription is None or subscription["status"] not in RENEWING:
        return
    for prepare in BEFORE_RENEWAL:
        prepare(call, subscription)
    if subscription["status"] in ENDED:
        return
    moment = min(item["current_period_end"] for item in items.of(call, subscription))
    if moment > call.now + 1:  # a phase has begun a new period; a real clock may ring a moment early
        wind(call, subscription)
        return
    ends = subscription["cancel_at"]
    if ends is not None and ends <= moment:
        _end_at(call, subscription)
        return
    trial_over = subscription["status"] == "trialing" and subscription["trial_end"] <= moment
    if trial_over and without_method(call, subscription):
        wind(call, subscription)
        return
    before = dict(subscription)
    billed = renewal(call, subscription, moment)
    subscription_discounts.drop_ended(call, subscription)
    items.show(call, subscription)
    if trial_over:
        call.store.change(subscription, status="active")
    invoice = billing.announced_id(call, subscription) if billed else None
    _say(call, subscription, before)
    if invoice is not None:
        billing.bill_cycle(call, subscription, billed, invoice)
    wind(call, subscription)


def renewal(call: Call, subscription: Obj, moment: int) -> list[lines.Line]:
    """Move the items whose period is over into their next one; returns what that bills."""
    billed: list[lines.Line] = []
    ends = subscription["cancel_at"]
    for item in items.of(call, subscription):
        start, stop = item["current_period_start"], item["current_period_end"]
        if stop > moment:
            continue
        anchor = subscription["billing_cycle_anchor"]
        period = periods.containing(anchor, *items.interval(item["price"]), stop)
        if items.metered(item):
            if subscription["status"] != "trialing":
                billed += lines.by_usage(call, item, subscription, (start, stop))
        elif ends is not None and ends < period[1]:
            billed.append(lines.until(call, item, subscription["currency"], (stop, period[1]), ends))
        elif period[0] < stop:
            billed += lines.first_part(call, item, subscription["currency"], period, stop)
        else:
            billed += lines.in_advance(call, item, subscription["currency"], period)
        call.store.change(item, current_period_start=stop, current_period_end=period[1])
    return billed


def _say(call: Call, subscription: Obj, before: Obj) -> None:
    previous = _changed(subscription, before)
    if previous:
        call.emit("customer.subscription.updated", subscription, previous)


def _changed(subscription: Obj, before: Obj) -> Obj:
    return {name: value for name, value in before.items() if subscription.get(name) != value}


# Trials


def trial_will_end(call: Call, ident: str) -> None:
    """Timer: three days before a trial ends, or at once when it is shorter."""
    subscription = living(call, ident)
    if subscription is not None and subscription["status"] == "trialing":
        call.store.hide(subscription, trial_told=subscription["trial_end"])
        call.emit("customer.subscription.trial_will_end", subscription)


def without_method(call: Call, subscription: Obj) -> bool:
    """At a trial's end without a payment method: cancel or pause as ``trial_settings`` say; else False."""
    wanted = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    automatic = subscription["collection_method"] == "charge_automatically"
    if wanted == "create_invoice" or not automatic or terms.paying_method(call, subscription):
        return False
    if wanted == "cancel":
        end(call, subscription, subscription["cancellation_details"])
        return True
    paused(call, subscription, "trial_end_without_payment_method", dict(subscription))
    return True


def paused(call: Call, subscription: Obj, reason: str, before: Obj) -> None:
    """Neither service nor invoices from now on, for a reason as ``status_details`` names it."""
    details = {"subscription": {"type": reason}, "transitioned_at": call.now, "type": "subscription"}
    call.store.change(subscription, status="paused", status_details={"paused": details})
    call.emit("customer.subscription.paused", subscription, _changed(subscription, before))
    wind(call, subscription)


def resumed(call: Call, subscription: Obj, before: Obj, status: str = "active") -> None:
    """A paused subscription goes on."""
    call.store.change(subscription, status=status, status_details=None)
    call.emit("customer.subscription.resumed", subscription, _changed(subscription, before))
    wind(call, subscription)


def resume_collection(call: Call, ident: str) -> None:
    """Timer: ``pause_collection[resumes_at]`` has come."""
    subscription = living(call, ident)
    if subscription is not None and subscription["pause_collection"] is not None:
        previous = call.store.change(subscription, pause_collection=None)
        call.emit("customer.subscription.updated", subscription, previous)
        wind(call, subscription)


# The end


def expire(call: Call, ident: str) -> None:
    """Timer: 23 hours have gone by without the first payment."""
    subscription = living(call, ident)
    if subscription is not None and subscription["status"] == "incomplete":
        expired(call, subscription)
        invoices.void_open(call, subscription)


def expired(call: Call, subscription: Obj) -> None:
    previous = call.store.change(subscription, status="incomplete_expired", ended_at=call.now)
    call.emit("customer.subscription.updated", subscription, previous)
    wind(call, subscription)


def cancel_at(call: Call, ident: str) -> None:
    """Timer: ``cancel_at`` has come."""
    subscription = living(call, ident)
    if subscription is not None and subscription["cancel_at"] is not None:
        _end_at(call, subscription)


def _end_at(call: Call, subscription: Obj) -> None:
    """The announced end: what was used is billed, and what was billed and is unused is credited."""
    end(call, subscription, subscription["cancellation_details"], prorate=True, invoice_now=True)


def end(
    call: Call, subscription: Obj, details: Obj, *, prorate: bool = False, invoice_now: bool = False
) -> None:
    """Cancel now; an incomplete subscription expires instead, and its invoice is void."""
    if subscription["status"] == "incomplete":
        call.store.change(subscription, cancellation_details=details, canceled_at=call.now)
        expired(call, subscription)
        invoices.void_open(call, subscription)
        return
    final: list[lines.Line] = []
    for item in items.of(call, subscription):
        start, stop = item["current_period_start"], min(call.now, item["current_period_end"])
        billed = call.store.hidden(item).get("billed")
        if items.metered(item):
            if invoice_now and start < stop and subscription["status"] != "trialing":
                final += lines.by_usage(call, item, subscription, (start, stop))
        elif prorate and billed is not None:
            line = lines.credit(call, item, billed, call.now)
            if line is not None:
                waiting.pend(call, subscription, line)
    call.store.change(
        subscription,
        status="canceled",
        canceled_at=subscription["canceled_at"] or call.now,
        ended_at=call.now,
        cancellation_details=details,
        status_details=None,
    )
    wind(call, subscription)
    invoices.stop_collecting(call, subscription)
    if invoice_now:
        billing.bill_final(call, subscription, final)
    call.emit("customer.subscription.deleted", subscription)


# Payments


ACTIONS: Final = {
    CYCLE: cycle,
    TRIAL_WILL_END: trial_will_end,
    EXPIRE: expire,
    CANCEL: cancel_at,
    RESUME: resume_collection,
}
