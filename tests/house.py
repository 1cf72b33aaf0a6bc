"""API and worker over a database, and the sandbox that sends them its webhooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from sqlalchemy import text

from tallystick.api.server import create_app
from tallystick.app import App, open_app
from tallystick.cli.serve import server_config
from tallystick.embedded import EmbeddedValkey
from tallystick.embedded.sockets import listen
from tallystick.events.catalog import EVENTS
from tallystick.ledger.trial_balances import trial_balance
from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox
from tallystick.settings import load_settings
from tallystick.worker import Worker

Json = dict[str, Any]


class House:
    """API and worker over a database, and the sandbox that sends them its webhooks."""

    def __init__(self, app: App, sandbox: RunningSandbox, stripe: httpx.AsyncClient) -> None:
        self.app = app
        self.sandbox = sandbox
        self.client = stripe

    async def stripe(self, path: str, **form: Any) -> Json:
        """POST to the sandbox as another service on the same account would."""
        answer = await self.client.post(path, data=form)
        assert answer.status_code == 200, answer.text
        made: Json = answer.json()
        return made

    async def control(self, path: str, **body: Any) -> Json:
        answer = await self.client.post(f"/_control/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def at_stripe(self, balance_type: str | None = None) -> dict[str, int]:
        """One of Stripe's balances, the main one if none is named, by currency, pending and available."""
        balance = (await self.client.get("/v1/balance")).json()
        shown = balance if balance_type is None else balance.get(balance_type, {})
        sums: dict[str, int] = {}
        for fund in shown.get("pending", []) + shown.get("available", []):
            sums[fund["currency"]] = sums.get(fund["currency"], 0) + fund["amount"]
        return {currency: amount for currency, amount in sums.items() if amount}

    async def booked(self, *categories: str) -> dict[str, int]:
        """What Stripe's balance transactions of these reporting categories come to, by currency."""
        sums: dict[str, int] = {}
        after: dict[str, str] = {}
        while True:
            page = await self.client.get("/v1/balance_transactions", params={"limit": "100", **after})
            rows = page.json()["data"]
            for txn in rows:
                if txn["reporting_category"] in categories:
                    sums[txn["currency"]] = sums.get(txn["currency"], 0) + txn["amount"]
            if not page.json()["has_more"]:
                return {currency: amount for currency, amount in sums.items() if amount}
            after = {"starting_after": rows[-1]["id"]}

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

    async def until_processed(self) -> None:
        """Wait until no event is pending: each is done, a dead letter, or none of ours."""
        deadline = time.monotonic() + 30
        query = text("SELECT type FROM webhook_events WHERE status = 'pending'")
        while True:
            async with self.app.engine.connect() as connection:
                pending = list((await connection.execute(query)).scalars())
            if not pending:
                return
            assert time.monotonic() < deadline, f"still pending: {pending}"
            await asyncio.sleep(0.05)

    async def until_applied(self) -> None:
        """Wait until all is processed and settled, nothing unapplied, and nothing was a dead letter."""
        await self.until_processed()
        await self.until_settled()
        await self.until("liabilities:unapplied", {})
        query = text("SELECT type FROM webhook_events WHERE status NOT IN ('processed', 'ignored')")
        async with self.app.engine.connect() as connection:
            assert list((await connection.execute(query)).scalars()) == []

    async def until_posted(self, *keys: str) -> None:
        """Wait until ledger transactions with these effect keys stand."""
        deadline = time.monotonic() + 30
        query = text("SELECT effect_key FROM ledger_transactions WHERE effect_key = ANY(:keys)")
        while True:
            async with self.app.engine.connect() as connection:
                found = set((await connection.execute(query, {"keys": list(keys)})).scalars())
            if found == set(keys):
                return
            assert time.monotonic() < deadline, f"not posted: {set(keys) - found}"
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
async def house(
    database_url: str,
    valkey: EmbeddedValkey,
    *,
    thin: bool = False,
    api_version: str | None = None,
    before: Callable[[RunningSandbox, httpx.AsyncClient], Awaitable[None]] | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """A house of its own. ``thin``: the sandbox sends thin events instead of snapshots.

    ``api_version``: that of the snapshots, else the account's. ``before`` is what happens at Stripe, and on
    the database, before anybody of ours listens.
    """
    sock = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/webhooks/stripe"
    config = SandboxConfig(seed=3, settlement_delay=0.05, refund_delay=0.05)
    async with (
        running_sandbox(config) as sandbox,
        httpx.AsyncClient(base_url=sandbox.url, auth=("sk_test_x", "")) as stripe,
    ):
        if before is not None:
            await before(sandbox, stripe)
        given: Json = {
            "database_url": database_url,
            "redis_url": valkey.url(),
            "stripe_secret_key": "sk_test_x",
            "stripe_webhook_secrets": await _subscribe(stripe, url, thin=thin, api_version=api_version),
            "stripe_api_base": sandbox.url,
            "queue_name": f"test:{time.monotonic_ns()}",
            "settlement_interval_s": 0.5,
            **settings,
        }
        async with open_app(load_settings({}, **given)) as app:
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


async def _subscribe(stripe: httpx.AsyncClient, url: str, *, thin: bool, api_version: str | None) -> str:
    """Have all events sent there; returns the signing secret."""
    if not thin:
        form = {"url": url, "enabled_events[]": "*"} | ({"api_version": api_version} if api_version else {})
        return str((await stripe.post("/v1/webhook_endpoints", data=form)).json()["secret"])
    destination = {
        "name": "ours",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": [f"v1.{event_type}" for event_type in EVENTS],
        "webhook_endpoint": {"url": url},
        "include": ["webhook_endpoint.signing_secret"],
    }
    made = (await stripe.post("/v2/core/event_destinations", json=destination)).json()
    return str(made["webhook_endpoint"]["signing_secret"])
