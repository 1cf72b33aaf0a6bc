"""The check itself: what Stripe's spec would object to is found."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.sandbox.spec import problems
from tests.integration.sandbox.support import Raw


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, ""),
        ({"nonsense": 1}, "nonsense is unknown"),
        ({"amount": "1"}, "amount is '1', not an integer"),
        ({"amount": True}, "amount is True, not an integer"),
        ({"status": "paid"}, "status is 'paid', none of"),
        ({"created": None}, "created is null"),
        ({"automatic_payment_methods": {}}, "automatic_payment_methods.enabled is missing"),
        ({"metadata": {"a": 1}}, "metadata.a is 1, not a string"),
        ({"latest_charge": {"object": "charge"}}, "latest_charge.amount is missing"),
        ({"object": None}, None),
    ],
)
async def test_what_is_wrong_is_found(raw: Raw, change: dict[str, Any], found: str | None) -> None:
    _, intent, _ = await raw("POST", "/v1/payment_intents", {"amount": "2000", "currency": "usd"})
    if found is None:
        with pytest.raises(KeyError):
            problems({**intent, **change})
        return
    texts = problems({**intent, **change})
    assert any(found in text for text in texts) if found else not texts
    event = {
        "id": "evt_1",
        "object": "event",
        "created": 1,
        "livemode": False,
        "pending_webhooks": 0,
        "type": "x",
        "data": {"object": {**intent, **change}},
    }
    assert bool(problems(event)) == bool(found)
