"""Subscriptions over their lives, on test clocks: created, renewed, changed, dunned, paused, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import stripe
from tests.integration.sandbox.support import Raw, Sdk
from tests.integration.sandbox.world import DAY, START, World

Action = Callable[[World], Awaitable[None]]


async def test_creation_and_renewal_in_stripes_order(world: World) -> None:
    subscription = await world.subscribe(
        await world.price(),
        metadata={"a": "1"},
        expand=["latest_invoice.confirmation_secret", "latest_invoice.payments.data.payment.payment_intent"],
    )
    assert subscription.status == "active"
    assert (subscription.created, subscription.start_date) == (START, START)
    item = subscription["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (START, 1_738_368_000)
    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == (
        "paid",
        1000,
        "subscription_create",
    )
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert invoice.parent.subscription_details.metadata.to_dict() == {"a": "1"}
    assert invoice.confirmation_secret.client_secret.startswith("pi_")
    assert invoice.payments.data[0].payment.payment_intent.status == "succeeded"
    assert invoice.lines.data[0].description == "1 × Seat (at $10.00 / month)"
    assert await world.types() == [
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "charge.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
        "invoice_payment.paid",
    ]
    created = await world.event("customer.subscription.created")
    assert created["data"]["object"]["status"] == "incomplete"
    assert created["data"]["object"]["latest_invoice"] == invoice.id
    updated = await world.event("customer.subscription.updated")
    assert updated["data"]["previous_attributes"] == {"status": "incomplete"}

    before = len(await world.types())
    await world.advance(32 * DAY)
    assert (await world.types())[before:] == [
        "invoice.upcoming",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.finalized",
        "charge.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
    ]
    first, second = await world.invoices(subscription)
    assert (second.billing_reason, second.status, second.total) == ("subscription_cycle", "paid", 1000)
    assert second.created == 1_738_368_000
    assert second.status_transitions.finalized_at == 1_738_368_000 + 3600
    assert (second.period_start, second.period_end) == (START, 1_738_368_000)
    assert first.id == invoice.id


@pytest.mark.parametrize(
    ("behavior", "status"), [("allow_incomplete", "incomplete"), ("error_if_incomplete", None)]
)
async def test_a_first_payment_that_is_declined(world: World, behavior: str, status: str | None) -> None:
    await world.pay_with("pm_card_chargeCustomerFail")
    price = await world.price()
    if status is None:
        with pytest.raises(stripe.CardError):
            await world.subscribe(price, payment_behavior=behavior)
        assert not (await world.sdk("subscriptions.list", {"customer": world.customer, "status": "all"})).data
        return
    subscription = await world.subscribe(price, payment_behavior=behavior, expand=["latest_invoice"])
    assert (subscription.status, subscription.latest_invoice.status) == (status, "open")
    assert subscription.latest_invoice.next_payment_attempt is None
    await world.advance(24 * 3600)
    expired = await world.get(subscription, "latest_invoice")
    assert (expired.status, expired.latest_invoice.status) == ("incomplete_expired", "void")
    assert expired.ended_at == START + 23 * 3600


async def test_default_incomplete_is_paid_by_its_payment_intent(world: World) -> None:
    subscription = await world.subscribe(
        await world.price(),
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.payments"],
    )
    assert (subscription.status, subscription.latest_invoice.status) == ("incomplete", "open")
    intent = subscription.latest_invoice.payments.data[0].payment.payment_intent
    card = await world.sdk("payment_methods.attach", "pm_card_mastercard", {"customer": world.customer})
    paid = await world.sdk("payment_intents.confirm", intent, {"payment_method": card.id})
    assert paid.status == "succeeded"
    active = await world.get(subscription)
    assert (active.status, active.default_payment_method) == ("active", card.id)


async def test_nobody_to_charge_is_refused(world: World) -> None:
    await world.sdk("customers.update", world.customer, {"invoice_settings": {"default_payment_method": ""}})
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await world.subscribe(await world.price())


async def test_a_trial_its_warning_and_its_end(world: World) -> None:
    subscription = await world.subscribe(await world.price(), trial_period_days=10, expand=["latest_invoice"])
    assert (subscription.status, subscription.trial_end) == ("trialing", START + 10 * DAY)
    assert subscription.billing_cycle_anchor == subscription.trial_end
    assert (subscription.latest_invoice.total, subscription.latest_invoice.status) == (0, "paid")
    assert subscription.latest_invoice.lines.data[0].description == "Trial period for Seat"
    await world.advance(8 * DAY)
    assert "customer.subscription.trial_will_end" in await world.types()
    await world.advance(3 * DAY)
    active = await world.get(subscription, "latest_invoice")
    assert (active.status, active.latest_invoice.total, active.latest_invoice.status) == (
        "active",
        1000,
        "paid",
    )
    assert (await world.types()).count("customer.subscription.trial_will_end") == 1


@pytest.mark.parametrize(("missing", "status"), [("cancel", "canceled"), ("pause", "paused")])
async def test_a_trial_that_ends_without_a_payment_method(world: World, missing: str, status: str) -> None:
    await world.sdk("customers.update", world.customer, {"invoice_settings": {"default_payment_method": ""}})
    settings = {"end_behavior": {"missing_payment_method": missing}}
    subscription = await world.subscribe(await world.price(), trial_period_days=7, trial_settings=settings)
    await world.advance(7 * DAY)
    assert (await world.get(subscription)).status == status
    if status != "paused":
        assert "customer.subscription.deleted" in await world.types()
        return
    assert "customer.subscription.paused" in await world.types()
    await world.pay_with("pm_card_visa")
    paying = {"payment_behavior": "resume_on_payment_success", "expand": ["latest_invoice"]}
    resumed = await world.sdk("subscriptions.resume", subscription.id, paying)
    assert (resumed.status, resumed.latest_invoice.total) == ("active", 1000)
    assert (await world.types()).count("customer.subscription.resumed") == 1


@pytest.mark.parametrize("end", ["cancel", "unpaid", "past_due"])
async def test_dunning(world: World, end: str) -> None:
    await world.raw.control("POST", "settings", {"dunning_retry_days": [1, 2], "dunning_end": end})
    subscription = await world.subscribe(await world.price())
    await world.pay_with("pm_card_chargeCustomerFail")
    await world.advance(32 * DAY)
    late = await world.get(subscription, "latest_invoice")
    assert (late.status, late.latest_invoice.status, late.latest_invoice.attempt_count) == (
        "past_due",
        "open",
        1,
    )
    assert late.latest_invoice.next_payment_attempt == 1_738_368_000 + 3600 + DAY
    await world.advance(4 * DAY)
    done = await world.get(subscription, "latest_invoice")
    assert done.status == {"cancel": "canceled"}.get(end, end)
    assert (done.latest_invoice.attempt_count, done.latest_invoice.next_payment_attempt) == (3, None)
    if end == "cancel":
        assert done.cancellation_details.reason == "payment_failed"
        return
    await world.pay_with("pm_card_visa")
    await world.sdk("invoices.pay", done.latest_invoice.id)
    assert (await world.get(subscription)).status == "active"


async def test_a_change_is_prorated_to_the_second(world: World) -> None:
    cheap, dear = await world.price(1000), await world.price(3000)
    subscription = await world.subscribe(cheap)
    item = subscription["items"].data[0].id
    await world.advance(31 * DAY // 2)
    changed = await world.sdk(
        "subscriptions.update", subscription.id, {"items": [{"id": item, "price": dear, "quantity": 2}]}
    )
    assert changed["items"].data[0].price.id == dear
    pending = await world.sdk("invoice_items.list", {"customer": world.customer, "pending": True})
    assert sorted(entry.amount for entry in pending.data) == [-500, 3000]
    assert all(entry.proration for entry in pending.data)
    assert {entry.description for entry in pending.data} == {
        "Unused time on Seat after 16 Jan 2025",
        "Remaining time on 2 × Seat after 16 Jan 2025",
    }
    await world.advance(17 * DAY)
    renewal = (await world.invoices(subscription))[-1]
    assert (renewal.total, renewal.status) == (6000 - 500 + 3000, "paid")
    credit = next(line for line in renewal.lines.data if line.amount < 0)
    assert credit.parent.subscription_item_details.proration
    assert credit.parent.subscription_item_details.proration_details.credited_items.invoice


@pytest.mark.parametrize(
    ("behavior", "total", "pending"),
    [("always_invoice", 500, 0), ("create_prorations", 1000, 2), ("none", 1000, 0)],
)
async def test_proration_behaviors(world: World, behavior: str, total: int, pending: int) -> None:
    subscription = await world.subscribe(await world.price(1000))
    await world.advance(31 * DAY // 2)
    await world.sdk(
        "subscription_items.update",
        subscription["items"].data[0].id,
        {"quantity": 2, "proration_behavior": behavior},
    )
    waiting = await world.sdk("invoice_items.list", {"customer": world.customer, "pending": True})
    assert len(waiting.data) == pending
    latest = (await world.invoices(subscription))[-1]
    assert (latest.total, latest.status) == (total, "paid")


async def test_a_new_interval_begins_a_new_period_in_classic_mode(world: World) -> None:
    monthly, yearly = await world.price(1000), await world.price(10_000, recurring={"interval": "year"})
    subscription = await world.subscribe(monthly, billing_mode={"type": "classic"})
    await world.advance(31 * DAY // 2)
    changed = await world.sdk(
        "subscriptions.update",
        subscription.id,
        {"items": [{"id": subscription["items"].data[0].id, "price": yearly}], "expand": ["latest_invoice"]},
    )
    assert changed.billing_cycle_anchor == world.now
    assert changed["items"].data[0].current_period_start == world.now
    assert (changed.latest_invoice.total, changed.latest_invoice.status) == (10_000 - 500, "paid")


async def test_items_come_and_go(world: World) -> None:
    one, other = await world.price(1000), await world.price(400)
    subscription = await world.subscribe(one)
    added = await world.sdk("subscription_items.create", {"subscription": subscription.id, "price": other})
    assert added.quantity == 1
    listed = await world.sdk("subscription_items.list", {"subscription": subscription.id})
    assert len(listed.data) == 2
    gone = await world.sdk("subscription_items.delete", added.id)
    assert gone.deleted
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        await world.sdk("subscription_items.delete", subscription["items"].data[0].id)
    pending = await world.sdk("invoice_items.list", {"customer": world.customer, "pending": True})
    assert sum(entry.amount for entry in pending.data) == 0


async def test_a_pending_update_takes_effect_when_it_is_paid(world: World) -> None:
    subscription = await world.subscribe(await world.price(1000))
    bad = await world.sdk(
        "payment_methods.attach", "pm_card_chargeCustomerFail", {"customer": world.customer}
    )
    await world.sdk("subscriptions.update", subscription.id, {"default_payment_method": bad.id})
    change = {
        "items": [{"id": subscription["items"].data[0].id, "quantity": 5}],
        "payment_behavior": "pending_if_incomplete",
        "proration_behavior": "always_invoice",
    }
    waiting = await world.sdk("subscriptions.update", subscription.id, change)
    assert waiting["items"].data[0].quantity == 1
    assert waiting.pending_update.subscription_items[0].quantity == 5
    assert waiting.status == "active"
    good = await world.sdk("payment_methods.attach", "pm_card_visa", {"customer": world.customer})
    await world.sdk("invoices.pay", waiting.latest_invoice, {"payment_method": good.id})
    applied = await world.get(subscription)
    assert (applied["items"].data[0].quantity, applied.pending_update) == (5, None)
    assert "customer.subscription.pending_update_applied" in await world.types()

    await world.sdk(
        "subscriptions.update",
        subscription.id,
        {**change, "items": [{"id": subscription["items"].data[0].id, "quantity": 9}]},
    )
    await world.advance(DAY)
    expired = await world.get(subscription, "latest_invoice")
    assert (expired["items"].data[0].quantity, expired.pending_update) == (5, None)
    assert expired.latest_invoice.status == "void"
    assert "customer.subscription.pending_update_expired" in await world.types()


@pytest.mark.parametrize("how", ["at_period_end", "cancel_at", "now"])
async def test_cancellation(world: World, how: str) -> None:
    subscription = await world.subscribe(await world.price())
    details = {"comment": "bye", "feedback": "too_expensive"}
    if how == "now":
        ended = await world.sdk(
            "subscriptions.cancel",
            subscription.id,
            {"prorate": True, "invoice_now": True, "cancellation_details": details},
        )
        assert ended.status == "canceled"
        assert ended.cancellation_details.reason == "cancellation_requested"
        assert (await world.invoices(subscription))[-1].total == -1000
        return
    when = {"cancel_at_period_end": True} if how == "at_period_end" else {"cancel_at": START + 40 * DAY}
    set_to = await world.sdk(
        "subscriptions.update", subscription.id, {**when, "cancellation_details": details}
    )
    assert set_to.cancel_at == (1_738_368_000 if how == "at_period_end" else START + 40 * DAY)
    assert set_to.cancellation_details.feedback == "too_expensive"
    await world.advance(41 * DAY)
    ended = await world.get(subscription)
    assert (ended.status, ended.ended_at) == ("canceled", set_to.cancel_at)
    totals = [invoice.total for invoice in await world.invoices(subscription)]
    assert totals == ([1000] if how == "at_period_end" else [1000, 321])  # 9 of 28 days
    listed = await world.sdk("subscriptions.list", {"customer": world.customer})
    assert not listed.data
    with pytest.raises(stripe.InvalidRequestError, match="can only update"):
        await world.sdk("subscriptions.update", subscription.id, {"description": "x"})


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible"), ("void", "void")],
)
async def test_a_pause_of_collection(world: World, behavior: str, status: str) -> None:
    subscription = await world.subscribe(await world.price())
    paused = {"behavior": behavior, "resumes_at": START + 40 * DAY}
    await world.sdk("subscriptions.update", subscription.id, {"pause_collection": paused})
    await world.advance(36 * DAY)
    latest = await world.get(subscription, "latest_invoice")
    assert (latest.status, latest.latest_invoice.status) == ("active", status)
    await world.advance(5 * DAY)
    assert (await world.get(subscription)).pause_collection is None


async def test_metered_usage_is_billed_afterwards(world: World) -> None:
    meter = await world.sdk(
        "billing.meters.create",
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}},
    )
    price = await world.price(7, recurring={"interval": "month", "usage_type": "metered", "meter": meter.id})
    subscription = await world.subscribe(price, expand=["latest_invoice"])
    assert subscription.latest_invoice.total == 0
    await world.advance(DAY)
    for value in ("10", "32"):
        payload = {"stripe_customer_id": world.customer, "value": value}
        await world.sdk("billing.meter_events.create", {"event_name": "calls", "payload": payload})
    await world.advance(32 * DAY)
    bill = (await world.invoices(subscription))[-1]
    assert (bill.total, bill.lines.data[0].quantity) == (294, 42)
    assert (bill.lines.data[0].period.start, bill.lines.data[0].period.end) == (START, 1_738_368_000)


async def test_tiers(world: World) -> None:
    tiers = [
        {"up_to": 5, "unit_amount": 1000},
        {"up_to": "inf", "unit_amount": 700, "flat_amount": 50},
    ]
    graduated = await world.price(billing_scheme="tiered", tiers_mode="graduated", tiers=tiers)
    volume = await world.price(billing_scheme="tiered", tiers_mode="volume", tiers=tiers)
    first = await world.subscribe(items=[{"price": graduated, "quantity": 8}], expand=["latest_invoice"])
    assert first.latest_invoice.total == 5000 + 2100 + 50
    assert [line.quantity for line in first.latest_invoice.lines.data] == [5, 3, 0]
    second = await world.subscribe(items=[{"price": volume, "quantity": 8}], expand=["latest_invoice"])
    assert second.latest_invoice.total == 5650


async def test_discounts_tax_and_items_added_once(world: World) -> None:
    coupon = await world.sdk(
        "coupons.create", {"percent_off": 50, "duration": "repeating", "duration_in_months": 1}
    )
    tax = await world.sdk("tax_rates.create", {"display_name": "VAT", "percentage": 20, "inclusive": False})
    setup = await world.sdk(
        "prices.create", {"product": world.product, "currency": "usd", "unit_amount": 300}
    )
    subscription = await world.subscribe(
        await world.price(1000),
        discounts=[{"coupon": coupon.id}],
        default_tax_rates=[tax.id],
        add_invoice_items=[{"price": setup.id}],
        expand=["latest_invoice", "discounts"],
    )
    assert subscription.discounts[0].source.coupon == coupon.id
    assert subscription.latest_invoice.total == 780  # (1000 + 300) × 50% × 120%
    await world.advance(32 * DAY)
    assert (await world.invoices(subscription))[-1].total == 1200
    assert (await world.get(subscription)).discounts == []


async def test_sent_invoices(world: World) -> None:
    subscription = await world.subscribe(
        await world.price(), collection_method="send_invoice", days_until_due=7, expand=["latest_invoice"]
    )
    assert (subscription.status, subscription.latest_invoice.status) == ("active", "draft")
    await world.advance(2 * 3600)
    sent = await world.get(subscription, "latest_invoice")
    assert sent.latest_invoice.status == "open"
    assert sent.latest_invoice.due_date == START + 3600 + 7 * DAY
    await world.advance(9 * DAY)
    assert (await world.get(subscription)).status == "past_due"
    await world.sdk("invoices.pay", sent.latest_invoice.id, {"paid_out_of_band": True})
    assert (await world.get(subscription)).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        await world.subscribe(await world.price(), collection_method="send_invoice")


async def test_lists_and_search(world: World) -> None:
    price = await world.price()
    subscription = await world.subscribe(price, metadata={"team": "red"})
    await world.subscribe(await world.price(), trial_period_days=3)
    every: dict[str, Any] = {"test_clock": world.clock}
    assert len((await world.sdk("subscriptions.list", every)).data) == 2
    assert not (await world.sdk("subscriptions.list", {})).data  # test clocks' are listed by name only
    for wanted in (
        {"price": price},
        {"status": "active"},
        {"current_period_end": {"gt": START + 20 * DAY}},
    ):
        found = await world.sdk("subscriptions.list", {**every, **wanted})
        assert [entry.id for entry in found.data] == [subscription.id]
    assert not (await world.sdk("subscriptions.list", {**every, "collection_method": "send_invoice"})).data
    found = await world.sdk("subscriptions.search", {"query": "metadata['team']:'red'"})
    assert [entry.id for entry in found.data] == [subscription.id]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"items": []}, "items"),
        ({"nonsense": "1"}, "nonsense"),
        ({"trial_end": START - 1}, "trial_end"),
        ({"trial_end": START + DAY, "trial_period_days": 1}, "trial_end"),
        ({"payment_behavior": "pending_if_incomplete"}, "payment_behavior"),
        ({"billing_cycle_anchor": START + 60 * DAY}, "billing_cycle_anchor"),
        ({"application_fee_percent": 10}, "application_fee_percent"),
        ({"automatic_tax": {"enabled": True}}, "automatic_tax[enabled]"),
        ({"days_until_due": 3}, "days_until_due"),
    ],
)
async def test_what_is_refused(world: World, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await world.subscribe(await world.price(), **params)
    assert refusal.value.param == param


async def test_an_anchor_ahead_prorates_the_first_period(world: World) -> None:
    anchor = START + 10 * DAY
    subscription = await world.subscribe(
        await world.price(3100), billing_cycle_anchor=anchor, expand=["latest_invoice"]
    )
    assert subscription["items"].data[0].current_period_end == anchor
    assert subscription.latest_invoice.total == 1000  # 10 of the 31 days from December 11th
    await world.advance(11 * DAY)
    assert (await world.invoices(subscription))[-1].total == 3100


async def test_old_shapes(world: World) -> None:
    subscription = await world.subscribe(await world.price())
    headers = {"Authorization": "Bearer sk_test_x", "Stripe-Version": "2024-06-20"}
    url = f"{world.raw.url}/v1/subscriptions/{subscription.id}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        old = await answer.json()
    assert old["current_period_start"] == START
    assert "current_period_start" not in old["items"]["data"][0]
    assert old["plan"]["id"] == old["items"]["data"][0]["plan"]["id"]
    assert "billing_mode" not in old


async def test_the_customer_takes_its_subscriptions_along(world: World) -> None:
    subscription = await world.subscribe(await world.price())
    await world.sdk("test_helpers.test_clocks.delete", world.clock)
    assert (await world.get(subscription)).status == "canceled"
    types = await world.types(("customer", "test_helpers"))
    assert types[-1] == "test_helpers.test_clock.deleted"
    assert {"customer.subscription.deleted", "customer.deleted"} == set(types[-3:-1])


async def test_previews_change_nothing_and_tell_what_would_be_billed(world: World) -> None:
    price, dear = await world.price(1000), await world.price(3000)
    new = {"customer": world.customer, "subscription_details": {"items": [{"price": price, "quantity": 3}]}}
    fresh = await world.sdk("invoices.create_preview", new)
    assert (fresh.total, fresh.status, fresh.billing_reason) == (3000, "draft", "subscription_create")
    subscription = await world.subscribe(price)
    await world.advance(31 * DAY // 2)
    asked: dict[str, Any] = {"subscription": subscription.id}
    plain = await world.sdk("invoices.create_preview", asked)
    assert (plain.total, plain.period_end) == (1000, 1_738_368_000)
    before = await world.types(("",))
    items = [{"id": subscription["items"].data[0].id, "price": dear}]
    later = await world.sdk("invoices.create_preview", {**asked, "subscription_details": {"items": items}})
    assert sorted(line.amount for line in later.lines.data) == [-500, 1500, 3000]
    now = {"items": items, "proration_behavior": "always_invoice"}
    at_once = await world.sdk("invoices.create_preview", {**asked, "subscription_details": now})
    assert (at_once.total, at_once.billing_reason) == (1000, "subscription_update")
    recurring = await world.sdk(
        "invoices.create_preview",
        {**asked, "preview_mode": "recurring", "subscription_details": {"items": items}},
    )
    assert recurring.total == 3000
    ended = await world.sdk(
        "invoices.create_preview", {**asked, "subscription_details": {"cancel_now": True}}
    )
    assert ended.total == -500
    with pytest.raises(stripe.InvalidRequestError, match="No upcoming invoices"):
        await world.sdk(
            "invoices.create_preview", {**asked, "subscription_details": {"cancel_at_period_end": True}}
        )
    assert await world.types(("",)) == before
    assert (await world.get(subscription)).to_dict() == subscription.to_dict()
    await world.sdk("subscriptions.update", subscription.id, {**now})
    assert (await world.invoices(subscription))[-1].total == at_once.total


async def test_a_schedule_and_its_phases(world: World) -> None:
    cheap, dear = await world.price(1000), await world.price(2000)
    schedule = await world.sdk(
        "subscription_schedules.create",
        {
            "customer": world.customer,
            "start_date": START + DAY,
            "end_behavior": "release",
            "phases": [
                {"items": [{"price": cheap}], "duration": {"interval": "month"}},
                {
                    "items": [{"price": dear, "quantity": 2}],
                    "duration": {"interval": "month", "interval_count": 2},
                    "proration_behavior": "none",
                },
            ],
        },
    )
    assert (schedule.status, schedule.subscription) == ("not_started", None)
    await world.advance(2 * DAY)
    schedule = await world.sdk("subscription_schedules.retrieve", schedule.id, {"expand": ["subscription"]})
    assert (schedule.status, schedule.subscription.status) == ("active", "active")
    subscription = schedule.subscription
    await world.advance(31 * DAY)
    changed = await world.get(subscription)
    assert (changed["items"].data[0].price.id, changed["items"].data[0].quantity) == (dear, 2)
    await world.advance(65 * DAY)
    done = await world.sdk("subscription_schedules.retrieve", schedule.id)
    assert (done.status, done.released_subscription) == ("completed", subscription.id)
    assert [invoice.total for invoice in await world.invoices(subscription)] == [1000, 4000, 4000, 4000]
    assert await world.types(("subscription_schedule",)) == [
        "subscription_schedule.created",
        "subscription_schedule.updated",
        "subscription_schedule.updated",
        "subscription_schedule.expiring",
        "subscription_schedule.completed",
        "subscription_schedule.updated",
    ]


async def test_a_schedule_made_of_a_subscription(world: World) -> None:
    cheap, dear = await world.price(1000), await world.price(2000)
    subscription = await world.subscribe(cheap)
    schedule = await world.sdk("subscription_schedules.create", {"from_subscription": subscription.id})
    assert (await world.get(subscription)).schedule == schedule.id
    first = schedule.phases[0]
    updated = await world.sdk(
        "subscription_schedules.update",
        schedule.id,
        {
            "end_behavior": "cancel",
            "phases": [
                {"items": [{"price": cheap}], "start_date": first.start_date, "end_date": first.end_date},
                {"items": [{"price": dear}], "duration": {"interval": "month"}},
            ],
        },
    )
    assert len(updated.phases) == 2
    await world.advance(33 * DAY)
    assert (await world.invoices(subscription))[-1].total == 2000
    await world.advance(30 * DAY)
    assert (await world.get(subscription)).status == "canceled"
    assert (await world.sdk("subscription_schedules.retrieve", schedule.id)).status == "completed"

    other = await world.subscribe(cheap)
    schedule = await world.sdk("subscription_schedules.create", {"from_subscription": other.id})
    released = await world.sdk("subscription_schedules.release", schedule.id)
    assert (released.status, released.released_subscription) == ("released", other.id)
    schedule = await world.sdk("subscription_schedules.create", {"from_subscription": other.id})
    canceled = await world.sdk("subscription_schedules.cancel", schedule.id)
    assert (canceled.status, (await world.get(other)).status) == ("canceled", "canceled")
    with pytest.raises(stripe.InvalidRequestError, match="canceled"):
        await world.sdk("subscription_schedules.release", schedule.id)
    listed = await world.sdk("subscription_schedules.list", {"customer": world.customer})
    assert len(listed.data) == 3


async def test_a_first_payment_that_asks_for_authentication(world: World) -> None:
    await world.pay_with("pm_card_authenticationRequired")
    subscription = await world.subscribe(await world.price(), expand=["latest_invoice.payments"])
    assert (subscription.status, subscription.latest_invoice.status) == ("incomplete", "open")
    intent = subscription.latest_invoice.payments.data[0].payment.payment_intent
    assert "invoice.payment_action_required" in await world.types()
    await world.raw.control("POST", f"payment_intents/{intent}/authenticate", {"outcome": "succeed"})
    assert (await world.get(subscription, "latest_invoice")).status == "active"


async def test_a_bank_debit_is_on_its_way(world: World) -> None:
    method = await world.sdk(
        "payment_methods.create",
        {
            "type": "sepa_debit",
            "sepa_debit": {"iban": "AT611904300234573201"},
            "billing_details": {"name": "Ada", "email": "ada@example.com"},
        },
    )
    await world.pay_with(method.id)
    euros = await world.sdk(
        "prices.create",
        {"product": world.product, "currency": "eur", "unit_amount": 900, "recurring": {"interval": "month"}},
    )
    subscription = await world.subscribe(euros.id, expand=["latest_invoice"])
    assert (subscription.status, subscription.latest_invoice.status) == ("active", "open")
    await world.raw.control("POST", "settle")
    assert (await world.get(subscription, "latest_invoice")).latest_invoice.status == "paid"


async def test_a_customers_own_discount_and_the_way_to_flexible(world: World) -> None:
    coupon = await world.sdk("coupons.create", {"percent_off": 10, "duration": "forever"})
    given = {"coupon": coupon.id}
    status, _, _ = await world.raw("POST", f"/v1/customers/{world.customer}", given)
    subscription = await world.subscribe(
        await world.price(), billing_mode={"type": "classic"}, expand=["latest_invoice"]
    )
    assert subscription.latest_invoice.total == (900 if status == 200 else 1000)
    moved = await world.sdk("subscriptions.migrate", subscription.id, {"billing_mode": {"type": "flexible"}})
    assert moved.billing_mode.type == "flexible"


async def test_without_a_test_clock_the_sandboxs_own_time_counts(sdk: Sdk, raw: Raw) -> None:
    customer = await sdk(
        "customers.create",
        {"payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"}},
    )
    product = await sdk("products.create", {"name": "Seat"})
    price = await sdk(
        "prices.create",
        {"product": product.id, "currency": "usd", "unit_amount": 100, "recurring": {"interval": "day"}},
    )
    subscription = await sdk(
        "subscriptions.create", {"customer": customer.id, "items": [{"price": price.id}]}
    )
    await raw.control("POST", "clock", {"advance_seconds": 2 * DAY + 7200})
    await asyncio.sleep(0.05)
    found = await sdk("invoices.list", {"subscription": subscription.id})
    assert [invoice.status for invoice in found.data] == ["paid"] * 3
