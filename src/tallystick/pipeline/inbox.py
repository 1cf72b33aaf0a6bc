"""The inbox: a Stripe event is acknowledged only when its raw bytes are committed here.

Concurrent requests share one commit. While a group is being written, the next one gathers. Groups of a few
are written at a pace: the events of a payment come within moments of each other, and each commit costs those
who take payments a moment of the disk. The first after a rest, and a crowd, are written at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import autocommit, database_is_away
from tallystick.errors import DatabaseUnavailableError
from tallystick.pipeline.incoming import IncomingEvent

log = structlog.get_logger(__name__)

_LARGEST_GROUP: Final = 500
_FEW: Final = 8
_PACE_S: Final = 0.01
"""Between two groups of fewer than that."""
_MOST_WAITING: Final = 10_000
_MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Past these the database is too slow for what comes in: better a 503 at once than memory without end."""

_PERSIST: Final = text("""
INSERT INTO webhook_events (id, type, api_version, livemode, body, created_at, ring_at, found_by, about)
SELECT * FROM unnest(
  CAST(:ids AS text[]), CAST(:types AS text[]), CAST(:api_versions AS text[]), CAST(:livemodes AS boolean[]),
  CAST(:bodies AS bytea[]), CAST(:created AS timestamptz[]), CAST(:ring_ats AS timestamptz[]),
  CAST(:found_by AS text[]), CAST(:abouts AS text[])
)
ON CONFLICT (id) DO NOTHING
RETURNING id
""")


class Inbox:
    """Takes events in. ``ring`` is told the ids of new ones after their commit; it must not block."""

    def __init__(
        self,
        engine: AsyncEngine,
        ring: Callable[[Sequence[str]], None],
        *,
        ring_grace_s: float,
        timeout_s: float,
    ) -> None:
        self._engine = engine
        self._ring = ring
        self._grace = timedelta(seconds=ring_grace_s)
        self._timeout_s = timeout_s
        self._waiting: list[tuple[IncomingEvent, asyncio.Future[bool]]] = []
        self._waiting_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._not_before = 0.0

    @property
    def waiting(self) -> int:
        """Events that wait for their commit, without the group that is being written."""
        return len(self._waiting)

    async def receive(self, event: IncomingEvent) -> bool:
        """Store an event durably; True if it is new, False if it was stored before.

        Raises DatabaseUnavailableError when it cannot be said to be stored: the sender must try again.
        """
        if len(self._waiting) >= _MOST_WAITING or self._waiting_bytes >= _MOST_WAITING_BYTES:
            raise DatabaseUnavailableError("Too many events wait to be stored; send it again.", retry_after=5)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        self._waiting_bytes += len(event.body)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_groups(), name="inbox")
        return await future

    async def _write_groups(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < _FEW and (left_s := self._not_before - time.monotonic()) > 0:
                    await asyncio.sleep(left_s)
                self._not_before = time.monotonic() + _PACE_S
                group = self._waiting[:_LARGEST_GROUP]
                del self._waiting[:_LARGEST_GROUP]
                self._waiting_bytes -= sum(len(event.body) for event, _ in group)
                await self._write_group(group)
        finally:
            self._writer = None

    async def _write_group(self, group: list[tuple[IncomingEvent, asyncio.Future[bool]]]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                new = await self._persist([event for event, _ in group])
        except Exception as error:  # whatever it was, every caller must hear of it
            if len(group) > 1 and isinstance(error, SQLAlchemyError) and not database_is_away(error):
                for member in group:  # one of them is at fault: it must not refuse the others
                    await self._write_group([member])
                return
            # Those that came meanwhile would each wait for the same time-out, one group after the other.
            group = group + self._waiting
            self._waiting = []
            self._waiting_bytes = 0
            log.error("inbox_write_failed", events=len(group), error=f"{type(error).__name__}: {error}")
            refusal = DatabaseUnavailableError("The event could not be stored; send it again.", retry_after=5)
            refusal.__cause__ = error
            for _, future in group:
                if not future.done():
                    future.set_exception(refusal)
            return
        self._ring(sorted(new))
        for event, future in group:
            if not future.done():
                future.set_result(event.id in new)
                new.discard(event.id)  # the same event twice in a group is new once

    async def _persist(self, events: Sequence[IncomingEvent]) -> set[str]:
        ring_at = datetime.now(UTC) + self._grace
        by_id = {event.id: event for event in events}
        rows = [by_id[event_id] for event_id in sorted(by_id)]
        parameters: dict[str, list[Any]] = {
            "ids": [event.id for event in rows],
            "types": [event.type for event in rows],
            "api_versions": [event.api_version for event in rows],
            "livemodes": [event.livemode for event in rows],
            "bodies": [event.body for event in rows],
            "created": [event.created_at for event in rows],
            "ring_ats": [ring_at] * len(rows),
            "found_by": [event.found_by for event in rows],
            "abouts": [event.about for event in rows],
        }
        async with autocommit(self._engine) as connection:
            return set((await connection.execute(_PERSIST, parameters)).scalars())
