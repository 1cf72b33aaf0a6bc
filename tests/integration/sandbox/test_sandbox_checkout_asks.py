"""What a Checkout Session asks beside the payment: ways to ship, fields of the merchant's own, consent."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk
from tests.integration.sandbox.test_sandbox_checkout import complete, session

MUG: list[Any] = [
    {
        "price_data": {"currency": "usd", "product_data": {"name": "Mug"}, "unit_amount": 1500},
        "quantity": 2,
    }
]
FAST: dict[str, Any] = {
    "display_name": "By tomorrow",
    "type": "fixed_amount",
    "fixed_amount": {"amount": 900, "currency": "usd"},
    "delivery_estimate": {"maximum": {"unit": "business_day", "value": 1}},
}
FIELDS: list[Any] = [
    {"key": "engraving", "label": {"type": "custom", "custom": "Engraving"}, "type": "text"},
    {
        "key": "size",
        "label": {"type": "custom", "custom": "Size"},
        "type": "dropdown",
        "dropdown": {"options": [{"label": "Small", "value": "s"}, {"label": "Large", "value": "l"}]},
    },
    {
        "key": "floor",
        "label": {"type": "custom", "custom": "Floor"},
        "type": "numeric",
        "optional": True,
        "numeric": {"maximum_length": 2},
    },
]


async def slow(sdk: Sdk) -> Any:
    given = {"display_name": "By next week", "fixed_amount": {"amount": 300, "currency": "usd"}}
    return await sdk("shipping_rates.create", {**given, "metadata": {"by": "bike"}})


async def test_shipping_rates(sdk: Sdk) -> None:
    rate = await slow(sdk)
    assert (rate.type, rate.fixed_amount.amount, rate.active) == ("fixed_amount", 300, True)
    other = await sdk("shipping_rates.create", {**FAST, "fixed_amount": {"amount": 5, "currency": "eur"}})
    shown = await sdk("shipping_rates.list", {"currency": "usd"})
    assert [item.id for item in shown.data] == [rate.id]
    await sdk("shipping_rates.update", other.id, {"active": False, "metadata": {"a": "1"}})
    assert [item.id for item in (await sdk("shipping_rates.list", {"active": False})).data] == [other.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("shipping_rates.create", {"display_name": "For nothing"})
    assert caught.value.code == "parameter_missing"
    for given in (other.id, "shr_none"):
        with pytest.raises(stripe.InvalidRequestError):
            await session(sdk, MUG, shipping_options=[{"shipping_rate": given}])


async def test_the_customer_chooses_how_to_ship(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    rate = await slow(sdk)
    options = [{"shipping_rate": rate.id}, {"shipping_rate_data": FAST}]
    made = await session(sdk, MUG, shipping_options=options, expand=["shipping_cost.shipping_rate"])
    assert (made.amount_subtotal, made.amount_total, made.total_details.amount_shipping) == (3000, 3300, 300)
    assert made.shipping_cost.shipping_rate.display_name == "By next week"
    fast = made.shipping_options[1]
    assert fast.shipping_amount == 900
    with pytest.raises(AssertionError, match="does not offer"):
        await complete(raw, made, shipping_rate="shr_none")
    done = await complete(raw, made, shipping_rate=fast.shipping_rate)
    assert (done["amount_total"], done["shipping_cost"]["amount_total"]) == (3900, 900)
    intent = await sdk("payment_intents.retrieve", done["payment_intent"])
    assert (intent.amount_received, intent.status) == (3900, "succeeded")
    await hooked.until("checkout.session.completed")
    told = hooked.of("checkout.session.completed")["data"]["object"]
    assert told["total_details"]["amount_shipping"] == 900


async def test_another_way_after_a_decline(sdk: Sdk, raw: Raw) -> None:
    """A further attempt takes the same PaymentIntent, at the new amount."""
    options = [{"shipping_rate": (await slow(sdk)).id}, {"shipping_rate_data": FAST}]
    made = await session(sdk, MUG, shipping_options=options)
    with pytest.raises(AssertionError, match="declined"):
        await complete(raw, made, payment_method="pm_card_chargeDeclined")
    done = await complete(raw, made, shipping_rate=made.shipping_options[1].shipping_rate)
    intents = (await sdk("payment_intents.list")).data
    assert [(intent.id, intent.amount_received) for intent in intents] == [(done["payment_intent"], 3900)]


async def test_other_ways_to_ship(sdk: Sdk, raw: Raw) -> None:
    made = await session(sdk, MUG, shipping_options=[{"shipping_rate_data": FAST}])
    changed = await sdk(
        "checkout.sessions.update",
        made.id,
        {"shipping_options": [{"shipping_rate": (await slow(sdk)).id}]},
    )
    assert (changed.amount_total, len(changed.shipping_options)) == (3300, 1)
    assert (await sdk("checkout.sessions.update", made.id, {"shipping_options": ""})).amount_total == 3000
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await session(
            sdk, None, mode="setup", currency="usd", shipping_options=[{"shipping_rate_data": FAST}]
        )
    assert caught.value.param == "shipping_options"


async def test_shipping_on_the_invoice(sdk: Sdk, raw: Raw) -> None:
    options = [{"shipping_rate_data": FAST}]
    made = await session(sdk, MUG, shipping_options=options, invoice_creation={"enabled": True})
    done = await complete(raw, made)
    invoice = await sdk("invoices.retrieve", done["invoice"])
    assert (invoice.status, invoice.amount_paid, invoice.shipping_cost.amount_total) == ("paid", 3900, 900)


async def test_the_page_asks(sdk: Sdk, raw: Raw) -> None:
    options = [{"shipping_rate": (await slow(sdk)).id}, {"shipping_rate_data": FAST}]
    made = await session(sdk, MUG, shipping_options=options, custom_fields=FIELDS)
    card = {"method": "card", "card_number": "4242424242424242", "expiry": "12/40"}
    async with aiohttp.ClientSession() as browser:
        async with browser.get(made.url) as shown:
            page = await shown.text()
        assert all(text in page for text in ("By tomorrow", "Engraving", "Large", "33.00 USD"))
        for entered, wrong in (
            ({"custom_size": "l"}, "Engraving is required"),
            ({"custom_engraving": "A", "custom_size": "xl"}, "xl does not fit"),
            ({"custom_engraving": "A", "custom_size": "l", "custom_floor": "third"}, "third does not fit"),
        ):
            async with browser.post(made.url, data={**card, **entered}) as shown:
                assert wrong in await shown.text()
        entered = {"custom_engraving": "A", "custom_size": "l"}
        entered["shipping_rate"] = made.shipping_options[1].shipping_rate
        async with browser.post(made.url, data={**card, **entered}, allow_redirects=False) as gone:
            assert gone.status == 303
    done = await sdk("checkout.sessions.retrieve", made.id)
    assert (done.status, done.amount_total) == ("complete", 3900)
    engraving, size, floor = done.custom_fields
    assert (engraving.text.value, size.dropdown.value, floor.numeric.value) == ("A", "l", None)


async def test_fields_and_consent_by_control(sdk: Sdk, raw: Raw) -> None:
    made = await session(
        sdk,
        MUG,
        custom_fields=FIELDS,
        consent_collection={"terms_of_service": "required"},
        tax_id_collection={"enabled": True},
    )
    assert (made.consent, made.consent_collection.terms_of_service) == (None, "required")
    assert (made.tax_id_collection.enabled, made.tax_id_collection.required) == (True, "never")
    done = await complete(raw, made)
    assert done["consent"]["terms_of_service"] == "accepted"
    values = [field[field["type"]]["value"] for field in done["custom_fields"]]
    assert values == ["x", "s", None]
    other = await session(sdk, MUG, custom_fields=FIELDS)
    done = await complete(raw, other, custom_fields={"engraving": "B", "size": "l", "floor": "12"})
    assert [field[field["type"]]["value"] for field in done["custom_fields"]] == ["B", "l", "12"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([*FIELDS, {**FIELDS[0], "key": "four"}], "custom_fields"),
        ([FIELDS[0], FIELDS[0]], "custom_fields[0][key]"),
        ([{**FIELDS[0], "key": "a b"}], "custom_fields[0][key]"),
        ([{**FIELDS[0], "type": "dropdown"}], "custom_fields[0][dropdown]"),
    ],
)
async def test_fields_that_are_none(sdk: Sdk, fields: list[Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await session(sdk, MUG, custom_fields=fields)
    assert caught.value.param == param
