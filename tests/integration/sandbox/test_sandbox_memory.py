"""A sandbox that keeps next to nothing in memory: nobody can tell, and a restart knows all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.integration.sandbox.support import Receiver, Sdk

from tallystick.sandbox import records
from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox

PAY: dict[str, Any] = {
    "amount": 2000,
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
}
PAYMENTS = 6
EVENTS = 6 * PAYMENTS + 2


async def settled(box: RunningSandbox) -> None:
    """Wait until everything is booked, delivered and out of memory."""
    while (  # noqa: ASYNC110 - nobody tells when the last record has left
        len(box.sandbox.store.tables["event"].rows) < EVENTS
        or box.sandbox.deliveries.pending()
        or box.sandbox.store.crowded
    ):
        await asyncio.sleep(0.01)


async def filled(box: RunningSandbox, sdk: Sdk, receiver: Receiver) -> list[Any]:
    """A few payments, each refunded, made with idempotency keys; all of it told to the receiver."""
    await sdk("webhook_endpoints.create", {"url": receiver.url, "enabled_events": ["*"]})
    await sdk("customers.create", {"name": "Ada"})
    made = [await sdk("payment_intents.create", PAY, idempotency_key=f"k{n}") for n in range(PAYMENTS)]
    for intent in made:
        await sdk("refunds.create", {"payment_intent": intent.id})
    await sdk("customers.create", {"name": "Grace"})
    await settled(box)
    return made


async def check(box: RunningSandbox, sdk: Sdk, made: list[Any]) -> None:
    """Everything is there, as it was said to be."""
    assert len(box.sandbox.store.tables["event"].rows.in_memory()) <= records.KEPT
    listed = await sdk.everything("payment_intents.list", {"limit": 100, "expand": ["data.latest_charge"]})
    assert [intent.id for intent in listed] == [intent.id for intent in made][::-1]
    assert {intent.latest_charge.amount_refunded for intent in listed} == {2000}
    events = await sdk.everything("events.list", {"limit": 100})
    assert len(events) == EVENTS
    assert {event.pending_webhooks for event in events} == {0}
    again = await sdk("payment_intents.create", PAY, idempotency_key="k0")
    assert again.to_dict() == made[0].to_dict()
    assert len((await sdk("payment_intents.search", {"query": "status:'succeeded'"})).data) == PAYMENTS


@pytest.mark.parametrize("lasting", [False, True])
async def test_what_is_not_in_memory_is_there(
    tmp_path: Path, lasting: bool, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "KEPT", 1)
    config = SandboxConfig(
        data_dir=tmp_path if lasting else None, settlement_delay=0.01, refund_delay=600, seed=7
    )
    async with running_sandbox(config) as box:
        sdk = Sdk(box.url)
        made = await filled(box, sdk, receiver)
        await check(box, sdk, made)
        await sdk.close()
    if lasting:
        async with running_sandbox(config) as box:
            assert not box.sandbox.store.tables["payment_intent"].rows.in_memory()
            sdk = Sdk(box.url)
            await check(box, sdk, made)
            assert (await sdk("balance.retrieve")).pending[0].amount == -88 * PAYMENTS
            await sdk.close()
