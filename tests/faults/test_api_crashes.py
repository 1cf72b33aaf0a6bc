"""An API process that dies in the middle of a request, or loses the database: the request is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from tests.faults.installation import Installation, Servers, until
from tests.faults.kill_points import KILLED

from tallystick.api.keys import create_key
from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox

Json = dict[str, Any]
ORDER = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
SETTINGS = {
    "TALLYSTICK_IDEMPOTENCY_LEASE_S": "1",
    "TALLYSTICK_COMPLETION_AGE_S": "0.5",
    "TALLYSTICK_COMPLETION_INTERVAL_S": "0.1",
}


@dataclass
class Shop:
    """A client of an installation whose Stripe is the sandbox."""

    installation: Installation
    sandbox: RunningSandbox
    api_key: str

    async def post(self, path: str, body: Json, key: str) -> tuple[int, Json]:
        """0 for a connection that ended without an answer."""
        headers = {"Authorization": f"Bearer {self.api_key}", "Idempotency-Key": key}
        async with aiohttp.ClientSession(self.installation.api_url, headers=headers) as session:
            try:
                async with session.post(path, json=body) as answer:
                    return answer.status, await answer.json(content_type=None)
            except aiohttp.ClientError:
                return 0, {}

    async def at_stripe(self, kind: str) -> list[Json]:
        async with httpx.AsyncClient(base_url=self.sandbox.url, auth=("sk_test_faults", "")) as stripe:
            found: list[Json] = (await stripe.get(f"/v1/{kind}")).json()["data"]
            return found

    async def decided(self) -> bool:
        """Whether everything that was begun has its outcome."""
        return not await self.installation.scalar(
            "SELECT (SELECT count(*) FROM stripe_calls)"
            " + (SELECT count(*) FROM payments WHERE status = 'unknown')"
            " + (SELECT count(*) FROM refunds WHERE status = 'unknown')"
        )


@pytest.fixture
async def shop(servers: Servers, tmp_path: Path) -> AsyncIterator[Shop]:
    for server in (servers.postgres, servers.valkey):  # a test that failed may have left one down
        server.start()
    async with running_sandbox(SandboxConfig(seed=11)) as sandbox:
        installation = Installation(servers, tmp_path, sandbox.url, settings=SETTINGS)
        await installation.open()
        async with installation.engine.begin() as connection:
            _, api_key = await create_key(connection, "shop", ["admin"])
        try:
            yield Shop(installation, sandbox, api_key)
        finally:
            await installation.close()


@pytest.mark.parametrize(
    ("command", "step", "when", "healer"),
    [
        ("pay", "accept", "after", "worker"),
        ("refund", "store", "before", "retry"),
        *(
            pytest.param(*cell, marks=pytest.mark.long)
            for cell in (
                ("pay", "accept", "before", "retry"),
                ("pay", "accept", "after", "retry"),
                ("pay", "store", "before", "retry"),
                ("pay", "store", "before", "worker"),
                ("pay", "store", "after", "retry"),
                ("refund", "accept", "after", "worker"),
                ("refund", "store", "before", "worker"),
            )
        ),
    ],
)
async def test_a_process_that_died_in_a_request(
    shop: Shop, command: str, step: str, when: str, healer: str
) -> None:
    path, body = "/payments", ORDER
    if command == "refund":
        api = await shop.installation.start_api()
        status, paid = await shop.post(path, body, "paid")
        assert status == 201
        await shop.installation.kill(api)
        path, body = f"/payments/{paid['id']}/refund", {"amount": 300}
    dying = await shop.installation.start_api(dying=(step, when))
    assert await shop.post(path, body, "k") == (0, {})
    assert await asyncio.to_thread(dying.wait) == KILLED
    if healer == "worker":
        assert not await shop.decided()
        worker = shop.installation.start_worker()
        await until(shop.decided)
        assert await shop.installation.stop(worker) == 0
    await shop.installation.start_api()
    status, answer = await shop.post(path, body, "k")
    assert (status, answer["status"]) == (201, "succeeded")
    assert await shop.post(path, body, "k") == (status, answer)
    (intent,) = await shop.at_stripe("payment_intents")
    refunds = await shop.at_stripe("refunds")
    assert len(refunds) == (command == "refund")
    assert answer["stripe"].get("refund", intent["id"]) in {intent["id"], *(each["id"] for each in refunds)}
    assert await shop.decided()
    assert await shop.installation.scalar("SELECT count(*) FROM payments") == 1


async def test_a_retry_after_the_database_was_away_works_soon(shop: Shop) -> None:
    """Stripe answers while the database is away: its answer cannot be stored, nor the key be let go of."""
    await shop.installation.start_api()
    rule = {"action": "delay", "when": "after", "path": "/v1/payment_intents", "method": "POST", "seconds": 2}
    shop.sandbox.sandbox.faults.add(rule)
    asking = asyncio.create_task(shop.post("/payments", ORDER, "k"))

    async def accepted() -> bool:
        return bool(await shop.installation.scalar("SELECT count(*) FROM stripe_calls"))

    await until(accepted)
    postgres = shop.installation.servers.postgres
    await asyncio.to_thread(postgres.stop)
    status, problem = await asking
    assert (status, problem["code"]) == (503, "database_unavailable")
    await asyncio.to_thread(postgres.start)
    status, answer = await shop.post("/payments", ORDER, "k")
    assert (status, answer["status"]) == (201, "succeeded")
    assert len(await shop.at_stripe("payment_intents")) == 1
