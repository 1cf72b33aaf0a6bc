"""Holds work to a pace: a replay to what the database bears, look-ups to what Stripe allows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pace:
    """Holds work to so many items a second; 0 does not hold it."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._per_second = per_second
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()

    def portion(self, most: int) -> int:
        """How many items to do at once, ``most`` at most, so that several portions fit into a second."""
        return max(1, min(most, int(self._per_second / 4))) if self._per_second else most

    @property
    def behind_s(self) -> float:
        """How long the next item would have to wait."""
        return max(0.0, self._next_at - self._clock())

    async def spend(self, items: int) -> None:
        """Wait until so many more items may be done."""
        if not self._per_second:
            return
        self._next_at = max(self._next_at, self._clock())
        wait_s = self._next_at - self._clock()
        self._next_at += items / self._per_second
        if wait_s > 0:
            await self._sleep(wait_s)
