"""Payment Links: what they sell, the sessions that they make, when they end; and adaptive pricing."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk
from tests.integration.sandbox.test_sandbox_checkout import complete, price, session


async def opened(raw: Raw, link: Any) -> Any:
    return await raw.control("POST", f"payment_links/{link.id}/open")


async def paid(raw: Raw, made: Any, **body: Any) -> Any:
    return await raw.control("POST", f"checkout_sessions/{made['id']}/complete", body)


async def test_whoever_opens_a_link_gets_a_session_of_their_own(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    link = await sdk(
        "payment_links.create",
        {
            "line_items": [{"price": await price(sdk), "quantity": 2}],
            "metadata": {"campaign": "autumn"},
            "payment_intent_data": {"metadata": {"order": "7"}, "description": "Two shirts"},
            "custom_fields": [
                {
                    "key": "size",
                    "label": {"type": "custom", "custom": "Size"},
                    "type": "text",
                    "optional": True,
                }
            ],
            "after_completion": {"type": "redirect", "redirect": {"url": "https://shop.example/done"}},
            "expand": ["line_items"],
        },
    )
    assert (link.active, link.currency, link.line_items.data[0].amount_total) == (True, "usd", 3000)
    addresses = set()
    async with aiohttp.ClientSession() as customer:
        for _ in range(2):
            async with customer.get(link.url, allow_redirects=False) as answer:
                assert answer.status == 303
                addresses.add(answer.headers["location"])
    assert len(addresses) == 2
    made = await paid(raw, await opened(raw, link))
    assert made["payment_link"] == link.id
    assert (made["amount_total"], made["metadata"]) == (3000, {"campaign": "autumn"})
    assert made["success_url"] == "https://shop.example/done"
    intent = await sdk("payment_intents.retrieve", made["payment_intent"])
    assert (intent.amount, intent.description, intent.metadata["order"]) == (3000, "Two shirts", "7")
    listed = await sdk("checkout.sessions.list", {"payment_link": link.id})
    assert {each.status for each in listed.data} == {"open", "complete"}
    await hooked.until("payment_link.created", "checkout.session.completed")
    assert hooked.of("checkout.session.completed")["data"]["object"]["payment_link"] == link.id


@pytest.mark.parametrize("mode", ["payment", "subscription", "invoice"])
async def test_every_kind_of_link_is_paid(sdk: Sdk, raw: Raw, mode: str) -> None:
    data: dict[str, Any] = {"currency": "usd", "unit_amount": 900, "product_data": {"name": "X"}}
    more: dict[str, Any] = {}
    if mode == "subscription":
        data["recurring"] = {"interval": "month"}
        more = {"subscription_data": {"trial_period_days": 7, "metadata": {"plan": "pro"}}}
    if mode == "invoice":
        more = {"invoice_creation": {"enabled": True}}
    link = await sdk("payment_links.create", {"line_items": [{"price_data": data, "quantity": 1}], **more})
    made = await paid(raw, await opened(raw, link))
    assert (made["status"], made["payment_link"]) == ("complete", link.id)
    assert bool(made["subscription"]) == (mode == "subscription")
    assert bool(made["invoice"]) == (mode != "payment")


async def test_a_link_is_used_up_changed_and_ended(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    limit = {"restrictions": {"completed_sessions": {"limit": 1}}}
    line = {"price": await price(sdk), "quantity": 1}
    link = await sdk("payment_links.create", {"line_items": [line], **limit})
    await paid(raw, await opened(raw, link))
    link = await sdk("payment_links.retrieve", link.id)
    assert link.restrictions.completed_sessions.count == 1
    async with aiohttp.ClientSession() as customer, customer.get(link.url) as answer:
        assert (answer.status, "no longer active" in await answer.text()) == (400, True)
    [item] = (await sdk("payment_links.line_items.list", link.id)).data
    changed = await sdk(
        "payment_links.update",
        link.id,
        {"restrictions": "", "line_items": [{"id": item.id, "quantity": 3}], "metadata": {"a": "b"}},
    )
    assert (changed.restrictions, changed.metadata["a"]) == (None, "b")
    assert (await opened(raw, link))["amount_total"] == 4500
    await sdk("payment_links.update", link.id, {"active": False, "inactive_message": "Sold out"})
    async with aiohttp.ClientSession() as customer, customer.get(link.url) as answer:
        assert "Sold out" in await answer.text()
    assert [each.id for each in (await sdk("payment_links.list", {"active": False})).data] == [link.id]
    assert not (await sdk("payment_links.list", {"active": True})).data
    await hooked.until("payment_link.created", "payment_link.updated", "payment_link.updated")
    assert hooked.of("payment_link.updated")["data"]["previous_attributes"]["active"] is True


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"line_items": []}, "line_items"),
        ({"subscription_data": {"trial_period_days": 7}}, "subscription_data"),
        ({"after_completion": {"type": "redirect"}}, "after_completion[redirect]"),
        ({"automatic_tax": {"enabled": True}}, "automatic_tax[enabled]"),
    ],
)
async def test_what_does_not_go_together_is_refused(sdk: Sdk, params: dict[str, Any], param: str) -> None:
    given = {"line_items": [{"price": await price(sdk), "quantity": 1}], **params}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await sdk("payment_links.create", given)
    assert refused.value.param == param


async def test_a_customer_pays_in_another_currency(sdk: Sdk, raw: Raw) -> None:
    """Everything stays in the session's; what the customer paid is said beside it."""
    await raw.control("POST", "settings", {"exchange_rates": {"usd:eur": "0.9"}})
    made = await session(sdk, [{"price": await price(sdk, 2000), "quantity": 1}])
    await complete(raw, made, presentment_currency="eur")
    done = await sdk("checkout.sessions.retrieve", made.id)
    assert (done.currency, done.amount_total) == ("usd", 2000)
    for shown in (done, await sdk("payment_intents.retrieve", done.payment_intent)):
        details = shown.presentment_details
        assert (details.presentment_amount, details.presentment_currency) == (1800, "eur")
    refund = await sdk("refunds.create", {"payment_intent": done.payment_intent, "amount": 500})
    assert (refund.amount, refund.presentment_details.presentment_amount) == (500, 450)
    charge = await sdk("charges.retrieve", refund.charge)
    assert (charge.currency, charge.presentment_details.presentment_amount) == ("usd", 1800)
    off = await session(
        sdk, [{"price": await price(sdk), "quantity": 1}], adaptive_pricing={"enabled": False}
    )
    for wrong, currency in ((off, "eur"), (made, "gbp")):
        with pytest.raises(AssertionError):
            await complete(raw, wrong, presentment_currency=currency)
