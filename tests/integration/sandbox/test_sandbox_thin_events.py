"""Event destinations and thin events: the v2 API, as the SDK speaks it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import TRANSPORTS, Raw, Receiver, Sdk, listening

DESTINATION: dict[str, Any] = {
    "name": "ours",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["v1.customer.created", "v1.payment_intent.created"],
    "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
}


async def destination(sdk: Sdk, url: str, **params: Any) -> Any:
    given = {**DESTINATION, "webhook_endpoint": {"url": url}, **params}
    return await sdk("v2.core.event_destinations.create", given)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_notification_leads_to_its_event_and_its_object(raw: Raw, transport: str) -> None:
    sdk, receiver = Sdk(raw.url, transport), Receiver()
    async with listening(receiver):
        made = await destination(sdk, receiver.url)
        intent = await sdk("payment_intents.create", {"amount": 2000, "currency": "usd"})
        await receiver.until("v1.payment_intent.created")
        (item,) = receiver.received
    secret = made.webhook_endpoint.signing_secret
    told: Any = sdk.client.parse_event_notification(item.body, item.signature, secret)
    assert (told.type, told.related_object.id) == ("v1.payment_intent.created", intent.id)
    assert told.reason.request.id == intent.last_response.request_id
    with pytest.raises(stripe.SignatureVerificationError):
        sdk.client.parse_event_notification(item.body, item.signature, "whsec_other")
    with pytest.raises(ValueError, match="thin event"):
        stripe.Webhook.construct_event(item.body, item.signature, secret)
    if transport == "requests":
        event = await asyncio.to_thread(told.fetch_event)
        related = await asyncio.to_thread(told.fetch_related_object)
    else:
        event = await told.fetch_event_async()
        related = await told.fetch_related_object_async()
    assert (event.id, event.type) == (told.id, told.type)
    assert type(related) is stripe.PaymentIntent
    assert (related.id, related.amount) == (intent.id, 2000)
    snapshot = await sdk("events.retrieve", event.snapshot_event)
    assert (snapshot.type, snapshot.data.object.id) == ("payment_intent.created", intent.id)
    await sdk.close()


async def test_a_destination_lives(raw: Raw, sdk: Sdk, receiver: Receiver) -> None:
    made = await destination(sdk, receiver.url, description="a", metadata={"a": "1", "b": "2"})
    assert made.webhook_endpoint.url == receiver.url
    assert made.webhook_endpoint.signing_secret.startswith("whsec_")
    found = await sdk("v2.core.event_destinations.retrieve", made.id)
    assert "url" not in found.webhook_endpoint
    assert (found.status, found.name, found.metadata.to_dict()) == ("enabled", "ours", {"a": "1", "b": "2"})
    change = {"name": "theirs", "enabled_events": ["*"], "metadata": {"a": None}}
    changed = await sdk("v2.core.event_destinations.update", made.id, change)
    assert (changed.name, changed.enabled_events) == ("theirs", ["*"])
    assert changed.metadata.to_dict() == {"b": "2"}

    off = await sdk("v2.core.event_destinations.disable", made.id)
    assert (off.status, off.status_details.disabled.reason) == ("disabled", "user")
    await sdk("customers.create", {})
    on = await sdk("v2.core.event_destinations.enable", made.id)
    assert (on.status, "status_details" in on) == ("enabled", False)
    pinged = await sdk("v2.core.event_destinations.ping", made.id)
    await receiver.until("v2.core.event_destination.ping")
    assert receiver.types == ["v2.core.event_destination.ping"]
    assert (await sdk("v2.core.events.retrieve", pinged.id)).related_object.id == made.id

    gone = await sdk("v2.core.event_destinations.delete", made.id)
    assert gone.id == made.id
    status, error, _ = await raw("GET", f"/v2/core/event_destinations/{made.id}")
    assert (status, error["error"]["code"]) == (404, "not_found")


async def test_a_snapshot_destination_in_its_version(sdk: Sdk) -> None:
    receiver = Receiver()
    async with listening(receiver):
        made = await destination(
            sdk,
            receiver.url,
            event_payload="snapshot",
            enabled_events=["payment_intent.created"],
            snapshot_api_version="2022-08-01",
        )
        await sdk("payment_intents.create", {"amount": 2000, "currency": "usd"})
        await sdk("customers.create", {})
        await receiver.until("payment_intent.created")
    (item,) = receiver.received
    event = stripe.Webhook.construct_event(item.body, item.signature, made.webhook_endpoint.signing_secret)
    assert event.api_version == "2022-08-01"
    assert event.data.object["charges"]["data"] == []


async def test_events_are_listed_in_pages(raw: Raw, sdk: Sdk) -> None:
    customers = [(await sdk("customers.create", {})).id for _ in range(7)]
    await sdk("customers.update", customers[0], {"name": "A"})
    first = await sdk("v2.core.events.list", {"limit": 3})
    assert first.data[0].type == "v1.customer.updated"
    everything = await sdk.everything("v2.core.events.list", {"limit": 3})
    assert len(everything) == 8
    assert [event.related_object.id for event in everything[1:]] == customers[::-1]
    about = await sdk("v2.core.events.list", {"object_id": customers[0]})
    assert [event.type for event in about.data] == ["v1.customer.updated", "v1.customer.created"]
    assert about.next_page_url is None
    typed = await sdk("v2.core.events.list", {"types": ["v1.customer.updated"]})
    assert [event.id for event in typed.data] == [everything[0].id]

    _, page, _ = await raw("GET", "/v2/core/events?limit=3")
    _, second, _ = await raw("GET", page["next_page_url"])
    _, back, _ = await raw("GET", second["previous_page_url"])
    assert [event["id"] for event in back["data"]] == [event["id"] for event in page["data"]]
    created = page["data"][0]["created"]
    _, found, _ = await raw("GET", f"/v2/core/events?created[gt]={created}")
    assert found["data"] == []
    _, none, _ = await raw("GET", "/v2/core/events?created[lt]=2020-01-01T00:00:00Z")
    assert none["data"] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nonsense": 1}, "unknown parameter: nonsense"),
        ({"name": None}, "name"),
        ({"event_payload": "fat"}, "event_payload"),
        ({"type": "amazon_eventbridge"}, "use webhook_endpoint"),
        ({"enabled_events": []}, "at least one"),
        ({"enabled_events": ["charge.succeeded"]}, "v1.charge.succeeded"),
        ({"webhook_endpoint": {"url": "nowhere"}}, "URL"),
        ({"snapshot_api_version": "2024-06-20"}, "snapshot payloads only"),
        ({"events_from": ["@accounts"]}, "@self"),
        ({"metadata": {"a": 1}}, "metadata"),
    ],
)
async def test_what_a_destination_cannot_be(raw: Raw, change: dict[str, Any], says: str) -> None:
    body = {**DESTINATION, "webhook_endpoint": {"url": "http://127.0.0.1:9/"}, **change}
    headers = {"Content-Type": "application/json"}
    status, error, _ = await raw("POST", "/v2/core/event_destinations", json.dumps(body), headers=headers)
    assert status == 400
    assert says in error["error"]["message"]
    assert set(error["error"]) == {"code", "message", "type"}


async def test_keys_of_idempotency_hold_in_v2(raw: Raw, sdk: Sdk) -> None:
    given = {**DESTINATION, "webhook_endpoint": {"url": "http://127.0.0.1:9/"}}
    key = {"idempotency_key": "once"}
    made = [await sdk("v2.core.event_destinations.create", given, **key) for _ in range(2)]
    assert made[0].id == made[1].id
    with pytest.raises(stripe.IdempotencyError):
        await sdk("v2.core.event_destinations.create", {**given, "name": "other"}, **key)
    for index in range(4):
        await destination(sdk, "http://127.0.0.1:9/", name=str(index))
    listed = await sdk.everything("v2.core.event_destinations.list", {"limit": 2})
    assert [item.name for item in listed] == ["3", "2", "1", "0", "ours"]
    for body in ("[]", "{"):
        status, _, _ = await raw("POST", "/v2/core/event_destinations", body)
        assert status == 400
