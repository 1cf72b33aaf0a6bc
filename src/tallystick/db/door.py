"""A door before the database: what begins new work waits its turn outside, and holds no connection there.

Only half of the connections are for beginning. The others finish what was begun, read, and take events in: so
a thousand requests at one moment do not stand in the way of the answers to those that came first, and what
Stripe was asked for is always stored. Turns are given in the order in which requests came.

One belongs to one event loop: between two awaits nothing else runs, so nothing is locked.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from tallystick.errors import DatabaseUnavailableError, OverloadedError

_MOST_WAITING: Final = 10_000
_LONGEST_RETRY_S: Final = 60
_KNOWN_AFTER_S: Final = 5.0
"""A line that stands for so long shows how fast it moves."""


class Door:
    """Lets ``places`` requests begin at once. ``clock`` is in seconds and only goes forward.

    Nobody waits longer than ``wait_s`` in all, nor than ``still_s`` while the line does not move.
    """

    def __init__(
        self, places: int, *, wait_s: float, still_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = places
        self._wait_s = wait_s
        self._still_s = still_s
        self._clock = clock
        self._line: deque[asyncio.Future[None]] = deque()
        self._moved = clock()
        self._since = 0.0
        self._turns: deque[float] = deque(maxlen=100)
        """When the latest turns were given, of the line that has stood since then."""

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._line)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the block.

        Raises OverloadedError when it would not come in time, DatabaseUnavailableError when none is given.
        """
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    async def _enter(self) -> None:
        if self._free:
            self._free -= 1
            return
        if not self._line:
            self._since = self._clock()
            self._turns.clear()
        if len(self._line) >= _MOST_WAITING or self._expected_s() > self._wait_s:
            raise self._overloaded()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        came = self._clock()
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=self._left_s(came))
        except BaseException:
            if turn.done():
                self._leave()  # given to one that is no longer there
            else:
                self._line.remove(turn)
            raise

    def _left_s(self, came: float) -> float:
        """How long one that came then still waits; raises when that is over."""
        now = self._clock()
        still_s = max(came, self._moved) + self._still_s - now
        if still_s <= 0:
            raise DatabaseUnavailableError("The database does not get on with what it was asked before.")
        left_s = came + self._wait_s - now
        if left_s <= 0:
            raise self._overloaded()
        return min(still_s, left_s)

    def _leave(self) -> None:
        self._moved = self._clock()
        if self._line:
            self._turns.append(self._moved)
            self._line.popleft().set_result(None)
        else:
            self._free += 1

    def _expected_s(self) -> float:
        """How long the last of the line will wait; 0 where nothing is known of it."""
        now = self._clock()
        if not self._turns or now - self._since < _KNOWN_AFTER_S:
            return 0.0
        begun = self._turns[0] if len(self._turns) == self._turns.maxlen else self._since
        return len(self._line) * (now - begun) / len(self._turns)

    def _overloaded(self) -> OverloadedError:
        return OverloadedError(
            f"More requests wait than can begin within {self._wait_s:g} seconds; nothing was done.",
            retry_after=min(max(1, math.ceil(self._expected_s())), _LONGEST_RETRY_S),
        )
