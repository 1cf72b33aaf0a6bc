"""GET /metrics of a process that has no API: the worker's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from tallystick.errors import ConfigurationError
from tallystick.exposition.scrape import Role, Scrape
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

PATH = "/metrics"


@asynccontextmanager
async def listening(settings: Settings, scrape: Scrape, role: Role) -> AsyncIterator[str | None]:
    """Answer scrapes for the length of the block; yields the URL, None where the settings name no port.

    Raises ConfigurationError when it cannot listen there.
    """
    if settings.worker_metrics_port is None:
        yield None
        return

    async def metrics(request: web.Request) -> web.Response:
        found = await scrape.answer(role, request.headers.get("Accept", ""))
        return web.Response(body=found.body, headers={"Content-Type": found.media_type})

    application = web.Application()
    application.router.add_get(PATH, metrics)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.worker_metrics_host, settings.worker_metrics_port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(
                f"TALLYSTICK_WORKER_METRICS_HOST and _PORT cannot be listened on: {error.strerror}."
            ) from error
        host, port = runner.addresses[0][:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"
        log.info("metrics_listen", url=url)
        yield url
    finally:
        await runner.cleanup()
