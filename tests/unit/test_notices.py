"""What the merchant's own systems are told of payouts, invoices and subscriptions: pure rules."""

from __future__ import annotations

from typing import Any

import pytest

from tallystick.errors import PayloadError
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event
from tallystick.outbox.notices import NOTICES, Notice, at_utc, matches

Json = dict[str, Any]

PAYOUT: Json = {
    "id": "po_1", "object": "payout", "amount": 5000, "currency": "eur", "status": "paid", "automatic": True,
    "arrival_date": 1_700_006_400, "metadata": {},
}  # fmt: skip
INVOICE: Json = {
    "id": "in_1", "object": "invoice", "currency": "usd", "total": 1900, "amount_due": 1900, "amount_paid": 0,
    "customer": {"id": "cus_1", "object": "customer"}, "attempt_count": 1, "status": "open",
    "number": "A-1", "next_payment_attempt": 1_700_006_400, "metadata": {"order": "1"},
}  # fmt: skip
SUBSCRIPTION: Json = {
    "id": "sub_1", "object": "subscription", "status": "trialing", "customer": "cus_1", "currency": "usd",
    "items": {"data": [{"price": {"id": "price_1"}, "quantity": 2}]}, "trial_end": 1_700_006_400,
    "metadata": {},
}  # fmt: skip


def read(event_type: str, obj: Json, event_id: str = "evt_1") -> Effects:
    event = {"id": event_id, "type": event_type, "created": 1_700_000_000, "data": {"object": obj}}
    return EVENTS[event_type].rule(Event.read(event), {})


def notice(event_type: str, obj: Json, event_id: str = "evt_1") -> Notice:
    effects = read(event_type, obj, event_id)
    (only,) = effects.notices
    if not event_type.startswith("payout."):  # those move money besides
        assert effects == Effects(notices=(only,)), "nothing but the notice"
    return only


@pytest.mark.parametrize("name", [name for name in NOTICES if name.startswith("payout.")])
def test_a_payout_has_each_notice_once(name: str) -> None:
    told = notice(name, PAYOUT, "evt_1")
    assert told == notice(name, PAYOUT, "evt_2")
    assert (told.key, told.type) == (f"{name}:po_1", name)
    assert told.data["arrival_on"] == "2023-11-15"
    assert (told.data["amount"], told.data["currency"]) == (5000, "eur")


@pytest.mark.parametrize(
    ("name", "once"),
    [
        ("invoice.finalized", True),
        ("invoice.paid", True),
        ("invoice.voided", True),
        ("invoice.marked_uncollectible", True),
        ("invoice.payment_failed", False),
        ("invoice.payment_action_required", False),
        ("invoice.overdue", False),
    ],
)
def test_what_can_happen_to_an_invoice_again_is_told_again(name: str, once: bool) -> None:
    first, second = notice(name, INVOICE, "evt_1"), notice(name, INVOICE, "evt_2")
    assert first.type == name
    assert (first.key == second.key) is once


def test_an_invoice_names_its_subscription_in_the_old_shape_and_the_new() -> None:
    of_subscription = {"subscription": {"id": "sub_1"}, "metadata": {"plan": "team"}}
    old = {**INVOICE, "subscription": "sub_1", "subscription_details": {"metadata": {"plan": "team"}}}
    new = {**INVOICE, "parent": {"subscription_details": of_subscription}}
    assert notice("invoice.paid", old).data == notice("invoice.paid", new).data
    told = notice("invoice.paid", new).data
    assert (told["subscription"], told["subscription_metadata"]) == ("sub_1", {"plan": "team"})
    assert (told["customer"], told["metadata"]) == ("cus_1", {"order": "1"})
    assert (told["due_at"], told["next_attempt_at"]) == (None, "2023-11-15T00:00:00Z")


def test_a_subscription_is_told_by_our_names() -> None:
    names = {
        name: notice(name, SUBSCRIPTION).type for name in EVENTS if name.startswith("customer.subscription.")
    }
    assert names["customer.subscription.deleted"] == "subscription.canceled"
    assert all(name.endswith(told.partition(".")[2]) for name, told in names.items() if "deleted" not in name)
    updates = {notice("customer.subscription.updated", SUBSCRIPTION, each).key for each in ("evt_1", "evt_2")}
    assert len(updates) == 2
    data = notice("customer.subscription.trial_will_end", SUBSCRIPTION).data
    assert data["items"] == [{"price": "price_1", "product": None, "quantity": 2}]
    assert data["trial_ends_at"] == "2023-11-15T00:00:00Z"


def test_an_item_of_before_prices_is_named_by_its_plan() -> None:
    old = {**SUBSCRIPTION, "items": {"data": [{"plan": {"id": "gold"}, "quantity": None}, "nonsense"]}}
    assert notice("customer.subscription.updated", old).data["items"] == [
        {"price": "gold", "product": None, "quantity": None},
        {"price": None, "product": None, "quantity": None},
    ]


def test_a_period_ends_with_the_first_of_its_items_and_of_old_with_the_subscription() -> None:
    items = {"data": [{"current_period_end": 1_700_006_400 + day * 86_400} for day in (2, 0, 1)]}
    new = notice("customer.subscription.updated", {**SUBSCRIPTION, "items": items})
    old = notice("customer.subscription.updated", {**SUBSCRIPTION, "current_period_end": 1_700_006_400})
    assert new.data["current_period_ends_at"] == old.data["current_period_ends_at"] == "2023-11-15T00:00:00Z"


def test_all_that_is_told_of_billing_is_in_the_table() -> None:
    objects = {"payout.": PAYOUT, "invoice.": INVOICE, "customer.subscription.": SUBSCRIPTION}
    named = EVENTS.keys() - {"payout.updated"}
    told = {
        notice(name, obj).type for kind, obj in objects.items() for name in named if name.startswith(kind)
    }
    listed = {name for name in NOTICES if name.split(".")[0] in ("payout", "invoice", "subscription")}
    assert told == listed


@pytest.mark.parametrize("name", ["payout.paid", "invoice.paid"])
def test_an_object_without_an_id_cannot_be_read(name: str) -> None:
    with pytest.raises(PayloadError):
        read(name, {"object": "payout", "amount": 1, "currency": "usd", "status": "paid"})


def test_patterns() -> None:
    assert matches(["refund.*"], "refund.failed")
    assert not matches(["refund.*"], "payment.failed")
    assert matches(["*"], "payment.failed")
    assert matches(["payment.failed"], "payment.failed")
    assert not matches([], "payment.failed")


def test_times() -> None:
    assert at_utc(0) == "1970-01-01T00:00:00Z"
    assert at_utc(None) is None
    assert at_utc(10**18) is None
