"""A customer on a test clock, for tests of what time brings to subscriptions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.integration.sandbox.spec import problems
from tests.integration.sandbox.support import Raw, Sdk

START = 1_735_689_600  # 2025-01-01
DAY = 86_400


@dataclass
class World:
    """A customer on a test clock, and a product."""

    sdk: Sdk
    raw: Raw
    clock: str
    customer: str
    product: str
    now: int = START

    async def price(self, amount: int = 1000, **more: Any) -> str:
        recurring = more.pop("recurring", {"interval": "month"})
        params = {"product": self.product, "currency": "usd", "recurring": recurring, **more}
        if "billing_scheme" not in more:
            params["unit_amount"] = amount
        return str((await self.sdk("prices.create", params)).id)

    async def subscribe(self, *prices: str, **params: Any) -> Any:
        items = params.pop("items", [{"price": price} for price in prices])
        return await self.sdk("subscriptions.create", {"customer": self.customer, "items": items, **params})

    async def pay_with(self, method: str) -> str:
        attached = await self.sdk("payment_methods.attach", method, {"customer": self.customer})
        settings = {"invoice_settings": {"default_payment_method": attached.id}}
        await self.sdk("customers.update", self.customer, settings)
        return str(attached.id)

    async def advance(self, seconds: int) -> None:
        """Advance in steps that one call may take, and wait until the clock is ready."""
        goal = self.now + seconds
        while self.now < goal:
            self.now = min(goal, self.now + 28 * DAY)
            await self.sdk("test_helpers.test_clocks.advance", self.clock, {"frozen_time": self.now})
            clock = ("test_helpers.test_clocks.retrieve", self.clock)
            while (await self.sdk(*clock)).status != "ready":  # noqa: ASYNC110 - another process would poll too
                await asyncio.sleep(0.005)

    async def get(self, subscription: Any, *expand: str) -> Any:
        return await self.sdk("subscriptions.retrieve", subscription.id, {"expand": list(expand)})

    async def types(
        self, prefix: tuple[str, ...] = ("customer.subscription", "invoice", "charge")
    ) -> list[str]:
        """The types of all events so far, oldest first; each is held against Stripe's spec."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            _, page, _ = await self.raw("GET", f"/v1/events?limit=100{after}")
            found += page["data"]
            if not page["has_more"]:
                break
            after = f"&starting_after={found[-1]['id']}"
        wrong = [text for event in found for text in problems(event)]
        assert not wrong, wrong[:5]
        return [event["type"] for event in reversed(found) if event["type"].startswith(prefix)]

    async def event(self, kind: str) -> dict[str, Any]:
        _, page, _ = await self.raw("GET", f"/v1/events?type={kind}")
        event: dict[str, Any] = page["data"][0]
        return event

    async def invoices(self, subscription: Any) -> list[Any]:
        found = await self.sdk("invoices.list", {"subscription": subscription.id, "limit": 100})
        return list(reversed(found.data))


async def new_world(sdk: Sdk, raw: Raw) -> World:
    """Its customer pays with a card that works."""
    clock = await sdk("test_helpers.test_clocks.create", {"frozen_time": START, "name": "a life"})
    customer = await sdk("customers.create", {"email": "ada@example.com", "test_clock": clock.id})
    product = await sdk("products.create", {"name": "Seat"})
    made = World(sdk, raw, clock.id, customer.id, product.id)
    await made.pay_with("pm_card_visa")
    return made
