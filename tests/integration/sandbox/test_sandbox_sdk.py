"""The unmodified SDK, through every resource, over each of its transports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import TRANSPORTS, Raw, Sdk

from tallystick.sandbox.server import RunningSandbox

PAY = {"amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
NO_REDIRECT: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


@pytest.fixture(params=TRANSPORTS)
async def any_sdk(box: RunningSandbox, request: pytest.FixtureRequest) -> AsyncIterator[Sdk]:
    client = Sdk(box.url, request.param, max_network_retries=2)
    yield client
    await client.close()


async def test_customers_and_payment_methods(any_sdk: Sdk) -> None:
    customer = await any_sdk(
        "customers.create",
        {
            "email": "ada@example.com",
            "name": "Ada",
            "metadata": {"a": "1", "b": "2"},
            "address": {"line1": "1 Street", "country": "US"},
        },
    )
    assert customer.address.city is None
    changed = await any_sdk("customers.update", customer.id, {"name": "", "metadata": {"a": ""}})
    assert changed.name is None
    assert changed.metadata.to_dict() == {"b": "2"}

    magic = await any_sdk("payment_methods.attach", "pm_card_visa", {"customer": customer.id})
    card = {"number": "4000056655665556", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    made = await any_sdk(
        "payment_methods.create",
        {"type": "card", "card": card, "billing_details": {"name": "Ada"}},
    )
    assert (made.card.last4, made.card.funding, made.customer) == ("5556", "debit", None)
    token = await any_sdk("payment_methods.create", {"type": "card", "card": {"token": "tok_mastercard"}})
    assert token.card.brand == "mastercard"
    await any_sdk("payment_methods.attach", made.id, {"customer": customer.id})
    listed = await any_sdk("payment_methods.list", {"customer": customer.id, "type": "card"})
    assert [item.id for item in listed.data] == [made.id, magic.id]
    nested = await any_sdk("customers.payment_methods.list", customer.id)
    assert len(nested.data) == 2
    detached = await any_sdk("payment_methods.detach", made.id)
    assert detached.customer is None

    await any_sdk("customers.update", customer.id, {"invoice_settings": {"default_payment_method": magic.id}})
    expanded = await any_sdk(
        "customers.retrieve",
        customer.id,
        {"expand": ["invoice_settings.default_payment_method", "tax", "sources"]},
    )
    assert expanded.invoice_settings.default_payment_method.id == magic.id
    assert [item.id for item in (await any_sdk("customers.list", {"email": "ada@example.com"})).data] == [
        customer.id
    ]
    assert (await any_sdk("customers.delete", customer.id)).deleted
    assert (await any_sdk("customers.retrieve", customer.id)).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        await any_sdk("customers.update", customer.id, {"name": "x"})


async def test_payments_refunds_and_balance(any_sdk: Sdk, raw: Raw) -> None:
    intent = await any_sdk(
        "payment_intents.create",
        {**PAY, **NO_REDIRECT, "metadata": {"order": "7"}, "expand": ["latest_charge", "payment_method"]},
    )
    charge = intent.latest_charge
    assert (intent.status, charge.captured, charge.balance_transaction) == ("succeeded", True, None)
    assert charge.metadata["order"] == "7"
    assert intent.payment_method.card.last4 == "4242"
    assert intent.id[3:19] == charge.id[3:19]

    assert (await raw.control("POST", "settle"))["settled"] == 1
    charge = await any_sdk("charges.retrieve", charge.id, {"expand": ["balance_transaction"]})
    assert (charge.balance_transaction.fee, charge.balance_transaction.net) == (88, 1912)
    assert (await any_sdk("charges.update", charge.id, {"metadata": {"seen": "yes"}})).metadata.to_dict() == {
        "order": "7",
        "seen": "yes",
    }

    refund = await any_sdk("refunds.create", {"payment_intent": intent.id, "amount": 500})
    assert (await any_sdk("refunds.update", refund.id, {"metadata": {"why": "late"}})).metadata.why == "late"
    assert (await any_sdk("refunds.retrieve", refund.id)).balance_transaction
    assert [item.id for item in (await any_sdk("refunds.list", {"charge": charge.id})).data] == [refund.id]
    expanded = await any_sdk("charges.retrieve", charge.id, {"expand": ["refunds.data.balance_transaction"]})
    assert expanded.refunds.data[0].balance_transaction.amount == -500

    txns = await any_sdk("balance_transactions.list", {"expand": ["data.source"]})
    assert [(item.type, item.source.id) for item in txns.data] == [
        ("refund", refund.id),
        ("charge", charge.id),
    ]
    one = await any_sdk("balance_transactions.retrieve", txns.data[0].id)
    assert one.net == -500
    for filters in ({"type": "refund"}, {"source": refund.id}, {"currency": "usd", "type": "refund"}):
        found = await any_sdk("balance_transactions.list", filters)
        assert [item.id for item in found.data] == [one.id]
    assert not (await any_sdk("balance_transactions.list", {"created": {"gt": one.created + 5}})).data
    assert len((await any_sdk("balance_transactions.list", {"created": {"gte": one.created - 5}})).data) == 2

    balance = await any_sdk("balance.retrieve")
    assert [(item.amount, item.currency) for item in balance.pending] == [(1412, "usd")]
    assert (await any_sdk("charges.list", {"payment_intent": intent.id})).data[0].id == charge.id
    updated = await any_sdk("payment_intents.update", intent.id, {"description": "Books"})
    assert updated.description == "Books"
    assert (await any_sdk("payment_intents.retrieve", intent.id)).amount_received == 2000


async def test_the_rest_of_the_surface(any_sdk: Sdk) -> None:
    assert (await any_sdk("accounts.retrieve_current")).charges_enabled
    assert not (await any_sdk("invoice_payments.list", {"payment": {"type": "payment_intent"}})).data
    assert not (await any_sdk("checkout.sessions.list", {"payment_intent": "pi_1"})).data
    endpoint = await any_sdk(
        "webhook_endpoints.create",
        {"url": "http://127.0.0.1:9/none", "enabled_events": ["charge.failed"], "description": "Nine"},
    )
    assert endpoint.secret.startswith("whsec_")
    assert not hasattr(await any_sdk("webhook_endpoints.retrieve", endpoint.id), "secret")
    changed = await any_sdk("webhook_endpoints.update", endpoint.id, {"disabled": True})
    assert changed.status == "disabled"
    assert len((await any_sdk("webhook_endpoints.list")).data) == 1
    assert (await any_sdk("webhook_endpoints.delete", endpoint.id)).deleted

    intent = await any_sdk("payment_intents.create", {"amount": 2000, "currency": "usd"})
    assert intent.status == "requires_payment_method"
    await any_sdk("payment_intents.cancel", intent.id, {"cancellation_reason": "abandoned"})
    events = await any_sdk("events.list", {"types": ["payment_intent.created", "payment_intent.canceled"]})
    assert [item.type for item in events.data] == ["payment_intent.canceled", "payment_intent.created"]
    assert (await any_sdk("events.retrieve", events.data[0].id)).request.id
    assert len((await any_sdk("events.list", {"type": "payment_intent.*"})).data) == 2


async def test_pages(any_sdk: Sdk) -> None:
    made = [
        (await any_sdk("payment_intents.create", {"amount": 1000 + number, "currency": "usd"})).id
        for number in range(7)
    ]
    assert [item.id for item in await any_sdk.everything("payment_intents.list", {"limit": 3})] == made[::-1]
    page = await any_sdk("payment_intents.list", {"limit": 2, "ending_before": made[2]})
    assert ([item.id for item in page.data], page.has_more) == ([made[4], made[3]], True)
    back = await any_sdk.everything("payment_intents.list", {"limit": 2, "ending_before": made[0]})
    assert sorted(item.id for item in back) == sorted(made[1:])
    page = await any_sdk("payment_intents.list", {"limit": 2, "starting_after": made[1]})
    assert ([item.id for item in page.data], page.has_more) == ([made[0]], False)


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "status": 500},
        {"action": "status", "status": 500, "when": "after"},
        {"action": "status", "status": 409, "code": "lock_timeout"},
        {"action": "status", "status": 429, "code": "lock_timeout", "should_retry": True},
        {"action": "cut", "when": "after"},
        {"action": "cut", "when": "before"},
    ],
)
async def test_a_retried_request_pays_once(any_sdk: Sdk, raw: Raw, fault: dict[str, Any]) -> None:
    await raw.control("POST", "faults", {**fault, "method": "POST", "path": "/v1/payment_intents"})
    intent = await any_sdk("payment_intents.create", {**PAY, **NO_REDIRECT})
    assert intent.status == "succeeded"
    state = await raw.control("GET", "state")
    assert (state["objects"]["payment_intent"], state["objects"]["charge"]) == (1, 1)
    assert (await raw.control("GET", "faults"))["faults"][0]["struck"] == 1
