"""Steps that are done again and again until a worker is to stop, and what becomes of their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tallystick.db.session import database_is_away
from tallystick.errors import StripeUnavailableError
from tallystick.monitoring import metrics
from tallystick.pipeline.queue import QueueUnavailableError

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0


class Loops:
    """The loops of one worker."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """Whether the worker is to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Let every loop end after the step in hand."""
        self._stopping.set()

    async def stopped(self) -> None:
        """Wait until the worker is to stop."""
        await self._stopping.wait()

    async def repeat(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step again and again; after one that failed, wait longer and longer."""
        pause_s = FIRST_PAUSE_S
        while not self.stopping:
            if await self.attempt(name, step):
                pause_s = FIRST_PAUSE_S
            else:
                await self.pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def attempt(self, name: str, step: Callable[[], Awaitable[None]]) -> bool:
        """Whether the step could be done. An outage is noted; anything unexpected is logged in full."""
        try:
            await step()
        except QueueUnavailableError as error:
            cause = "queue_unavailable"
            log.warning(cause, loop=name, error=str(error))
        except StripeUnavailableError as error:
            cause = "stripe_unavailable"
            log.warning(cause, loop=name, error=error.detail)
        except Exception as error:
            if database_is_away(error):
                cause = "database_unavailable"
                log.warning(cause, loop=name, error=type(error).__name__)
            else:
                cause = "unexpected"
                log.exception("loop_failed", loop=name)
        else:
            return True
        metrics.LOOP_FAILURES.labels(name, cause).inc()
        return False

    async def pause(self, seconds: float) -> None:
        """Sleep, but wake at once when the worker is to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
