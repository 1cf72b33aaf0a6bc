"""What the events of a subscription and of its customer say: new values, and what was before them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Receiver, listening
from tests.integration.sandbox.world import DAY, World


async def updated(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """The subscription in the newest customer.subscription.updated, and its previous attributes."""
    data = (await world.event("customer.subscription.updated"))["data"]
    return data["object"], data["previous_attributes"]


async def test_an_update_names_the_invoice_that_bills_it(world: World) -> None:
    subscription = await world.subscribe(await world.price(1000))
    first = (await world.get(subscription)).latest_invoice
    await world.advance(32 * DAY)
    renewed = (await world.get(subscription)).latest_invoice
    shown, previous = await updated(world)
    assert renewed != first
    assert (shown["latest_invoice"], previous["latest_invoice"]) == (renewed, first)
    assert set(previous) == {"items", "latest_invoice"}

    item = subscription["items"].data[0].id
    change = {"items": [{"id": item, "quantity": 2}], "proration_behavior": "always_invoice"}
    changed = await world.sdk("subscriptions.update", subscription.id, change)
    shown, previous = await updated(world)
    assert (shown["latest_invoice"], previous["latest_invoice"]) == (changed.latest_invoice, renewed)

    await world.sdk("subscriptions.update", subscription.id, {"description": "Ten seats"})
    assert (await updated(world))[1] == {"description": None}


async def test_what_was_of_an_object_inside_is_only_what_has_changed_of_it(world: World) -> None:
    customer = world.customer
    await world.sdk("customers.update", customer, {"metadata": {"plan": "gold", "seats": "2"}})
    assert (await world.event("customer.updated"))["data"]["previous_attributes"] == {
        "metadata": {"plan": None, "seats": None}
    }
    await world.sdk("customers.update", customer, {"metadata": {"plan": "iron"}, "name": "Ada"})
    was = {"metadata": {"plan": "gold"}, "name": None}
    assert (await world.event("customer.updated"))["data"]["previous_attributes"] == was
    card = await world.pay_with("pm_card_mastercard")
    event = await world.event("customer.updated")
    settings = event["data"]["object"]["invoice_settings"]
    previous = event["data"]["previous_attributes"]["invoice_settings"]
    assert (settings["default_payment_method"], set(previous)) == (card, {"default_payment_method"})


async def test_what_was_is_told_in_the_version_of_the_event(world: World) -> None:
    old = Receiver()
    async with listening(old):
        hook = {"url": old.url, "enabled_events": ["customer.subscription.updated"]}
        await world.sdk("webhook_endpoints.create", {**hook, "api_version": "2024-06-20"})
        subscription = await world.subscribe(await world.price(1000))
        item = subscription["items"].data[0]
        change = {"items": [{"id": item.id, "quantity": 3}], "billing_cycle_anchor": "now"}
        await world.advance(DAY)
        await world.sdk("subscriptions.update", subscription.id, change)
        await old.until("customer.subscription.updated", "customer.subscription.updated")
    previous = old.of("customer.subscription.updated")["data"]["previous_attributes"]
    assert (previous["quantity"], previous["current_period_start"]) == (1, item.current_period_start)
    assert "current_period_start" not in previous["items"]["data"][0]
    assert set(previous["items"]) == {"data"}


async def test_a_pending_update_names_its_invoice(world: World) -> None:
    subscription = await world.subscribe(await world.price(1000))
    await world.advance(10 * DAY)
    await world.pay_with("pm_card_chargeCustomerFail")
    change = {
        "items": [{"id": subscription["items"].data[0].id, "quantity": 2}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "pending_if_incomplete",
    }
    changed = await world.sdk("subscriptions.update", subscription.id, change)
    shown, previous = await updated(world)
    assert previous == {"pending_update": None, "latest_invoice": subscription.latest_invoice}
    assert shown["latest_invoice"] == changed.latest_invoice != subscription.latest_invoice


async def test_a_credit_is_at_the_old_price_and_a_debit_at_the_new(world: World) -> None:
    old, new = await world.price(1000), await world.price(3000)
    subscription = await world.subscribe(old)
    await world.advance(10 * DAY)
    change = {"items": [{"id": subscription["items"].data[0].id, "price": new}]}
    await world.sdk("subscriptions.update", subscription.id, change)
    pending = (await world.sdk("invoice_items.list", {"customer": world.customer, "pending": True})).data
    assert {item.amount < 0: item.pricing.price_details.price for item in pending} == {True: old, False: new}
    await world.advance(22 * DAY)
    lines = (await world.invoices(subscription))[-1].lines.data
    assert [line.pricing.price_details.price for line in lines] == [old, new, new]


async def test_what_paid_becomes_the_default_and_says_so(world: World) -> None:
    subscription = await world.subscribe(
        await world.price(1000),
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.payments"],
    )
    intent = subscription.latest_invoice.payments.data[0].payment.payment_intent
    card = await world.sdk("payment_methods.attach", "pm_card_mastercard", {"customer": world.customer})
    confirming = {"payment_method": card.id, "return_url": "https://example.com"}
    await world.sdk("payment_intents.confirm", intent, confirming)
    shown, previous = await updated(world)
    assert (shown["status"], shown["default_payment_method"]) == ("active", card.id)
    assert previous == {"status": "incomplete", "default_payment_method": None}


async def test_a_customer_who_does_not_pay_is_delinquent_until_he_does(world: World) -> None:
    subscription = await world.subscribe(await world.price(1000))
    await world.pay_with("pm_card_chargeCustomerFail")
    await world.advance(32 * DAY)
    assert (await world.sdk("customers.retrieve", world.customer)).delinquent
    assert (await world.event("customer.updated"))["data"]["previous_attributes"] == {"delinquent": False}
    await world.pay_with("pm_card_visa")
    await world.sdk("invoices.pay", (await world.get(subscription)).latest_invoice)
    assert not (await world.sdk("customers.retrieve", world.customer)).delinquent
    assert (await world.event("customer.updated"))["data"]["previous_attributes"] == {"delinquent": True}


async def test_a_payment_that_somebody_asked_for_makes_nobody_delinquent(world: World) -> None:
    await world.pay_with("pm_card_chargeCustomerFail")
    draft = await world.sdk("invoices.create", {"customer": world.customer, "auto_advance": False})
    item = {"customer": world.customer, "invoice": draft.id, "amount": 900, "currency": "usd"}
    await world.sdk("invoice_items.create", item)
    with pytest.raises(stripe.CardError):
        await world.sdk("invoices.pay", draft.id)
    assert not (await world.sdk("customers.retrieve", world.customer)).delinquent


@pytest.mark.parametrize("on", ["item", "subscription"])
@pytest.mark.parametrize(
    ("duration", "totals"),
    [
        ({"duration": "once"}, [900, 1000, 1000]),
        ({"duration": "repeating", "duration_in_months": 2}, [900, 900, 1000]),
        ({"duration": "forever"}, [900, 900, 900]),
    ],
)
async def test_a_discount_lasts_as_long_as_its_coupon_says(
    world: World, on: str, duration: dict[str, Any], totals: list[int]
) -> None:
    coupon = await world.sdk("coupons.create", {"percent_off": 10, **duration})
    given: dict[str, Any] = {"discounts": [{"coupon": coupon.id}]}
    price = await world.price(1000)
    if on == "item":
        subscription = await world.subscribe(items=[{"price": price, **given}])
    else:
        subscription = await world.subscribe(price, **given)
    await world.advance(31 * DAY + 7200)
    await world.advance(28 * DAY)
    assert [invoice.total for invoice in await world.invoices(subscription)] == totals
    now = await world.get(subscription)
    held = now.discounts + now["items"].data[0].discounts
    assert len(held) == (1 if duration["duration"] == "forever" else 0)
    deleted = await world.types(("customer.discount.deleted",))
    assert len(deleted) == 1 - len(held)


async def test_what_is_detached_is_charged_no_more(world: World) -> None:
    card = await world.pay_with("pm_card_mastercard")
    subscription = await world.subscribe(await world.price(1000), default_payment_method=card)
    await world.sdk("payment_methods.detach", card)
    assert (await world.get(subscription)).default_payment_method is None
    assert (await updated(world))[1] == {"default_payment_method": card}
    customer = await world.sdk("customers.retrieve", world.customer)
    assert customer.invoice_settings.default_payment_method is None
    await world.advance(32 * DAY)
    assert (await world.get(subscription)).status == "past_due"
    assert (await world.invoices(subscription))[-1].attempt_count == 1
    assert "invoice.payment_failed" in await world.types()
    await world.pay_with("pm_card_visa")
    await world.advance(5 * DAY)
    assert (await world.get(subscription)).status == "active"


async def test_what_cannot_be_charged_at_all_fails_when_its_time_comes(world: World) -> None:
    """A debit in dollars, say, for a subscription in euros."""
    subscription = await world.subscribe(await world.price(1000, currency="eur"))
    account = {"routing_number": "110000000", "account_number": "000123456789"}
    bank = {"type": "us_bank_account", "us_bank_account": {**account, "account_holder_type": "company"}}
    method = await world.sdk("payment_methods.create", {**bank, "billing_details": {"name": "Ada"}})
    await world.pay_with(method.id)
    await world.advance(32 * DAY)
    failed = await world.get(subscription)
    assert failed.status == "past_due"
    payments = await world.sdk("invoice_payments.list", {"invoice": failed.latest_invoice})
    intent = await world.sdk("payment_intents.retrieve", payments.data[0].payment.payment_intent)
    assert intent.status == "requires_payment_method"


@pytest.mark.parametrize("change", [{"cancel_at_period_end": True}, {"cancel_at": 1_740_000_000}])
async def test_a_schedule_decides_when_its_subscription_ends(world: World, change: dict[str, Any]) -> None:
    subscription = await world.subscribe(await world.price(1000))
    schedule = await world.sdk("subscription_schedules.create", {"from_subscription": subscription.id})
    with pytest.raises(stripe.InvalidRequestError, match=f"the subscription schedule `{schedule.id}`"):
        await world.sdk("subscriptions.update", subscription.id, change)
    await world.sdk("subscriptions.update", subscription.id, {"metadata": {"a": "b"}})
    await world.sdk("subscription_schedules.release", schedule.id)
    assert (await world.sdk("subscriptions.update", subscription.id, change)).cancel_at
