"""The doorbell: a Redis stream that carries the ids of events, and nothing that could not be rung again.

Postgres is the truth. Whatever Redis loses (a flush, a restart, a trimmed entry) is rung again by the sweep
in ``worker.py``; whatever it delivers twice is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

log = structlog.get_logger(__name__)

_GROUP: Final = "workers"
_RINGS_AT_ONCE: Final = 1000


class QueueUnavailableError(Exception):
    """Redis cannot be reached, or refuses: only a delay, never a loss."""


@dataclass(frozen=True, slots=True)
class Ring:
    """One delivery: the stream's message and the event it names."""

    message: str
    event: str


class EventQueue:
    """A stream with one consumer group; every method raises QueueUnavailableError when Redis is away."""

    def __init__(self, redis: Redis, *, name: str, length: int) -> None:
        self._redis = redis
        self._stream = name
        self._length = length

    async def ring(self, events: Sequence[str]) -> None:
        """Add the ids to the stream, which keeps about ``length`` entries."""
        async with _translated():
            for start in range(0, len(events), _RINGS_AT_ONCE):
                pipeline = self._redis.pipeline(transaction=False)
                for event in events[start : start + _RINGS_AT_ONCE]:
                    pipeline.xadd(self._stream, {"event": event}, maxlen=self._length, approximate=True)
                await pipeline.execute()

    async def claim(self, consumer: str, count: int, block_ms: int) -> list[Ring]:
        """Take up to ``count`` new rings, waiting up to ``block_ms`` for the first."""
        async with _translated():
            try:
                answer: Any = await self._redis.xreadgroup(
                    _GROUP, consumer, {self._stream: ">"}, count=count, block=block_ms
                )
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                await self._create_group()  # first start, or somebody flushed Redis
                return []
            return [ring for _, messages in answer or [] for ring in _rings(messages)]

    async def reclaim(self, consumer: str, count: int, idle_ms: int) -> list[Ring]:
        """Take over what a consumer that died has held for ``idle_ms``."""
        async with _translated():
            try:
                answer: Any = await self._redis.xautoclaim(
                    self._stream, _GROUP, consumer, min_idle_time=idle_ms, count=count
                )
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                return []
            return _rings(answer[1])

    async def ack(self, rings: Sequence[Ring]) -> None:
        """Done with these: they leave the group and the stream."""
        if not rings:
            return
        messages = [ring.message for ring in rings]
        async with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xack(self._stream, _GROUP, *messages)
            pipeline.xdel(self._stream, *messages)
            await pipeline.execute()

    async def waiting(self) -> int:
        """Rings that no worker has taken yet. Those that a killed worker took with it do not count."""
        async with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xlen(self._stream)
            pipeline.xpending(self._stream, _GROUP)
            length, pending = await pipeline.execute(raise_on_error=False)
            if isinstance(length, RedisError):
                raise length
            if isinstance(pending, RedisError):  # no group yet, or somebody flushed Redis
                return int(length)
            return int(length) - int(pending["pending"])

    async def _create_group(self) -> None:
        try:
            await self._redis.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another worker was faster
                raise


def _rings(messages: Sequence[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Ring]:
    """Messages as rings; an entry that was trimmed while it was claimed has no fields any more."""
    return [Ring(message.decode(), fields[b"event"].decode()) for message, fields in messages if fields]


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise QueueUnavailableError(f"{type(error).__name__}: {error}") from error


class Bell:
    """Rings without making the caller wait. What cannot be rung is left to the sweep."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._waiting: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._silent = False

    def ring(self, events: Sequence[str]) -> None:
        """Ring for these events soon; returns at once."""
        self._waiting.extend(events)
        if self._task is None and self._waiting:
            self._task = asyncio.create_task(self._ring_waiting(), name="bell")

    async def _ring_waiting(self) -> None:
        try:
            while self._waiting:
                events, self._waiting = self._waiting, []
                await self._queue.ring(events)
                self._silent = False
        except QueueUnavailableError as error:
            if not self._silent:  # once an outage, not once an event
                log.warning("ring_failed", error=str(error), consequence="the sweep will ring")
            self._silent = True
            self._waiting.clear()
        finally:
            self._task = None
