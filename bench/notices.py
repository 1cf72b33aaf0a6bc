"""Notices to a merchant's endpoint: how many a second, and what a hanging one beside it takes from it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.machine import Machine, ratio, say
from tallystick.outbox.notices import Notice
from tallystick.outbox.staging import stage
from tallystick.pipeline.notices.deliveries import Deliveries
from tallystick.pipeline.notices.endpoints import create_endpoint
from tallystick.pipeline.notices.webhook_client import WebhookClient
from tallystick.settings import Settings, load_settings

_STAGED_AT_ONCE = 500
_PATIENCE_S = 300.0
_DELIVERED = text("""
SELECT count(*) FROM notice_deliveries WHERE endpoint_id = 'whe_fast' AND status = 'delivered'
""")


async def run(machine: Machine) -> None:
    """One endpoint alone, then the same beside one that takes requests and never answers."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    count = machine.events // 4  # a notice a payment
    settings = load_settings({}, require=(), webhooks_allow_private=True, webhooks_interval_s=0.05)
    async with _receiving() as port:
        alone = await _delivered(machine, "bench_notices", settings, count, port, hanging=False)
        say("notices delivered to a receiver in this process", f"{alone:,.0f} /s")
        beside = await _delivered(machine, "bench_notices_beside", settings, count, port, hanging=True)
        say("the same beside an endpoint that never answers", f"{beside:,.0f} /s")
    ratio("  beside : alone", beside / alone)


async def _delivered(
    machine: Machine, name: str, settings: Settings, count: int, port: int, *, hanging: bool
) -> float:
    """Notices a second that the fast endpoint took, from the first claim to the last result written."""
    async with machine.database(name) as engine:
        async with engine.begin() as connection:
            for path in ("fast", "hang")[: 1 + hanging]:
                url = f"http://127.0.0.1:{port}/{path}"
                await create_endpoint(
                    connection, None, f"whe_{path}", url=url, event_types=["*"], description=None
                )
        await _stage(engine, count)
        client = WebhookClient(settings)
        deliveries = Deliveries(engine, client, settings)
        working = asyncio.create_task(_work(deliveries))
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while await _taken(engine) < count:  # noqa: ASYNC110  the database has no event to wait for
                    await asyncio.sleep(0.1)
            return count / (time.perf_counter() - begun)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await client.close()  # what hangs ends with its connection
            await deliveries.close()


async def _work(deliveries: Deliveries) -> None:
    while True:
        await deliveries.step()


async def _stage(engine: AsyncEngine, count: int) -> None:
    """Notices of as many payments."""
    for first in range(0, count, _STAGED_AT_ONCE):
        numbers = range(first, min(first + _STAGED_AT_ONCE, count))
        async with engine.begin() as connection:
            await stage(
                connection,
                [
                    Notice(
                        f"payment.succeeded:pi_{n}",
                        "payment.succeeded",
                        f"pay_{n:026d}",
                        {"payment": f"pay_{n:026d}", "amount": 1999, "currency": "usd"},
                    )
                    for n in numbers
                ],
            )


async def _taken(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(_DELIVERED)).scalar_one())


@asynccontextmanager
async def _receiving() -> AsyncIterator[int]:
    """A server that answers /fast at once and /hang never; its port."""
    never = asyncio.Event()

    async def fast(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=204)

    async def hang(request: web.Request) -> web.Response:
        await request.read()
        await never.wait()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/fast", fast)
    app.router.add_post("/hang", hang)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        never.set()
        await runner.cleanup()
