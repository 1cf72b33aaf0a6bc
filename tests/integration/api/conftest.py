"""The whole HTTP face over a real database, Valkey and the sandbox; requests go in as ASGI calls."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.integration.api.conformance import Conformance

from tallystick.api.documents import build_api
from tallystick.api.keys import create_key
from tallystick.api.server import create_app
from tallystick.app import App, open_app
from tallystick.embedded import EmbeddedValkey
from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox
from tallystick.settings import load_settings

SECRETS = ("whsec_old", "whsec_new")
Json = dict[str, Any]


@dataclass
class Face:
    """The API as a caller with a key sees it, and a look behind it."""

    app: App
    http: httpx.AsyncClient
    sandbox: RunningSandbox

    async def key(self, *scopes: str) -> str:
        """A key with these scopes."""
        async with self.app.engine.begin() as connection:
            return (await create_key(connection, "test", scopes))[1]

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """POST with all scopes and, perhaps, an idempotency key."""
        headers = {"Idempotency-Key": key} if key is not None else {}
        return await self.http.post(path, json=body, headers=headers)

    async def pay(self, **fields: Any) -> Json:
        """A payment that succeeded, unless ``fields`` say otherwise."""
        order = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
        answer = await self.post("/payments", {**order, **fields})
        assert answer.status_code == 201, answer.text
        paid: Json = answer.json()
        return paid

    async def rows(self) -> dict[str, int]:
        """How many rows the tables have that a command writes to."""
        counts = {}
        async with self.app.engine.connect() as connection:
            for table in ("payments", "refunds", "idempotency_keys", "webhook_events", "ledger_transactions"):
                counts[table] = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
        return counts

    async def begun(self, table: str) -> None:
        """Wait until a request that was sent has written its row: on a busy machine it may take a while."""
        async with asyncio.timeout(10):
            while not (await self.rows())[table]:  # noqa: ASYNC110 - another connection's commit wakes nobody
                await asyncio.sleep(0.01)

    async def intents(self) -> list[Json]:
        """All PaymentIntents at the sandbox."""
        return await self._at_stripe("payment_intents")

    async def stripe_refunds(self) -> list[Json]:
        """All refunds at the sandbox."""
        return await self._at_stripe("refunds")

    async def fault(self, **rule: Any) -> None:
        """A bad day at the sandbox."""
        self.sandbox.sandbox.faults.add(rule)

    async def a_day_later(self) -> None:
        """Stripe has forgotten all idempotency keys, and our rows are a day older."""
        self.sandbox.sandbox.idempotency.clear()
        async with self.app.engine.begin() as connection:
            for table in ("payments", "refunds", "stripe_calls", "idempotency_keys"):
                await connection.execute(
                    text(f"UPDATE {table} SET created_at = created_at - interval '24 hours'")
                )

    async def _at_stripe(self, kind: str) -> list[Json]:
        async with httpx.AsyncClient(base_url=self.sandbox.url, auth=("sk_test_abc", "")) as stripe:
            answer = await stripe.get(f"/v1/{kind}", params={"limit": 100})
            found: list[Json] = answer.json()["data"]
            return found


@asynccontextmanager
async def open_face(database_url: str, valkey: EmbeddedValkey, **changes: Any) -> AsyncIterator[Face]:
    """A face on this database with a fresh sandbox; ``changes`` are settings."""
    async with running_sandbox(SandboxConfig(seed=7)) as sandbox:
        given = {
            "database_url": database_url,
            "redis_url": valkey.url(),
            "stripe_secret_key": "sk_test_abc",
            "stripe_webhook_secrets": ",".join(SECRETS),
            "stripe_api_base": sandbox.url,
            "stripe_max_retries": 0,
            "queue_name": f"test:{secrets.token_hex(6)}",
        }
        async with open_app(load_settings({}, **{**given, **changes})) as app:
            transport = httpx.ASGITransport(create_app(app), raise_app_exceptions=False)
            conforms = Conformance(build_api(app).openapi())
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test", event_hooks={"response": [conforms.check]}
            ) as http:
                made = Face(app, http, sandbox)
                http.headers["Authorization"] = f"Bearer {await made.key('admin')}"
                yield made


@pytest.fixture
async def face(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """A fresh database and a fresh sandbox."""
    async with open_face(database_url, valkey) as made:
        yield made
