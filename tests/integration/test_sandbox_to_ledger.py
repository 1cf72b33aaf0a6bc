"""The whole way with a widened Stripe: whatever it moves, our books are its books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from tallystick.api.server import create_app
from tallystick.app import App, open_app
from tallystick.cli.serve import server_config
from tallystick.embedded import EmbeddedValkey
from tallystick.embedded.sockets import listen
from tallystick.ledger.statements import trial_balance
from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox
from tallystick.settings import load_settings
from tallystick.worker import Worker

Json = dict[str, Any]


class House:
    """API and worker over a database, and the sandbox that sends them its webhooks."""

    def __init__(self, app: App, sandbox: RunningSandbox, stripe: httpx.AsyncClient) -> None:
        self.app = app
        self.sandbox = sandbox
        self._stripe = stripe

    async def stripe(self, path: str, **form: Any) -> Json:
        """POST to the sandbox as another service on the same account would."""
        answer = await self._stripe.post(path, data=form)
        assert answer.status_code == 200, answer.text
        made: Json = answer.json()
        return made

    async def control(self, path: str, **body: Any) -> Json:
        answer = await self._stripe.post(f"/_control/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def at_stripe(self) -> dict[str, int]:
        """Stripe's balance by currency, pending and available."""
        balance = (await self._stripe.get("/v1/balance")).json()
        sums: dict[str, int] = {}
        for fund in balance["pending"] + balance["available"]:
            sums[fund["currency"]] = sums.get(fund["currency"], 0) + fund["amount"]
        return {currency: amount for currency, amount in sums.items() if amount}

    async def ours(self, account: str) -> dict[str, int]:
        """What stands on an account, by currency."""
        async with self.app.engine.connect() as connection:
            rows = await trial_balance(connection)
        return {row.currency: row.balance for row in rows if row.account == account and row.balance}

    async def until(self, account: str, balances: dict[str, int]) -> None:
        """Wait until an account holds this."""
        deadline = time.monotonic() + 30
        while True:
            seen = await self.ours(account)
            if seen == balances:
                return
            assert time.monotonic() < deadline, f"{account} holds {seen}, not {balances}"
            await asyncio.sleep(0.05)

    async def until_settled(self) -> None:
        """Wait until our balance at Stripe is Stripe's, and nothing is left in clearing."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            theirs = await self.at_stripe()
            if theirs == await self.ours("assets:stripe:balance") and not await self.ours(
                "assets:stripe:clearing"
            ):
                return
            await asyncio.sleep(0.05)
        assert await self.ours("assets:stripe:balance") == await self.at_stripe()
        assert await self.ours("assets:stripe:clearing") == {}


@asynccontextmanager
async def house(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[House]:
    sock = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/webhooks/stripe"
    config = SandboxConfig(seed=3, settlement_delay=0.05, refund_delay=0.05)
    async with (
        running_sandbox(config) as sandbox,
        httpx.AsyncClient(base_url=sandbox.url, auth=("sk_test_x", "")) as stripe,
    ):
        endpoint = (
            await stripe.post("/v1/webhook_endpoints", data={"url": url, "enabled_events[]": "*"})
        ).json()
        settings = load_settings(
            {},
            database_url=database_url,
            redis_url=valkey.url(),
            stripe_secret_key="sk_test_x",
            stripe_webhook_secrets=endpoint["secret"],
            stripe_api_base=sandbox.url,
            queue_name=f"test:{time.monotonic_ns()}",
            settlement_interval_s=0.5,
        )
        async with open_app(settings) as app:
            server = uvicorn.Server(server_config(create_app(app)))
            serving = asyncio.create_task(server._serve(sockets=[sock]))
            worker = Worker(app)
            working = asyncio.create_task(worker.run())
            try:
                yield House(app, sandbox, stripe)
            finally:
                worker.stop()
                server.should_exit = True
                await asyncio.gather(working, serving)
    sock.close()


@pytest.fixture
async def running(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[House]:
    async with house(database_url, valkey) as made:
        yield made


async def test_whatever_stripe_moves_our_balance_is_its_balance(running: House) -> None:
    """Payments, refunds, a dispute lost, a payout, a movement of an unknown type: made by others."""
    methods = {"payment_method": "pm_card_visa", "confirm": "true"}
    no_redirect = {
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
    }
    for currency, amount in (("usd", 5000), ("eur", 7000), ("jpy", 9000)):
        paid = await running.stripe(
            "/v1/payment_intents", amount=amount, currency=currency, **methods, **no_redirect
        )
        await running.stripe("/v1/refunds", payment_intent=paid["id"], amount=amount // 10)
    await running.stripe(
        "/v1/payment_intents",
        amount=3000,
        currency="usd",
        confirm="true",
        payment_method="pm_card_createDispute",
        **no_redirect,
    )
    await running.until("assets:stripe:disputed", {"usd": 3000})
    await running.until_settled()
    await running.control("balance_transactions", type="a_type_of_tomorrow", amount=-123, currency="usd")
    await running.until("suspense:stripe", {"usd": 123})
    await running.until_settled()
    assert await running.ours("expenses:dispute_fees") == {"usd": 1500}


async def test_what_is_billed_at_stripe_settles_in_our_books(running: House) -> None:
    """A subscription's first invoice, paid by card: its money is ours, unapplied until billing is posted."""
    customer = await running.stripe("/v1/customers", email="ada@example.com")
    await running.stripe("/v1/payment_methods/pm_card_visa/attach", customer=customer["id"])
    price = await running.stripe(
        "/v1/prices",
        **{
            "currency": "usd",
            "unit_amount": 1900,
            "recurring[interval]": "month",
            "product_data[name]": "Plan",
        },
    )
    methods = (
        await running._stripe.get("/v1/payment_methods", params={"customer": customer["id"], "type": "card"})
    ).json()["data"]
    made = await running.stripe(
        "/v1/subscriptions",
        **{
            "customer": customer["id"],
            "items[0][price]": price["id"],
            "default_payment_method": methods[0]["id"],
        },
    )
    assert made["status"] == "active"
    await running.until("liabilities:unapplied", {"usd": 1900})
    await running.until_settled()
