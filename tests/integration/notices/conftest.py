"""The API, a receiving server, and the sending side of a worker, which a test lets work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text
from tests.integration.api.conftest import Face, open_face
from tests.integration.notices.receiver import Receiver, receiving

from tallystick.embedded import EmbeddedValkey
from tallystick.outbox.notices import Notice
from tallystick.outbox.staging import stage
from tallystick.pipeline.notices.deliveries import Deliveries

Json = dict[str, Any]
QUICK = {
    "webhooks_allow_private": True,
    "webhooks_interval_s": 0.02,
    "webhooks_timeout_s": 5.0,
    "webhooks_retry_base_s": 0.01,
    "webhooks_retry_cap_s": 0.05,
}


@dataclass
class Post:
    """Everything between a staged notice and a server that gets it."""

    face: Face
    receiver: Receiver

    async def endpoint(self, url: str | None = None, **fields: Any) -> Json:
        """An endpoint at the receiver, or at another URL."""
        answer = await self.face.post("/webhook-endpoints", {"url": url or self.receiver.url, **fields})
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    async def change(self, endpoint: Json, action: str = "", **body: Any) -> Json:
        answer = await self.face.post(f"/webhook-endpoints/{endpoint['id']}{action}", body)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def read(self, path: str) -> Json:
        answer = await self.face.http.get(path)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def log(self, endpoint: Json, query: str = "") -> list[Json]:
        """The delivery log, oldest notice first."""
        found = await self.read(f"/webhook-endpoints/{endpoint['id']}/deliveries?limit=100{query}")
        return list(reversed(found["data"]))

    async def tell(self, *numbers: int, payment: str | None = None, type: str = "payment.failed") -> None:  # noqa: A002
        """Stage a notice for each number."""
        notices = [Notice(f"{type}:{payment}:{n:06d}", type, payment, {"n": n}) for n in numbers]
        async with self.face.app.engine.begin() as connection:
            await stage(connection, notices)

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[Deliveries]:
        """A worker's sending side at work."""
        deliveries = Deliveries(self.face.app.engine, self.face.app.webhooks, self.face.app.settings)

        async def work() -> None:
            while True:
                await deliveries.step()

        working = asyncio.create_task(work())
        try:
            yield deliveries
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await deliveries.close()

    async def until(self, query: str, expected: Any) -> None:
        """Wait until a query has this one value."""
        found = None
        try:
            async with asyncio.timeout(20):
                while found != expected:
                    async with self.face.app.engine.connect() as connection:
                        found = (await connection.execute(text(query))).scalar()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{query}: {found}, not {expected}") from None

    async def until_none_waits(self) -> None:
        await self.until(
            "SELECT (SELECT count(*) FROM outbox_new)"
            " + (SELECT count(*) FROM notice_deliveries WHERE status = 'pending')",
            0,
        )

    async def execute(self, statement: str, **given: Any) -> None:
        async with self.face.app.engine.begin() as connection:
            await connection.execute(text(statement), given)


@asynccontextmanager
async def open_post(database_url: str, valkey: EmbeddedValkey, **changes: Any) -> AsyncIterator[Post]:
    async with receiving() as receiver, open_face(database_url, valkey, **{**QUICK, **changes}) as face:
        yield Post(face, receiver)


@pytest.fixture
async def post(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Post]:
    """A fresh installation whose endpoints may be on the loopback."""
    async with open_post(database_url, valkey) as made:
        yield made
