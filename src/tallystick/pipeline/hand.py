"""What a worker has in hand: rings taken from the streams and not worked off yet.

Readers fill it while a batch is being processed, and wait where it is full: a database that is slow slows
down the taking, so that what one worker cannot do is left in the streams for the others.

Batches that are not full are given out at a pace: a payment's events come within moments of each other, and a
batch of twenty costs little more than a batch of one. The pace is the time that batches take: a machine with
nothing else to do hears of an event at once, one that is busy gathers more of them, and does less for each.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from tallystick.pipeline.queue import Ring

_WEIGHT: Final = 0.2
"""Of the latest batch in the time that batches take."""


class Hand:
    """Between the readers of a worker and its processing."""

    def __init__(self, room: int, longest_pace_s: float) -> None:
        """Readers wait while ``room`` rings or more are in hand.

        Batches that are not full are begun as far apart as batches took lately, ``longest_pace_s`` at most.
        """
        self._room = room
        self._longest_pace_s = longest_pace_s
        self._pace_s = 0.0
        self._not_before = 0.0
        self._rings: deque[Ring] = deque()
        self._changed = asyncio.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._rings)

    async def has_room(self) -> None:
        """Wait until more may be taken from the streams."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._rings) < self._room)

    async def put(self, rings: Sequence[Ring]) -> None:
        """Take these in hand."""
        if rings:
            async with self._changed:
                self._rings.extend(rings)
                self._changed.notify_all()

    async def take(self, count: int) -> list[Ring]:
        """Up to ``count`` rings, oldest first, waiting for one; none at all when closed and worked off."""
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: self._closed or bool(self._rings))
                left_s = self._not_before - time.monotonic()
                if self._closed or len(self._rings) >= count or left_s <= 0:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._changed.wait_for(lambda: self._closed or len(self._rings) >= count)
            self._not_before = time.monotonic() + self._pace_s
            taken = [self._rings.popleft() for _ in range(min(count, len(self._rings)))]
            self._changed.notify_all()
        return taken

    def took(self, seconds: float) -> None:
        """A batch was worked off in so long."""
        self._pace_s += _WEIGHT * (min(seconds, self._longest_pace_s) - self._pace_s)

    async def close(self) -> None:
        """No more is taken from the streams."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
