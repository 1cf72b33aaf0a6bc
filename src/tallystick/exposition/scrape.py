"""Answers a scrape: what the process has counted, and what is read for it.

What comes from the database and from Redis is read at most every few seconds, whoever asks how often, each
within a time limit. A server that is away fails no scrape: its readings are absent, and one says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from sqlalchemy import AsyncAdaptedQueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick import __version__
from tallystick.db.door import Door
from tallystick.db.session import autocommit
from tallystick.exposition.readings import Sample, state_samples
from tallystick.monitoring import metrics
from tallystick.pipeline.inbox import Inbox
from tallystick.pipeline.queue import EventQueue
from tallystick.pipeline.views.state import read_state
from tallystick.stripe_gateway.breaker import BreakerState
from tallystick.stripe_gateway.client import StripeGateway

log = structlog.get_logger(__name__)

_KEEP_S: Final = 5.0
_PATIENCE_S: Final = 2.0

Role = Literal["api", "worker"]


@dataclass(frozen=True, slots=True)
class Scraped:
    """An answer: its body, and the media type that fits the request's Accept header."""

    body: bytes
    media_type: str


class Scrape:
    """Makes the answers; one a process."""

    def __init__(
        self,
        engine: AsyncEngine,
        queue: EventQueue,
        stripe: StripeGateway,
        door: Door,
        inbox: Inbox,
        *,
        keep_s: float = _KEEP_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """``keep_s``: how long what was read is good enough; ``patience_s``: how long a server may take."""
        self._engine = engine
        self._queue = queue
        self._stripe = stripe
        self._door = door
        self._inbox = inbox
        self._keep_s = keep_s
        self._patience_s = patience_s
        self._read: list[Sample] = []
        self._read_at = -keep_s
        self._reading: asyncio.Task[None] | None = None

    async def answer(self, role: Role, accept: str = "") -> Scraped:
        """All metrics as text: OpenMetrics where ``accept`` asks for it, else Prometheus's own."""
        await self._refresh()
        samples = [(metrics.BUILD, (__version__, role), 1.0), *self._own(), *self._read]
        # the library's own reading of Accept fails on a version that is no number
        encode: Callable[[Collector], bytes]
        if openmetrics.CONTENT_TYPE_LATEST.partition(";")[0] in accept:
            encode, media_type = openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
        else:
            encode, media_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        # some thousand lines: not in the way of requests
        body = await asyncio.to_thread(encode, _Everything(samples))
        return Scraped(body, media_type)

    async def _refresh(self) -> None:
        """Read anew what is too old; scrapes that come together read once."""
        if time.monotonic() - self._read_at < self._keep_s:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_servers(), name="readings")
            self._reading.add_done_callback(self._done)
        await asyncio.shield(self._reading)

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read_servers(self) -> None:
        found = await asyncio.gather(
            self._in_time("database", metrics.STATE_UP, self._of_database),
            self._in_time("redis", metrics.REDIS_UP, self._of_redis),
        )
        self._read = [sample for samples in found for sample in samples]
        self._read_at = time.monotonic()

    async def _in_time(
        self, part: str, up: metrics.Reading, read: Callable[[], Awaitable[list[Sample]]]
    ) -> list[Sample]:
        """What was read, and ``up``, which says whether it could be."""
        try:
            async with asyncio.timeout(self._patience_s):
                return [(up, (), 1.0), *await read()]
        except Exception as error:
            log.warning("metrics_not_read", part=part, error=type(error).__name__)
            return [(up, (), 0.0)]

    async def _of_database(self) -> list[Sample]:
        async with autocommit(self._engine) as connection:
            state = await read_state(connection)
        offset = (state.at - datetime.now(UTC)).total_seconds()
        return [(metrics.DATABASE_CLOCK, (), offset), *state_samples(state)]

    async def _of_redis(self) -> list[Sample]:
        return [(metrics.QUEUE_LENGTH, (), await self._queue.waiting())]

    def _own(self) -> Iterator[Sample]:
        pool = self._engine.pool
        if isinstance(pool, AsyncAdaptedQueuePool):
            yield metrics.POOL_IN_USE, (), pool.checkedout()
            yield metrics.POOL_SIZE, (), pool.size()
        yield metrics.DOOR_WAITING, (), self._door.waiting
        yield metrics.INBOX_WAITING, (), self._inbox.waiting
        yield metrics.BREAKER_OPEN, (), float(self._stripe.breaker is not BreakerState.CLOSED)


class _Everything(Collector):
    """The registry, and behind it the readings."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        yield from metrics.REGISTRY.collect()
        families: dict[metrics.Reading, GaugeMetricFamily | CounterMetricFamily] = {}
        for reading, labels, value in self._samples:
            family = families.get(reading)
            if family is None:
                make = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
                family = families[reading] = make(reading.name, reading.documentation, labels=reading.labels)
            family.add_metric(labels, value)
        yield from families.values()
