"""Rings without making the caller wait: intake must not depend on Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import structlog

from tallystick.pipeline.queue import EventQueue, QueueUnavailableError

_GATHER_S: Final = 0.01
"""Between two rings. What is committed meanwhile is rung together: one question to Redis, one batch for a
worker. The first after a rest is rung for at once."""

_LAST_RING_S: Final = 1.0
"""How long a process that ends waits for Redis to take its last rings."""

log = structlog.get_logger(__name__)


class Bell:
    """One a process. What cannot be rung is left to the sweep."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._waiting: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._rung_at = 0.0
        self._silent = False
        self._closed = False

    def ring(self, events: Sequence[str]) -> None:
        """Ring for these events soon; returns at once. Once it is closed, only the sweep of a worker does."""
        if self._closed:
            return
        self._waiting.extend(events)
        if self._task is None and self._waiting:
            self._task = asyncio.create_task(self._ring_waiting(), name="bell")

    async def close(self) -> None:
        """Ring for what waits, if Redis takes it soon, and no more.

        A ring that is under way when the connections to Redis are closed would open one that nobody closes.
        """
        self._closed = True
        if self._task is not None:
            try:
                async with asyncio.timeout(_LAST_RING_S):
                    await self._task
            except TimeoutError:
                log.warning("ring_failed", error="TimeoutError", consequence="the sweep will ring")

    async def _ring_waiting(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(max(0.0, self._rung_at + _GATHER_S - time.monotonic()))
                events, self._waiting = self._waiting, []
                self._rung_at = time.monotonic()
                await self._queue.ring(events)
                self._silent = False
        except QueueUnavailableError as error:
            if not self._silent:  # once an outage, not once an event
                log.warning("ring_failed", error=str(error), consequence="the sweep will ring")
            self._silent = True
            self._waiting.clear()
        finally:
            self._task = None
