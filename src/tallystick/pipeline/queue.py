"""The doorbell: Redis streams that carry the ids of events, and nothing that could not be rung again.

Postgres is the truth. Whatever Redis loses (a flush, a restart, a trimmed entry, a failover) is rung again by
the sweep in ``worker.py``; whatever it delivers twice is passed over. So no worker owns a stream, and it does
not matter which stream an id is in: there are a few of them, each with a hash tag of its own, only so that
they lie on several nodes of a cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError, ResponseError

_GROUP: Final = "workers"
_RINGS_AT_ONCE: Final = 1000
_AWAY: Final = (
    RedisError,
    RedisClusterException,
    OSError,
    TimeoutError,
    # a connection that was closed under the client's hands: uvloop's word, and redis-py's where another
    # task learned of a failover while this one was still opening it
    RuntimeError,
    AttributeError,
)


class QueueUnavailableError(Exception):
    """Redis cannot be reached, or refuses: only a delay, never a loss."""


@dataclass(frozen=True, slots=True)
class Ring:
    """One delivery: the stream, its message, and the event that it names."""

    stream: str
    message: str
    event: str


class EventQueue:
    """Streams with one consumer group each; methods raise QueueUnavailableError when Redis is away."""

    def __init__(self, redis: Redis | RedisCluster, *, name: str, streams: int, length: int) -> None:
        """``length``: the entries that all streams together keep, about."""
        self._redis = redis
        self.streams: Final = tuple(f"{name}:{{{number}}}" for number in range(streams))
        self._length = max(1, length // streams)
        self._turn = 0

    async def ring(self, events: Sequence[str]) -> None:
        """Add the ids to a stream, by turns; to another one where its node is away."""
        for start in range(0, len(events), _RINGS_AT_ONCE):
            await self._ring_in_turn(events[start : start + _RINGS_AT_ONCE])

    async def _ring_in_turn(self, events: Sequence[str]) -> None:
        self._turn += 1
        for tried in range(1, len(self.streams) + 1):
            try:
                await self._ring(self.streams[(self._turn + tried) % len(self.streams)], events)
            except QueueUnavailableError:
                if tried == len(self.streams):
                    raise
            else:
                return

    async def _ring(self, stream: str, events: Sequence[str]) -> None:
        async with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for event in events:
                pipeline.xadd(stream, {"event": event}, maxlen=self._length, approximate=True)
            await pipeline.execute()

    async def claim(self, stream: str, consumer: str, count: int, block_ms: int) -> list[Ring]:
        """Take up to ``count`` new rings of a stream, waiting up to ``block_ms`` for the first."""
        async with _translated():
            try:
                answer: Any = await self._redis.xreadgroup(
                    _GROUP, consumer, {stream: ">"}, count=count, block=block_ms
                )
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                await self._create_group(stream)  # first start, or somebody flushed Redis
                return []
            return [ring for _, messages in answer or [] for ring in _rings(stream, messages)]

    async def reclaim(self, consumer: str, count: int, idle_ms: int) -> list[Ring]:
        """Take over what a consumer that died has held for ``idle_ms``, up to ``count`` a stream."""
        taken = []
        async with _translated():
            for stream in self.streams:
                try:
                    answer: Any = await self._redis.xautoclaim(
                        stream, _GROUP, consumer, min_idle_time=idle_ms, count=count
                    )
                except ResponseError as error:
                    if not str(error).startswith("NOGROUP"):
                        raise
                    continue
                taken += _rings(stream, answer[1])
        return taken

    async def ack(self, rings: Sequence[Ring]) -> None:
        """Done with these: they leave the group and the stream."""
        messages = defaultdict(list)
        for ring in rings:
            messages[ring.stream].append(ring.message)
        async with _translated():
            for stream, of_stream in messages.items():
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.xack(stream, _GROUP, *of_stream)
                pipeline.xdel(stream, *of_stream)
                await pipeline.execute()

    async def waiting(self) -> int:
        """Rings that no worker has taken yet. Those that a killed worker took with it do not count."""
        async with _translated():
            return sum([await self._waiting_in(stream) for stream in self.streams])

    async def _waiting_in(self, stream: str) -> int:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xlen(stream)
        pipeline.xpending(stream, _GROUP)
        length, pending = await pipeline.execute(raise_on_error=False)
        if isinstance(length, Exception):
            raise length
        if isinstance(pending, ResponseError):  # no group yet, or somebody flushed Redis
            return int(length)
        if isinstance(pending, Exception):
            raise pending
        return int(length) - int(pending["pending"])

    async def forget_idle(self, idle_ms: int) -> int:
        """Take consumers that hold nothing and have asked for nothing so long off the groups; how many.

        A worker that was killed leaves its name behind, and every start brings a new one.
        """
        gone = 0
        async with _translated():
            for stream in self.streams:
                try:
                    consumers: Any = await self._redis.xinfo_consumers(stream, _GROUP)
                except ResponseError:  # no group, or no stream
                    continue
                for consumer in consumers:
                    if not consumer["pending"] and consumer["idle"] >= idle_ms:
                        await self._redis.xgroup_delconsumer(stream, _GROUP, consumer["name"])
                        gone += 1
        return gone

    async def leave(self, consumer: str) -> None:
        """Take a consumer that has acknowledged all it took off the groups."""
        async with _translated():
            for stream in self.streams:
                try:
                    held: Any = await self._redis.xpending_range(stream, _GROUP, "-", "+", 1, consumer)
                    if not held:  # else another worker takes it over
                        await self._redis.xgroup_delconsumer(stream, _GROUP, consumer)
                except ResponseError:  # no group: somebody flushed Redis
                    continue

    async def _create_group(self, stream: str) -> None:
        try:
            await self._redis.xgroup_create(stream, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another worker was faster
                raise


def _rings(stream: str, messages: Sequence[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Ring]:
    """Messages as rings; an entry that was trimmed while it was claimed has no fields any more."""
    return [
        Ring(stream, message.decode(), fields[b"event"].decode()) for message, fields in messages if fields
    ]


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except _AWAY as error:
        raise QueueUnavailableError(f"{type(error).__name__}: {error}") from error
