"""Pausing a subscription and resuming it."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw
from tests.integration.sandbox.world import DAY, START, World


async def pending(world: World) -> list[int]:
    found = await world.sdk("invoice_items.list", {"customer": world.customer, "pending": True})
    return sorted(item.amount for item in found.data)


async def paused(world: World, **params: Any) -> Any:
    """A subscription at 31.00 a month, paused after ten of its 31 days."""
    subscription = await world.subscribe(await world.price(3100))
    await world.advance(10 * DAY)
    return await world.sdk("subscriptions.pause", subscription.id, params)


async def test_a_pause_gives_back_what_is_unused_and_bills_nothing_more(world: World, raw: Raw) -> None:
    subscription = await paused(world)
    assert subscription.status == "paused"
    why = {"subscription": {"type": "pause_requested"}, "transitioned_at": world.now, "type": "subscription"}
    assert subscription.status_details.to_dict() == {"paused": why}
    told = await world.event("customer.subscription.paused")
    assert told["data"]["previous_attributes"] == {"status": "active"}  # dahlia has no status_details
    assert await pending(world) == [-2100]
    await world.advance(60 * DAY)
    assert len(await world.invoices(subscription)) == 1
    old = {"Stripe-Version": "2026-08-26.dahlia"}
    _, shown, _ = await raw("GET", f"/v1/subscriptions/{subscription.id}", headers=old)
    assert "status_details" not in shown


@pytest.mark.parametrize(
    ("since", "amounts"), [("none", []), ("now", [-2100]), ("item_current_period_start", [-3100])]
)
async def test_what_a_pause_gives_back(world: World, since: str, amounts: list[int]) -> None:
    await paused(world, bill_for={"unused_time_from": {"type": since}})
    assert await pending(world) == amounts


@pytest.mark.parametrize("through", ["now", "none"])
async def test_usage_until_the_pause(world: World, through: str) -> None:
    meter = await world.sdk(
        "billing.meters.create",
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}},
    )
    recurring = {"interval": "month", "usage_type": "metered", "meter": meter.id}
    subscription = await world.subscribe(await world.price(7, recurring=recurring))
    await world.advance(5 * DAY)
    payload = {"stripe_customer_id": world.customer, "value": "6"}
    event = {"event_name": "calls", "payload": payload, "timestamp": START + 4 * DAY}
    await world.sdk("billing.meter_events.create", event)
    bill_for = {"outstanding_usage_through": {"type": through}}
    params = {"bill_for": bill_for, "invoicing_behavior": "invoice", "expand": ["latest_invoice"]}
    stopped = await world.sdk("subscriptions.pause", subscription.id, params)
    assert (stopped.status, stopped.latest_invoice.total) == ("paused", 42 if through == "now" else 0)


async def test_an_attempt_is_not_made_by_the_call_that_resumes(world: World) -> None:
    subscription = await paused(world, bill_for={"unused_time_from": {"type": "none"}})
    anchor = {"billing_cycle_anchor": {"type": "now"}, "expand": ["latest_invoice"]}
    waiting = await world.sdk("subscriptions.resume", subscription.id, anchor)
    invoice = waiting.latest_invoice
    assert (waiting.status, invoice.status, invoice.total) == ("paused", "open", 3100)
    assert invoice.attempt_count == 0
    await world.sdk("invoices.pay", invoice.id)
    active = await world.get(subscription)
    assert (active.status, active.status_details) == ("active", None)
    assert active["items"].data[0].current_period_start == world.now
    told = await world.event("customer.subscription.resumed")
    assert told["data"]["previous_attributes"]["status"] == "paused"
    assert (await world.types()).count("customer.subscription.resumed") == 1


@pytest.mark.parametrize(("behavior", "status"), [("attempt", "past_due"), ("success", "paused")])
async def test_a_resumption_that_is_declined(world: World, behavior: str, status: str) -> None:
    subscription = await paused(world)
    await world.pay_with("pm_card_chargeCustomerFail")
    params = {"payment_behavior": f"resume_on_payment_{behavior}"}
    resumed = await world.sdk("subscriptions.resume", subscription.id, params)
    assert resumed.status == "paused"
    if behavior == "attempt":
        with pytest.raises(stripe.CardError):
            await world.sdk("invoices.pay", resumed.latest_invoice)
    assert (await world.get(subscription)).status == status
    await world.pay_with("pm_card_visa")
    await world.advance(5 * DAY)  # only what waits for success is tried again by itself
    assert (await world.get(subscription)).status == ("past_due" if behavior == "attempt" else "active")


@pytest.mark.parametrize("end", ["void_invoice", "mark_uncollectible", None])
async def test_a_resumption_that_nobody_pays(world: World, end: str | None) -> None:
    subscription = await paused(world)
    invoice = (await world.sdk("subscriptions.resume", subscription.id)).latest_invoice
    if end is None:
        await world.advance(DAY)
        assert (await world.sdk("invoices.retrieve", invoice)).status == "void"
    else:
        ended = await world.sdk(f"invoices.{end}", invoice)
        if end == "mark_uncollectible":
            assert ended.status_details.uncollectible.reason == "user_forgiven"
    assert (await world.get(subscription)).status == ("active" if end == "mark_uncollectible" else "paused")


async def test_back_into_the_old_cycle(world: World) -> None:
    subscription = await paused(world)  # -2100 waits
    await world.advance(DAY)
    resumed = await world.sdk("subscriptions.resume", subscription.id, {"billing_cycle_anchor": "unchanged"})
    assert resumed.status == "active"
    assert await pending(world) == [-2100, 2000]
    assert resumed["items"].data[0].current_period_end == START + 31 * DAY


async def test_what_was_not_given_back_is_not_billed_again(world: World) -> None:
    subscription = await paused(world, bill_for={"unused_time_from": {"type": "none"}})
    await world.advance(DAY)
    await world.sdk("subscriptions.resume", subscription.id, {"billing_cycle_anchor": "unchanged"})
    assert await pending(world) == []


async def test_what_cannot_be_paused(world: World) -> None:
    price = await world.price(1000)
    classic = await world.subscribe(price, billing_mode={"type": "classic"})
    sent = await world.subscribe(price, collection_method="send_invoice", days_until_due=3)
    scheduled = await world.subscribe(price)
    await world.sdk("subscription_schedules.create", {"from_subscription": scheduled.id})
    canceled = await world.subscribe(price)
    await world.sdk("subscriptions.cancel", canceled.id)
    for subscription, says in (
        (classic, "flexible"),
        (sent, "charge_automatically"),
        (scheduled, "schedule"),
        (canceled, "status of canceled"),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=says):
            await world.sdk("subscriptions.pause", subscription.id)
