"""What a notice says does not depend on which of Stripe's events came first: each tells it alike."""

from __future__ import annotations

from tests.house import house

from tallystick.embedded import EmbeddedValkey
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Event
from tallystick.outbox.notices import Notice


async def test_every_event_tells_a_success_and_a_refund_alike(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    async with house(database_url, valkey) as running:
        customer = await running.stripe("/v1/customers", email="ada@example.com")
        order = {
            "amount": 1999, "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa",
            "customer": customer["id"], "description": "Order 1042", "receipt_email": "ada@example.com",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        }  # fmt: skip
        ours = {"metadata[order]": "1042", "metadata[tallystick_payment]": f"pay_{'0' * 26}"}
        paid = await running.stripe("/v1/payment_intents", **order, **ours)
        refunded = {"reason": "duplicate", "metadata[tallystick_refund]": f"ref_{'0' * 26}"}
        await running.stripe("/v1/refunds", payment_intent=paid["id"], amount=500, **refunded, **ours)
        events = (await running.client.get("/v1/events", params={"limit": "100"})).json()["data"]
    told: dict[str, list[Notice]] = {}
    for body in events:
        if body["type"] in EVENTS:
            for notice in EVENTS[body["type"]].rule(Event.read(body), {}).notices:
                told.setdefault(notice.type, []).append(notice)
    assert told.keys() == {"payment.succeeded", "refund.succeeded"}
    assert len(told["payment.succeeded"]) > 2, "by the intent, the charge, and the charge as it was refunded"
    for notices in told.values():
        assert all(notice == notices[0] for notice in notices)
    success = told["payment.succeeded"][0].data
    assert (success["customer"], success["description"]) == (customer["id"], "Order 1042")
    assert (success["metadata"], success["receipt_email"]) == ({"order": "1042"}, "ada@example.com")
    refund = told["refund.succeeded"][0].data
    assert (refund["payment"], refund["reason"], refund["amount"]) == (success["payment"], "duplicate", 500)
