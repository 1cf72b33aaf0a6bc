"""``tallystick worker``."""

from __future__ import annotations

import asyncio
import signal

import uvloop

from tallystick.app import check_start, open_app
from tallystick.exposition.listener import listening
from tallystick.monitoring import logging
from tallystick.settings import Settings, load_settings
from tallystick.worker import Worker


def worker() -> None:
    """Process events, pull settlements. Any number of workers may run."""
    settings = load_settings()
    logging.configure(level=settings.log_level, form=settings.log_format)
    uvloop.run(_work(settings))


async def _work(settings: Settings) -> None:
    async with open_app(settings) as app:
        await check_start(app)
        worker = Worker(app)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.stop)
        async with listening(settings, app.scrape, "worker"):
            await worker.run()
