"""Time: every ``created`` and every delay of the sandbox goes through one clock, so tests can hold it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A call that has been set for later and can be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it has already rung."""


class Clock(Protocol):
    """What the sandbox asks of a clock. Times are seconds since the epoch."""

    def now(self) -> float:
        """The time."""

    def call_at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call ``call`` in the event loop once ``now()`` has reached ``due``."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""


class RealClock:
    """The machine's clock."""

    def now(self) -> float:
        """The time."""
        return time.time()

    def call_at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call ``call`` in the running loop at ``due``."""
        return asyncio.get_running_loop().call_later(max(0.0, due - time.time()), call)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


class _Ring:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, start: float = 1_793_000_000.0) -> None:
        self._now = start
        self._count = itertools.count()
        self._alarms: list[tuple[float, int, _Ring]] = []

    def now(self) -> float:
        """The time."""
        return self._now

    def call_at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call ``call`` when the clock is moved to ``due`` or past it; what is due already rings soon."""
        ring = _Ring(call)
        if due <= self._now:
            asyncio.get_running_loop().call_soon(self._ring, ring)
        else:
            heapq.heappush(self._alarms, (due, next(self._count), ring))
        return ring

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been moved so far."""
        woken = asyncio.get_running_loop().create_future()
        alarm = self.call_at(self._now + seconds, lambda: woken.set_result(None))
        try:
            await woken
        finally:
            alarm.cancel()

    def advance(self, seconds: float) -> None:
        """Move on, ringing every alarm at its own time, in order."""
        goal = self._now + seconds
        while self._alarms and self._alarms[0][0] <= goal:
            due, _, ring = heapq.heappop(self._alarms)
            self._now = max(self._now, due)
            self._ring(ring)
        self._now = goal

    @staticmethod
    def _ring(ring: _Ring) -> None:
        call, ring.call = ring.call, None
        if call is not None:
            call()
