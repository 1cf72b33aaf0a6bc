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

    ahead: float
    """How far it has been moved on from the machine's clock; to be kept over a restart."""

    def now(self) -> float:
        """The time."""

    def wall(self) -> float:
        """The time by which others judge a signature."""

    def call_at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call ``call`` in the event loop once ``now()`` has reached ``due``."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""

    def advance(self, seconds: float) -> None:
        """Move on, ringing every alarm at its own time, in order."""


class _Ring:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None

    def ring(self) -> None:
        call, self.call = self.call, None
        if call is not None:
            call()


class _Alarms:
    """Alarms by time; those of the same time ring in the order they were set."""

    def __init__(self) -> None:
        self._count = itertools.count()
        self._heap: list[tuple[float, int, _Ring]] = []

    def add(self, due: float, ring: _Ring) -> None:
        heapq.heappush(self._heap, (due, next(self._count), ring))

    def next_due(self) -> float | None:
        """When the next one that has not been called off rings."""
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self) -> _Ring:
        return heapq.heappop(self._heap)[2]


class RealClock:
    """The machine's clock, which can be moved on."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._alarms = _Alarms()
        self._wake: tuple[float, asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None

    def now(self) -> float:
        """The time."""
        return time.time() + self.ahead

    def wall(self) -> float:
        """The machine's time."""
        return time.time()

    def call_at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call ``call`` in the running loop at ``due``."""
        ring = _Ring(call)
        self._alarms.add(due, ring)
        self._set(due)
        return ring

    async def sleep(self, seconds: float) -> None:
        """Return when so much of this clock's time has passed."""
        if not seconds:
            return
        await _sleep(self, seconds)

    def advance(self, seconds: float) -> None:
        """Move on, ringing every alarm at its own time, in order."""
        goal = self.ahead + seconds
        end = time.time() + goal
        while (due := self._alarms.next_due()) is not None and due <= end:
            self.ahead = min(goal, max(self.ahead, due - time.time()))
            self._alarms.pop().ring()
        self.ahead = goal
        self._rearm()

    def _set(self, due: float) -> None:
        """Wake up at ``due``, unless that is planned for sooner."""
        loop = asyncio.get_running_loop()
        if self._wake is not None:
            planned, where, handle = self._wake
            if planned <= due and where is loop:
                return
            handle.cancel()
        self._wake = due, loop, loop.call_later(max(0.0, due - self.now()), self._ring_due)

    def _rearm(self) -> None:
        if self._wake is not None:
            self._wake[2].cancel()
            self._wake = None
        due = self._alarms.next_due()
        if due is not None:
            self._set(due)

    def _ring_due(self) -> None:
        self._wake = None
        while (due := self._alarms.next_due()) is not None and due <= self.now():
            self._alarms.pop().ring()
        self._rearm()


async def _sleep(clock: Clock, seconds: float) -> None:
    woken = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    alarm = clock.call_at(clock.now() + seconds, wake)
    try:
        await woken
    finally:
        alarm.cancel()


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, start: float = 1_793_000_000.0) -> None:
        self.ahead = 0.0
        self._now = start
        self._alarms = _Alarms()

    def now(self) -> float:
        """The time."""
        return self._now

    def wall(self) -> float:
        """The same: who holds this clock judges by it."""
        return self._now

    def call_at(self, due: float, call: Callable[[], None]) -> Alarm:
        """Call ``call`` when the clock is moved to ``due`` or past it; what is due already rings soon."""
        ring = _Ring(call)
        if due <= self._now:
            asyncio.get_running_loop().call_soon(ring.ring)
        else:
            self._alarms.add(due, ring)
        return ring

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been moved so far."""
        await _sleep(self, seconds)

    def advance(self, seconds: float) -> None:
        """Move on, ringing every alarm at its own time, in order."""
        goal = self._now + seconds
        while (due := self._alarms.next_due()) is not None and due <= goal:
            self._now = max(self._now, due)
            self._alarms.pop().ring()
        self._now = goal
