"""A subscription's update: items, anchor, trial, pause of collection; with proration.

Stripe's rules (docs "Prorations", "Change the billing period"): a changed price or quantity credits what is
unused of what was billed and debits what remains of the period, as pending invoice items
(``create_prorations``) or on an invoice at once (``always_invoice``), or not at all (``none``). A new billing
interval, ``billing_cycle_anchor=now`` and the end of a trial begin a new period and are billed at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tallystick.sandbox import periods
from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_lines as lines
from tallystick.sandbox import subscription_pending as updates
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.item_amounts import share
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_lines import Line
from tallystick.sandbox.subscription_shape import ENDED


@dataclass(slots=True)
class Plan:
    """What an update is about to bill."""

    moment: int
    """From when on: ``proration_date``, or now."""
    restart: bool = False
    """A new period begins at ``moment`` for all items."""
    at_once: bool = False
    prorate: bool = True
    credits: list[Line] = field(default_factory=list)
    touched: list[Obj] = field(default_factory=list)
    """Licensed items of which the rest of the period is to be billed anew."""
    regular: list[Line] = field(default_factory=list)
    billed: dict[str, Obj | None] = field(default_factory=dict)
    """By item, what had been billed of it before."""


def update(call: Call, subscription: Obj) -> Obj:
    """Apply the call's parameters; raises StripeError when they do not fit the subscription."""
    if subscription["status"] in ENDED:
        _update_ended(call, subscription)
        return subscription
    params = call.params
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


def discount_item(call: Call, subscription: Obj, item: Obj, sent: list[dict[str, Any]] | None) -> None:
    """Give an item the discounts that were sent for it."""
    holder = {**subscription, "discounts": item["discounts"]}
    given = terms.give_discounts(call, holder, sent or [])
    for ident in given:
        discount = call.find("discount", ident)
        call.store.change(discount, subscription_item=item["id"])
    call.store.change(item, discounts=given)


# Items


def change_items(call: Call, subscription: Obj, sent: list[dict[str, Any]], plan: Plan) -> None:
    """Change, add and delete items as sent; what that bills goes into ``plan``."""
    for index, wanted in enumerate(sent):
        name = f"items[{index}]"
        if "id" not in wanted:
            _add(call, subscription, wanted, name, plan)
            continue
        item = call.store.get(items.KIND, wanted["id"])
        if item is None or item["subscription"] != subscription["id"]:
            raise missing("subscription item", wanted["id"], f"{name}[id]")
        if wanted.get("deleted"):
            delete_item(call, subscription, item, plan, clear_usage=wanted.get("clear_usage", False))
        else:
            change_item(call, subscription, item, {**wanted, "name": name}, plan)
    if not items.of(call, subscription):
        raise refused("A subscription must have at least one active plan.", param="items")
    items.check(call, subscription)


def _add(call: Call, subscription: Obj, wanted: dict[str, Any], name: str, plan: Plan) -> Obj:
    price = items.price_of(call, wanted, name)
    if price is None:
        raise invalid(
            "You must pass either `id`, `price` or `price_data` for each item.",
            param=f"{name}[price]",
            code="parameter_missing",
        )
    period = _period(subscription, price, plan.moment)
    held = [
        item
        for item in items.of(call, subscription)
        if items.interval(item["price"]) == items.interval(price)
    ]
    renews = bool(held) and all(item["current_period_end"] <= plan.moment for item in held)
    if renews:  # at the very instant of a renewal, which will bill it with the others
        period = plan.moment, plan.moment
    item = items.new(call, subscription, wanted, price, period)
    if wanted.get("discounts"):
        discount_item(call, subscription, item, wanted["discounts"])
    if not items.metered(item) and not renews and not _trialing(subscription, plan.moment):
        plan.touched.append(item)
    return item


def _trialing(subscription: Obj, moment: int) -> bool:
    return subscription["trial_end"] is not None and subscription["trial_end"] > moment


