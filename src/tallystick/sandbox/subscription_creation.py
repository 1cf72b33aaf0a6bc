"""A new subscription: its items, its trial, its first bill.

Sequence, as Stripe emits it: customer.subscription.created, invoice.created, invoice.finalized, the
charge's events, invoice.paid, invoice.payment_succeeded, customer.subscription.updated (incomplete to
active).
"""

from __future__ import annotations

from typing import Any

from tallystick.sandbox import periods
from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_changes as changes
from tallystick.sandbox import subscription_item_changes as item_changes
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_shape as shape
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_lines import Line, first_part, in_advance, trial


def create(call: Call) -> Obj:
    """POST /v1/subscriptions; the first invoice is part of it."""
    if call.ids:
        call.params["customer"] = call.ids[0]
    customer = call.find("customer", call.params["customer"], param="customer")
    return make(call.living_in(customer["test_clock"]), customer)


def make(call: Call, customer: Obj) -> Obj:
    """A new subscription from the call's parameters, billed and timed."""
    params = call.params
    wanted = params.get("items") or []
    if not wanted:
        raise invalid("Missing required param: items.", param="items", code="parameter_missing")
    if params.get("payment_behavior") == "pending_if_incomplete":
        raise invalid(
            "The `pending_if_incomplete` payment behavior is only used with updates and cannot be passed when"
            " creating a Subscription.",
            param="payment_behavior",
        )
    prices = [_price(call, sent, index) for index, sent in enumerate(wanted)]
    subscription = _new(call, customer, prices)
    call.store.put(subscription, {})
    for sent, price in zip(wanted, prices, strict=True):
        items.new(call, subscription, sent, price, _period(subscription, price, call.now))
    items.check(call, subscription)
    _discount(call, subscription, wanted)
    items.show(call, subscription)
    call.store.change(subscription, **terms.ending(call, subscription))
    changes.add_once(call, subscription)
    _begin(call, subscription)
    life.wind(call, subscription)
    return subscription


def _price(call: Call, sent: dict[str, Any], index: int) -> Obj:
    price = items.price_of(call, sent, f"items[{index}]")
    if price is None:
        raise invalid(
            "You must pass either `price` or `price_data` for each item.",
            param=f"items[{index}][price]",
            code="parameter_missing",
        )
    return price


def _new(call: Call, customer: Obj, prices: list[Obj]) -> Obj:
    params = call.params
    trial_end = terms.trial_end(call, prices)
    start = params.get("backdate_start_date", call.now)
    if start > call.now:
        raise invalid("backdate_start_date must be in the past.", param="backdate_start_date")
    ident = call.sandbox.ids.new("sub")
    subscription = {
        **shape.BLANK,
        "id": ident,
        "billing_cycle_anchor": terms.anchor(call, prices, trial_end),
        "billing_mode": terms.billing_mode(call),
        "created": call.now,
        "currency": params.get("currency") or customer["currency"] or prices[0]["currency"],
        "customer": customer["id"],
        "start_date": start,
        "test_clock": customer["test_clock"],
        "trial_end": trial_end,
        "trial_start": None if trial_end is None else call.now,
    }
    if "currency" not in params and prices[0]["currency"] != subscription["currency"]:
        sold_in = call.store.hidden(prices[0]).get("currency_options", {})
        if subscription["currency"] not in sold_in:
            raise refused(
                "You cannot combine currencies on a single customer. This customer has had a subscription,"
                f" coupon, or invoice item with currency {subscription['currency']}.",
                param="items",
            )
    if "billing_cycle_anchor_config" in params:
        names = ("day_of_month", "hour", "minute", "month", "second")
        sent = params["billing_cycle_anchor_config"]
        subscription["billing_cycle_anchor_config"] = {name: sent.get(name) for name in names}
    subscription.update(terms.simple(call, subscription, customer))
    return subscription


def _period(subscription: Obj, price: Obj, now: int) -> tuple[int, int]:
    """The first period of an item: the trial, or from now to the end of the cycle that now lies in."""
    if subscription["trial_end"] is not None:
        return now, subscription["trial_end"]
    _, end = periods.containing(subscription["billing_cycle_anchor"], *items.interval(price), now)
    return now, end


def _discount(call: Call, subscription: Obj, wanted: list[dict[str, Any]]) -> None:
    """Give the discounts that the parameters name, to the subscription and to its items."""
    sent = terms.discount_params(call.params)
    if sent:
        given = terms.give_discounts(call, subscription, sent)
        call.store.change(subscription, discounts=given)
    for item, asked in zip(items.of(call, subscription), wanted, strict=True):
        if asked.get("discounts"):
            item_changes.discount_item(call, subscription, item, asked["discounts"])


def _lines(call: Call, subscription: Obj) -> list[Line]:
    """What the first invoice bills."""
    none = call.params.get("proration_behavior") == "none"
    lines: list[Line] = []
    for item in items.of(call, subscription):
        period = item["current_period_start"], item["current_period_end"]
        if subscription["trial_end"] is not None:
            lines.append(trial(call, item, period))
        elif items.metered(item):
            lines += in_advance(call, item, subscription["currency"], period)
        else:
            whole = periods.containing(
                subscription["billing_cycle_anchor"], *items.interval(item["price"]), period[0]
            )
            lines += item_changes.backdated(call, subscription, item)
            if whole[0] == period[0] or not none:
                lines += first_part(call, item, subscription["currency"], whole, period[0])
    return lines


def _begin(call: Call, subscription: Obj) -> None:
    """Say that it is there, and bill the first period."""
    lines = _lines(call, subscription)
    behavior = call.params.get("payment_behavior", "allow_incomplete")
    due = billing.due(call, subscription, lines)
    automatic = subscription["collection_method"] == "charge_automatically"
    status = "incomplete" if automatic and due > 0 else "active"
    if subscription["trial_end"] is not None:
        status = "trialing" if status == "active" else status
    call.store.change(subscription, status=status)
    if status == "incomplete" and behavior != "default_incomplete":
        billing.need_method(call, subscription)
    if status != "incomplete" and automatic and behavior == "default_incomplete":
        billing.ask_for_method(call, subscription)
    ident = billing.announced_id(call, subscription) if lines else None
    call.emit("customer.subscription.created", subscription)
    if ident is not None:
        invoice = billing.make(call, subscription, lines, "subscription_create", ident=ident)
        billing.collect(call, subscription, invoice, behavior)
