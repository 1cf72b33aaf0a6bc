"""Subscriptions: create, retrieve, list, search, cancel, resume, delete a discount.

A change is in ``subscription_changes``, what time brings in ``subscription_life``, bills in
``subscription_billing``. Sequence of a creation, as Stripe emits it: customer.subscription.created,
invoice.created, invoice.finalized, the charge's events, invoice.paid, invoice.payment_succeeded,
customer.subscription.updated (incomplete to active).
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import periods, search
from tallystick.sandbox import subscription_billing as billing
from tallystick.sandbox import subscription_changes as changes
from tallystick.sandbox import subscription_item_changes as item_changes
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_lists as lists
from tallystick.sandbox import subscription_shape as shape
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.expand import EXPANDABLE, INCLUDABLE
from tallystick.sandbox.params import Params
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.subscription_lines import Line, first_part, in_advance, trial

TABLES: Final = [TableSpec("subscription", "subscription", indexes=("customer",))]

_URL: Final = "/v1/subscriptions"


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


def find(call: Call) -> Obj:
    """The subscription in the path; below ``/v1/customers/{id}`` it must be that customer's."""
    subscription = call.find("subscription", call.ids[-1], param="id")
    if len(call.ids) == 2 and subscription["customer"] != call.ids[0]:
        raise missing("subscription", call.ids[1], "id")
    return subscription


def retrieve(call: Call) -> Obj:
    """GET /v1/subscriptions/{id}."""
    return find(call)


def update(call: Call) -> Obj:
    """POST /v1/subscriptions/{id}."""
    subscription = find(call)
    return changes.update(call.living_in(subscription["test_clock"]), subscription)


def cancel(call: Call) -> Obj:
    """DELETE /v1/subscriptions/{id}: ``prorate`` credits what is unused, ``invoice_now`` bills the rest."""
    subscription = find(call)
    if subscription["status"] in shape.ENDED:
        raise missing("subscription", subscription["id"], "id")
    call = call.living_in(subscription["test_clock"])
    params = call.params
    details = {
        **subscription["cancellation_details"],
        "reason": "cancellation_requested",
        **params.get("cancellation_details", {}),
    }
    life.end(
        call,
        subscription,
        details,
        prorate=params.get("prorate", False),
        invoice_now=params.get("invoice_now", False),
    )
    return subscription


def resume(call: Call) -> Obj:
    """POST /v1/subscriptions/{id}/resume: out of ``paused``, once its invoice is paid."""
    subscription = find(call)
    if subscription["status"] != "paused":
        raise refused(
            "You can only resume subscriptions that are paused. This subscription has a status of"
            f" {subscription['status']}."
        )
    return changes.resume(call.living_in(subscription["test_clock"]), subscription)


def migrate(call: Call) -> Obj:
    """POST /v1/subscriptions/{id}/migrate: from classic to flexible billing; there is no way back."""
    subscription = find(call)
    if subscription["billing_mode"]["type"] == "flexible":
        raise refused("This subscription is in flexible billing mode already.", param="billing_mode")
    call = call.living_in(subscription["test_clock"])
    mode = terms.billing_mode(call)
    if mode["type"] != "flexible":
        raise invalid("A subscription can be migrated to flexible only.", param="billing_mode[type]")
    previous = call.store.change(subscription, billing_mode=mode)
    call.emit("customer.subscription.updated", subscription, previous)
    return subscription


def delete_discount(call: Call) -> Obj:
    """DELETE /v1/subscriptions/{id}/discount: all of its discounts."""
    subscription = find(call)
    held = subscription["discounts"]
    if not held:
        raise missing("active discount for subscription", subscription["id"], "id")
    call = call.living_in(subscription["test_clock"])
    previous = call.store.change(subscription, discounts=[])
    for ident in held:
        call.emit("customer.discount.deleted", call.find("discount", ident))
    call.emit("customer.subscription.updated", subscription, previous)
    return {**call.find("discount", held[-1]), "deleted": True}


_NAMES: Final = (
    "customer default_payment_method discounts latest_invoice pending_setup_intent schedule test_clock"
    " application default_source on_behalf_of"
)
EXPANDABLE["subscription"] = frozenset(_NAMES.split())
EXPANDABLE["subscription_item"] = frozenset(("discounts",))
EXPANDABLE["subscription_schedule"] = frozenset(("customer", "subscription", "test_clock", "application"))
INCLUDABLE["customer"]["subscriptions"] = lambda sandbox, customer: {
    "object": "list",
    "data": [
        subscription
        for subscription in sandbox.store.tables["subscription"].having("customer", customer["id"])[::-1]
        if subscription["status"] not in shape.ENDED
    ],
    "has_more": False,
    "total_count": sum(
        subscription["status"] not in shape.ENDED
        for subscription in sandbox.store.tables["subscription"].having("customer", customer["id"])
    ),
    "url": f"/v1/customers/{customer['id']}/subscriptions",
}

_OF_CUSTOMER: Final = "/v1/customers/{}/subscriptions"

ROUTES: Final = [
    Route("POST", _URL, create, shape.CREATE),
    Route("GET", _URL, lists.list_all, shape.LIST),
    Route("GET", f"{_URL}/search", lists.search_all, search.PARAMS),
    Route("GET", f"{_URL}/{{}}", retrieve),
    Route("POST", f"{_URL}/{{}}", update, shape.UPDATE),
    Route("DELETE", f"{_URL}/{{}}", cancel, shape.CANCEL),
    Route("POST", f"{_URL}/{{}}/resume", resume, shape.RESUME),
    Route("DELETE", f"{_URL}/{{}}/discount", delete_discount),
    Route(
        "POST",
        f"{_URL}/{{}}/migrate",
        migrate,
        Params({"billing_mode": shape.BILLING_MODE}, required=("billing_mode",)),
    ),
    Route("POST", _OF_CUSTOMER, create, Params({**shape.CREATE.fields})),
    Route("GET", _OF_CUSTOMER, lists.list_all, shape.LIST),
    Route("GET", f"{_OF_CUSTOMER}/{{}}", retrieve),
    Route("POST", f"{_OF_CUSTOMER}/{{}}", update, shape.UPDATE),
    Route("DELETE", f"{_OF_CUSTOMER}/{{}}", cancel, shape.CANCEL),
    Route("DELETE", f"{_OF_CUSTOMER}/{{}}/discount", delete_discount),
]