def _period(subscription: Obj, price: Obj, moment: int) -> tuple[int, int]:
    """The period of the subscription's cycle that ``moment`` lies in, for a price's interval."""
    if _trialing(subscription, moment):
        return moment, subscription["trial_end"]
    return periods.containing(subscription["billing_cycle_anchor"], *items.interval(price), moment)


def delete_item(call: Call, subscription: Obj, item: Obj, plan: Plan, *, clear_usage: bool) -> None:
    """Take an item away, crediting what is unused; usage is billed unless it is cleared."""
    if items.metered(item) and not clear_usage and not _trialing(subscription, plan.moment):
        plan.regular += lines.by_usage(call, item, subscription, (item["current_period_start"], plan.moment))
    _credit(call, item, plan)
    if item in plan.touched:
        plan.touched.remove(item)
    call.store.remove(item)


def change_item(call: Call, subscription: Obj, item: Obj, wanted: dict[str, Any], plan: Plan) -> None:
    """Change an item's price, quantity, discounts, tax rates, metadata; ``name`` is how errors call it."""
    values: Obj = {}
    name = wanted.get("name", "items")
    if "metadata" in wanted:
        values["metadata"] = merged_metadata(item["metadata"], wanted["metadata"])
    if "tax_rates" in wanted:
        values["tax_rates"] = items.tax_rates(call, wanted["tax_rates"], f"{name}[tax_rates]")
    price = items.price_of(call, wanted, name) or item["price"]
    quantity: Any = wanted.get("quantity", item.get("quantity", 1))
    old = items.interval(item["price"])
    if price["id"] != item["price"]["id"] or quantity != item.get("quantity", quantity):
        _credit(call, item, plan)
        _reprice(call, item, price, quantity)
        _rebill(call, subscription, item, old, plan)
    call.store.change(item, **values)
    if "discounts" in wanted:
        discount_item(call, subscription, item, wanted["discounts"])


def _reprice(call: Call, item: Obj, price: Obj, quantity: int) -> None:
    was_metered = items.metered(item)
    call.store.change(item, price=dict(price))
    if not items.metered(item):
        call.store.change(item, quantity=quantity)
    elif not was_metered:
        call.store.drop(item, "quantity")


def _rebill(call: Call, subscription: Obj, item: Obj, old: tuple[str, int], plan: Plan) -> None:
    """Plan the bill for the rest of the period of an item whose price or quantity has changed."""
    if _trialing(subscription, plan.moment):
        return
    if old != items.interval(item["price"]):
        plan.at_once = True
        if subscription["billing_mode"]["type"] == "classic":
            plan.restart = True
        start, end = _period(subscription, item["price"], plan.moment)
        call.store.change(item, current_period_start=start, current_period_end=end)
    if not items.metered(item) and item not in plan.touched:
        plan.touched.append(item)


def _credit(call: Call, item: Obj, plan: Plan) -> None:
    """Credit what was billed of an item and is unused; it then counts as billed no more."""
    billed = call.store.hidden(item).get("billed")
    if billed is None or billed["end"] <= plan.moment or not plan.prorate:
        return
    line = lines.credit(call, item, billed, plan.moment)
    if line is not None:
        plan.credits.append(line)
    call.store.hide(item, billed=None)


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
            _credit(call, item, plan)


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
        if _trialing(subscription, call.now):
            restart(call, subscription, plan)
            call.store.change(subscription, trial_end=call.now)
        return
    restart(call, subscription, plan)
    plan.at_once = False
    start = subscription["trial_start"] if subscription["status"] == "trialing" else call.now
    call.store.change(subscription, trial_end=moment, trial_start=start, status="trialing")


def _begin_period(call: Call, subscription: Obj, plan: Plan) -> None:
    """The new period of a restart: until the trial ends, or a whole cycle from a new anchor."""
    if _trialing(subscription, plan.moment):
        call.store.change(subscription, billing_cycle_anchor=subscription["trial_end"])
    else:
        call.store.change(subscription, billing_cycle_anchor=plan.moment)
    for item in items.of(call, subscription):
        start, end = _period(subscription, item["price"], plan.moment)
        call.store.change(item, current_period_start=start, current_period_end=end)
        if _trialing(subscription, plan.moment):
            plan.regular.append(lines.trial(call, item, (start, end)))
        elif not items.metered(item):
            plan.regular += lines.in_advance(call, item, subscription["currency"], (start, end))


