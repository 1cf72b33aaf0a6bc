"""Test clocks and billing meters over the API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw, Sdk

START = 1_735_689_600  # 2025-01-01
DAY = 86_400


async def _clock(sdk: Sdk) -> Any:
    return await sdk("test_helpers.test_clocks.create", {"frozen_time": START, "name": "mine"})


async def test_a_clock_is_advanced_later_and_only_forward(sdk: Sdk, raw: Raw) -> None:
    clock = await _clock(sdk)
    assert (clock.status, clock.frozen_time, clock.name) == ("ready", START, "mine")
    assert clock.deletes_after == clock.created + 30 * DAY
    moved = await sdk("test_helpers.test_clocks.advance", clock.id, {"frozen_time": START + DAY})
    assert (moved.status, moved.frozen_time) == ("advancing", START)
    assert moved.status_details.advancing.target_frozen_time == START + DAY
    await asyncio.sleep(0.05)
    ready = await sdk("test_helpers.test_clocks.retrieve", clock.id)
    assert (ready.status, ready.frozen_time) == ("ready", START + DAY)
    for wrong in (START, START + DAY, START + 3 * 366 * DAY):
        with pytest.raises(stripe.InvalidRequestError, match="advance time"):
            await sdk("test_helpers.test_clocks.advance", clock.id, {"frozen_time": wrong})
    assert [item.id for item in (await sdk("test_helpers.test_clocks.list", {})).data] == [clock.id]
    assert (await sdk("test_helpers.test_clocks.delete", clock.id)).deleted
    assert (await sdk("test_helpers.test_clocks.retrieve", clock.id)).deleted
    _, events, _ = await raw("GET", "/v1/events")
    assert [event["type"].rpartition(".")[2] for event in reversed(events["data"])] == [
        "created",
        "advancing",
        "ready",
        "deleted",
    ]


async def test_two_intervals_of_the_shortest_subscription_at_most(sdk: Sdk) -> None:
    clock = await _clock(sdk)
    customer = await sdk("customers.create", {"test_clock": clock.id})
    product = await sdk("products.create", {"name": "Seat"})
    recurring = {"interval": "week"}
    price = await sdk(
        "prices.create",
        {"product": product.id, "currency": "usd", "unit_amount": 100, "recurring": recurring},
    )
    await sdk(
        "subscriptions.create",
        {"customer": customer.id, "items": [{"price": price.id}], "trial_period_days": 90},
    )
    with pytest.raises(stripe.InvalidRequestError, match="two intervals"):
        await sdk("test_helpers.test_clocks.advance", clock.id, {"frozen_time": START + 15 * DAY})
    await sdk("test_helpers.test_clocks.advance", clock.id, {"frozen_time": START + 14 * DAY})


async def test_customers_live_in_their_clocks_time_and_payments_do_not(sdk: Sdk) -> None:
    clock = await _clock(sdk)
    customer = await sdk("customers.create", {"test_clock": clock.id, "email": "ada@example.com"})
    assert (customer.created, customer.test_clock) == (START, clock.id)
    assert not (await sdk("customers.list", {})).data
    assert [item.id for item in (await sdk("customers.list", {"test_clock": clock.id})).data] == [customer.id]
    intent = await sdk("payment_intents.create", {"amount": 500, "currency": "usd", "customer": customer.id})
    assert intent.created > START + DAY
    with pytest.raises(stripe.InvalidRequestError, match="No such test clock"):
        await sdk("customers.create", {"test_clock": "clock_none"})
    attached = await sdk("customers.create", {})
    other = await sdk("test_helpers.test_clocks.create", {"frozen_time": START, "customer": attached.id})
    assert (await sdk("customers.retrieve", attached.id)).test_clock == other.id


METER: dict[str, Any] = {
    "display_name": "Calls",
    "event_name": "calls",
    "default_aggregation": {"formula": "sum"},
}


async def test_a_meter_its_life(sdk: Sdk) -> None:
    meter = await sdk("billing.meters.create", METER)
    assert meter.customer_mapping.event_payload_key == "stripe_customer_id"
    with pytest.raises(stripe.InvalidRequestError, match="already an active meter"):
        await sdk("billing.meters.create", METER)
    renamed = await sdk("billing.meters.update", meter.id, {"display_name": "API calls"})
    assert renamed.display_name == "API calls"
    stopped = await sdk("billing.meters.deactivate", meter.id)
    assert (stopped.status, stopped.status_transitions.deactivated_at) == ("inactive", stopped.updated)
    other = await sdk("billing.meters.create", METER)
    with pytest.raises(stripe.InvalidRequestError, match="already an active meter"):
        await sdk("billing.meters.reactivate", meter.id)
    await sdk("billing.meters.deactivate", other.id)
    assert (await sdk("billing.meters.reactivate", meter.id)).status == "active"
    assert [item.id for item in (await sdk("billing.meters.list", {"status": "active"})).data] == [meter.id]
    assert (await sdk("billing.meters.retrieve", meter.id)).id == meter.id


async def test_usage_adds_up_and_can_be_taken_back(sdk: Sdk) -> None:
    clock = await _clock(sdk)
    customer = await sdk("customers.create", {"test_clock": clock.id})
    meter = await sdk("billing.meters.create", METER)
    usage = [("3", -2 * DAY), ("2.5", -DAY), ("4", -3600)]
    for value, ago in usage:
        event = await sdk(
            "billing.meter_events.create",
            {
                "event_name": "calls",
                "identifier": f"id-{value}",
                "payload": {"stripe_customer_id": customer.id, "value": value},
                "timestamp": START + ago,
            },
        )
        assert event.payload["value"] == value
    span = {"customer": customer.id, "start_time": START - 5 * DAY, "end_time": START}
    total = await sdk("billing.meters.event_summaries.list", meter.id, span)
    assert [item.aggregated_value for item in total.data] == [9.5]
    daily = await sdk(
        "billing.meters.event_summaries.list", meter.id, {**span, "value_grouping_window": "day"}
    )
    assert [item.aggregated_value for item in daily.data] == [6.5, 3]
    await sdk(
        "billing.meter_event_adjustments.create",
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "id-3"}},
    )
    total = await sdk("billing.meters.event_summaries.list", meter.id, span)
    assert [item.aggregated_value for item in total.data] == [6.5]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"event_name": "other"}, "event_name"),
        ({"payload": {"value": "1"}}, "payload[stripe_customer_id]"),
        ({"payload": {"stripe_customer_id": "cus_none", "value": "1"}}, "payload[stripe_customer_id]"),
        ({"value": "much"}, "payload[value]"),
        ({"timestamp": 1_000_000}, "timestamp"),
        ({"identifier": "twice"}, "identifier"),
    ],
)
async def test_usage_that_is_refused(sdk: Sdk, change: dict[str, Any], param: str) -> None:
    customer = await sdk("customers.create", {})
    await sdk("billing.meters.create", METER)
    payload = {"stripe_customer_id": customer.id, "value": change.get("value", "1")}
    event = {"event_name": "calls", "payload": payload}
    change = {name: value for name, value in change.items() if name != "value"}
    if change.get("identifier"):
        await sdk("billing.meter_events.create", {**event, "identifier": "twice"})
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await sdk("billing.meter_events.create", {**event, **change})
    assert refusal.value.param == param
