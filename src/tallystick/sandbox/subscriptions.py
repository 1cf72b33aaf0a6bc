"""Subscriptions: retrieve, list, search, cancel, resume, delete a discount.

A new one is in ``subscription_creation``, a change in ``subscription_changes``, what time brings in
``subscription_life``, bills in ``subscription_billing``.
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import search
from tallystick.sandbox import subscription_changes as changes
from tallystick.sandbox import subscription_creation as creation
from tallystick.sandbox import subscription_life as life
from tallystick.sandbox import subscription_lists as lists
from tallystick.sandbox import subscription_pauses as pauses
from tallystick.sandbox import subscription_shape as shape
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.expansions import EXPANDABLE, INCLUDABLE
from tallystick.sandbox.lists import embedded
from tallystick.sandbox.params import Params
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call, Sandbox
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("subscription", "subscription", indexes=("customer",))]

_URL: Final = "/v1/subscriptions"


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


def pause(call: Call) -> Obj:
    """POST /v1/subscriptions/{id}/pause: neither service nor invoices until it is resumed."""
    subscription = find(call)
    return pauses.pause(call.living_in(subscription["test_clock"]), subscription)


def resume(call: Call) -> Obj:
    """POST /v1/subscriptions/{id}/resume: out of ``paused``, once its invoice is paid."""
    subscription = find(call)
    return pauses.resume(call.living_in(subscription["test_clock"]), subscription)


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


def _included(sandbox: Sandbox, customer: Obj) -> Obj:
    found = sandbox.store.tables["subscription"].having("customer", customer["id"])[::-1]
    going = [subscription for subscription in found if subscription["status"] not in shape.ENDED]
    return embedded(going, f"/v1/customers/{customer['id']}/subscriptions")


INCLUDABLE["customer"]["subscriptions"] = _included

_OF_CUSTOMER: Final = "/v1/customers/{}/subscriptions"

ROUTES: Final = [
    Route("POST", _URL, creation.create, shape.CREATE),
    Route("GET", _URL, lists.list_all, shape.LIST),
    Route("GET", f"{_URL}/search", lists.search_all, search.PARAMS),
    Route("GET", f"{_URL}/{{}}", retrieve),
    Route("POST", f"{_URL}/{{}}", update, shape.UPDATE),
    Route("DELETE", f"{_URL}/{{}}", cancel, shape.CANCEL),
    Route("POST", f"{_URL}/{{}}/pause", pause, shape.PAUSE),
    Route("POST", f"{_URL}/{{}}/resume", resume, shape.RESUME),
    Route("DELETE", f"{_URL}/{{}}/discount", delete_discount),
    Route(
        "POST",
        f"{_URL}/{{}}/migrate",
        migrate,
        Params({"billing_mode": shape.BILLING_MODE}, required=("billing_mode",)),
    ),
    Route("POST", _OF_CUSTOMER, creation.create, Params({**shape.CREATE.fields})),
    Route("GET", _OF_CUSTOMER, lists.list_all, shape.LIST),
    Route("GET", f"{_OF_CUSTOMER}/{{}}", retrieve),
    Route("POST", f"{_OF_CUSTOMER}/{{}}", update, shape.UPDATE),
    Route("DELETE", f"{_OF_CUSTOMER}/{{}}", cancel, shape.CANCEL),
    Route("DELETE", f"{_OF_CUSTOMER}/{{}}/discount", delete_discount),
]