# What comes of it


def settle(call: Call, subscription: Obj, plan: Plan, before: Obj, behavior: str) -> None:
    """Bill what has been planned, say what has changed, set the timers anew."""
    ends_trial = before["status"] == "trialing" and not _trialing(subscription, call.now)
    if ends_trial and life.without_method(call, subscription):
        items.show(call, subscription)
        life.wind(call, subscription)
        return
    if plan.restart:
        _begin_period(call, subscription, plan)
    debits = [] if plan.restart or not plan.prorate else _debits(call, subscription, plan)
    items.show(call, subscription)
    if ends_trial:
        call.store.change(subscription, status="active")
    pending = plan.credits + debits
    at_once = plan.at_once and (pending or plan.regular)
    for line in pending:
        billing.pend(call, subscription, line)
    if at_once and behavior == "pending_if_incomplete":
        _try(call, subscription, plan, before)
    else:
        _say(call, subscription, before)
        if at_once or plan.regular:
            billing.bill_update(call, subscription, plan.regular, behavior)
    life.wind(call, subscription)


def _try(call: Call, subscription: Obj, plan: Plan, before: Obj) -> None:
    """Bill a change that takes effect only when it is paid."""
    call.store.hide(subscription, trying=True)
    invoice = billing.bill_update(call, subscription, plan.regular, "allow_incomplete")
    call.store.hide(subscription, trying=False)
    if invoice["status"] == "paid" or subscription["collection_method"] == "send_invoice":
        _say(call, subscription, before)
    else:
        updates.put_off(call, subscription, before, plan.billed, invoice)


def _debits(call: Call, subscription: Obj, plan: Plan) -> list[Line]:
    """What remains of the period of the items that have changed, net of discounts."""
    if _trialing(subscription, plan.moment):
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


def _say(call: Call, subscription: Obj, before: Obj) -> None:
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
        billing.pend_once(call, subscription, sent, f"add_invoice_items[{index}]")


def backdated(call: Call, subscription: Obj, item: Obj) -> list[Line]:
    """The line of a new item for the time from ``backdate_start_date`` to its first period."""
    start, end = subscription["start_date"], item["current_period_start"]
    if start >= end or items.metered(item):
        return []
    price, anchor = item["price"], subscription["billing_cycle_anchor"]
    whole, amount, moment = lines.cost(call, item, subscription["currency"]), 0, start
    while moment < end:
        cycle = periods.containing(anchor, *items.interval(price), moment)
        stop = min(cycle[1], end)
        amount += share(whole, *cycle, moment) - share(whole, *cycle, stop)
        moment = stop
    line = lines.remaining(call, item, amount, (start, end), start)
    return [] if line is None else [line]


def resume(call: Call, subscription: Obj) -> Obj:
    """Out of ``paused``: a new period from now on, or the old one again; active once that is paid."""
    before = dict(subscription)
    behavior = call.params.get("proration_behavior", "create_prorations")
    plan = Plan(call.params.get("proration_date", call.now), prorate=behavior != "none")
    if call.params.get("billing_cycle_anchor", "now") == "now":
        plan.restart = plan.at_once = True
        _begin_period(call, subscription, plan)
    else:
        for item in items.of(call, subscription):
            start, end = _period(subscription, item["price"], plan.moment)
            call.store.change(item, current_period_start=start, current_period_end=end)
            if not items.metered(item):
                plan.touched.append(item)
        if plan.prorate:
            for line in _debits(call, subscription, plan):
                billing.pend(call, subscription, line)
    items.show(call, subscription)
    if plan.regular:
        invoice = billing.bill_update(call, subscription, plan.regular, "allow_incomplete")
        if invoice["status"] != "paid":
            _say(call, subscription, before)
            return subscription
    life.resumed(call, subscription, before)
    return subscription
