"""What becomes of invoices by themselves as time passes; over HTTP, with a clock that the tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.integration.sandbox.support import Sdk
from tests.integration.sandbox.test_sandbox_invoices import customer_with, drafted, types_since

from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.server import SandboxConfig, running_sandbox

HOUR, DAY = 3600, 86_400


@pytest.fixture
async def timed() -> AsyncIterator[tuple[Sdk, ManualClock]]:
    """A client of a sandbox whose time stands still until it is moved."""
    clock = ManualClock()
    async with running_sandbox(SandboxConfig(seed=7, clock=clock)) as running:
        client = Sdk(running.url)
        yield client, clock
        await client.close()


async def test_a_draft_advances_after_an_hour(timed: tuple[Sdk, ManualClock]) -> None:
    sdk, clock = timed
    customer = await customer_with(sdk)
    draft = await drafted(sdk, customer, auto_advance=True)
    assert draft.automatically_finalizes_at == draft.next_payment_attempt == draft.created + HOUR
    clock.advance(HOUR - 1)
    assert (await sdk("invoices.retrieve", draft.id)).status == "draft"
    clock.advance(2)
    await asyncio.sleep(0.01)
    invoice = await sdk("invoices.retrieve", draft.id)
    assert (invoice.status, invoice.attempt_count, invoice.auto_advance) == ("paid", 1, False)
    assert (await types_since(sdk, "invoice.finalized"))[-1] == "invoice_payment.paid"


async def test_failed_attempts_are_repeated(timed: tuple[Sdk, ManualClock]) -> None:
    sdk, clock = timed
    customer = await customer_with(sdk, "pm_card_chargeCustomerFail")
    draft = await drafted(sdk, customer, auto_advance=True)
    invoice = await sdk("invoices.finalize_invoice", draft.id)
    assert invoice.next_payment_attempt == invoice.status_transitions.finalized_at + HOUR
    attempts = []
    for seconds in (HOUR, 3 * DAY, 5 * DAY, 7 * DAY, 9 * DAY):
        clock.advance(seconds + 1)
        await asyncio.sleep(0.01)
        invoice = await sdk("invoices.retrieve", draft.id)
        attempts.append((invoice.attempt_count, invoice.next_payment_attempt is None))
    assert attempts == [(1, False), (2, False), (3, False), (4, True), (4, True)]
    events = [event.type for event in (await sdk("events.list", {"limit": 100})).data]
    assert events.count("invoice.payment_failed") == 4
    good = await sdk("payment_methods.attach", "pm_card_visa", {"customer": customer})
    paid = await sdk("invoices.pay", draft.id, {"payment_method": good.id})
    assert (paid.status, paid.attempt_count) == ("paid", 4)


async def test_a_sent_invoice_becomes_overdue(timed: tuple[Sdk, ManualClock]) -> None:
    sdk, clock = timed
    customer = await customer_with(sdk, None)
    sending: dict[str, Any] = {"collection_method": "send_invoice", "days_until_due": 7}
    draft = await drafted(sdk, customer, auto_advance=True, **sending)
    clock.advance(HOUR + 1)
    await asyncio.sleep(0.01)
    assert (await types_since(sdk, "invoice.finalized"))[-1] == "invoice.sent"
    clock.advance(7 * DAY)
    assert (await types_since(sdk, "invoice.finalized"))[-2:] == ["invoice.overdue", "customer.updated"]
    assert (await sdk("customers.retrieve", customer)).delinquent
    invoice = await sdk("invoices.retrieve", draft.id)
    async with aiohttp.ClientSession() as session:
        async with session.get(invoice.hosted_invoice_url) as page:
            text = await page.text()
            assert (page.status, invoice.number in text, "$20.00" in text or "20.00 USD" in text) == (
                200,
                True,
                True,
            )
        async with session.post(invoice.hosted_invoice_url, data={"card_number": "4000000000000002"}) as page:
            assert "declined" in await page.text()
        async with session.post(invoice.hosted_invoice_url, data={"card_number": "4242424242424242"}) as page:
            assert "paid" in await page.text()
        async with session.get(invoice.invoice_pdf) as file:
            assert (await file.read()).startswith(b"%PDF-1.4")
        async with session.get(invoice.hosted_invoice_url.replace("token=", "token=x")) as page:
            assert page.status == 404
    assert (await sdk("invoices.retrieve", draft.id)).status == "paid"
    assert not (await sdk("customers.retrieve", customer)).delinquent


async def test_invoices_survive_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with running_sandbox(SandboxConfig(data_dir=tmp_path, seed=7, clock=clock)) as running:
        sdk = Sdk(running.url)
        draft = await drafted(sdk, await customer_with(sdk), auto_advance=True)
        await sdk.close()
    async with running_sandbox(SandboxConfig(data_dir=tmp_path, seed=7, clock=clock)) as running:
        sdk = Sdk(running.url)
        assert (await sdk("invoices.retrieve", draft.id)).total == 2000
        clock.advance(HOUR + 1)
        await asyncio.sleep(0.01)
        assert (await sdk("invoices.retrieve", draft.id)).status == "paid"
        assert len((await sdk("invoice_payments.list", {"invoice": draft.id})).data) == 1
        await sdk.close()
