"""Previews of invoices: of the subscription that renews first, and of schedules."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.world import DAY, START, World

MONTH: dict[str, Any] = {"duration": {"interval": "month", "interval_count": 1}}


async def preview(world: World, **params: Any) -> Any:
    return await world.sdk("invoices.create_preview", params)


async def test_a_customers_next_invoice_is_of_what_renews_first(world: World) -> None:
    await world.subscribe(await world.price(9000, recurring={"interval": "year"}))
    monthly = await world.subscribe(await world.price(1000))
    found = await preview(world, customer=world.customer)
    assert (found.total, found.billing_reason) == (1000, "subscription_cycle")
    assert found.parent.subscription_details.subscription == monthly.id
    await world.sdk("subscriptions.update", monthly.id, {"cancel_at_period_end": True})
    assert (await preview(world, customer=world.customer)).total == 9000


async def test_nobody_has_nothing_to_come(world: World) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await preview(world, customer=world.customer)
    assert (refused.value.http_status, refused.value.code) == (404, "invoice_upcoming_none")


async def test_what_is_to_come_is_at_the_price_of_the_phase_to_come(world: World) -> None:
    old, new = await world.price(1000), await world.price(3000)
    subscription = await world.subscribe(old)
    schedule = await world.sdk("subscription_schedules.create", {"from_subscription": subscription.id})
    now = schedule.phases[0]
    phases = [
        {"items": [{"price": old}], "start_date": now.start_date, "end_date": now.end_date},
        {"items": [{"price": new}], **MONTH},
    ]
    await world.sdk("subscription_schedules.update", schedule.id, {"phases": phases})
    assert (await preview(world, subscription=subscription.id)).total == 3000
    assert (await preview(world, schedule=schedule.id)).total == 3000
    await world.advance(25 * DAY)
    assert (await world.event("invoice.upcoming"))["data"]["object"]["total"] == 3000
    assert (await world.get(subscription))["items"].data[0].price.id == old  # nothing was kept
    await world.advance(7 * DAY)
    assert (await world.invoices(subscription))[-1].total == 3000


async def test_a_schedule_that_ends_its_subscription_has_nothing_to_come(world: World) -> None:
    price = await world.price(1000)
    subscription = await world.subscribe(price)
    schedule = await world.sdk("subscription_schedules.create", {"from_subscription": subscription.id})
    await world.sdk("subscription_schedules.update", schedule.id, {"end_behavior": "cancel"})
    with pytest.raises(stripe.InvalidRequestError, match="No upcoming invoices"):
        await preview(world, subscription=subscription.id)
    assert (await world.get(subscription)).status == "active"


async def test_a_schedule_that_has_not_begun(world: World) -> None:
    price = await world.price(1000)
    params = {"customer": world.customer, "start_date": START + 5 * DAY}
    phases = [{"items": [{"price": price, "quantity": 2}], **MONTH}]
    schedule = await world.sdk("subscription_schedules.create", {**params, "phases": phases})
    found = await preview(world, schedule=schedule.id)
    assert (found.total, found.billing_reason) == (2000, "subscription_create")
    assert found.lines.data[0].period.start == START + 5 * DAY
    more = {"phases": [{"items": [{"price": price, "quantity": 7}], **MONTH}]}
    assert (await preview(world, schedule=schedule.id, schedule_details=more)).total == 7000
    kept = await world.sdk("subscription_schedules.retrieve", schedule.id)
    assert (kept.status, kept.phases[0]["items"][0].quantity) == ("not_started", 2)


async def test_a_schedule_that_is_not_there_yet(world: World) -> None:
    phases = [{"items": [{"price": await world.price(1500)}], **MONTH}]
    items = [{"amount": 400, "currency": "usd", "description": "Setup"}]
    details = {"phases": phases}
    found = await preview(world, customer=world.customer, schedule_details=details, invoice_items=items)
    assert found.total == 1900
    assert (await world.sdk("subscription_schedules.list", {"customer": world.customer})).data == []
    with pytest.raises(stripe.InvalidRequestError, match="phases"):
        await preview(world, customer=world.customer, schedule_details={"end_behavior": "cancel"})


async def test_a_schedule_keeps_the_taxes_and_discounts_of_its_subscription(world: World) -> None:
    rate = await world.sdk("tax_rates.create", {"display_name": "VAT", "inclusive": False, "percentage": 20})
    coupon = await world.sdk("coupons.create", {"percent_off": 50, "duration": "forever"})
    subscription = await world.subscribe(
        await world.price(1000), default_tax_rates=[rate.id], discounts=[{"coupon": coupon.id}]
    )
    schedule = await world.sdk("subscription_schedules.create", {"from_subscription": subscription.id})
    phase = schedule.phases[0]
    assert [held.id for held in phase.default_tax_rates] == [rate.id]
    assert [held.discount for held in phase.discounts] == subscription.discounts
    assert (await preview(world, subscription=subscription.id)).total == 600
