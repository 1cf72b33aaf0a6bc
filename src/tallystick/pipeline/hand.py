"""What a worker has in hand: rings taken from the streams and not worked off yet.

Readers fill it while a batch is being processed, and wait where it is full: a database that is slow slows
down the taking, so that what one worker cannot do is left in the streams for the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from tallystick.pipeline.queue import Ring


class Hand:
    """Between the readers of a worker and its processing."""

    def __init__(self, room: int) -> None:
        """Readers wait while ``room`` rings or more are in hand."""
        self._room = room
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
            await self._changed.wait_for(lambda: self._closed or bool(self._rings))
            taken = [self._rings.popleft() for _ in range(min(count, len(self._rings)))]
            self._changed.notify_all()
        return taken

    async def close(self) -> None:
        """No more is taken from the streams."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
