"""A circuit breaker: after many outages in a short time nothing is sent for a while, then one try at a time.

Closed, it lets every try pass and counts. It opens when ``threshold`` tries or more of the last ``window_s``
seconds met an outage and they are at least half of all. Open, it refuses at once. After the pause it is half
open: one probe passes; its success closes the breaker, its failure opens it for twice as long, up to
``LONGEST_PAUSE_S``. What counts as an outage is the caller's to say: a decline is an answer.

One belongs to one event loop: nothing here awaits, so nothing is locked.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import structlog

log = structlog.get_logger(__name__)

LONGEST_PAUSE_S: Final = 60.0


class BreakerState(StrEnum):
    """Whether tries pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOpenError(Exception):
    """The breaker is open: do not try before ``retry_after`` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"refused for {retry_after} s")
        self.retry_after = retry_after


class Breaker:
    """See the module; ``clock`` is in seconds and only goes forward."""

    def __init__(
        self, *, threshold: int, window_s: float, pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threshold = threshold
        self._window_s = window_s
        self._first_pause_s = pause_s
        self._clock = clock
        self._recent: deque[tuple[float, bool]] = deque()
        self._outages = 0
        self._pause_s = pause_s
        self._open_until: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """As it would meet the next try."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._open_until else BreakerState.HALF_OPEN

    def check(self) -> None:
        """Raise BreakerOpenError where a try would be refused now."""
        if self._open_until is None:
            return
        left_s = self._open_until - self._clock()
        if left_s > 0 or self._probing:
            raise BreakerOpenError(max(1, math.ceil(left_s)))

    def admit(self) -> bool:
        """Let a try pass, and say whether it is the probe; raises BreakerOpenError.

        Every admitted try ends in ``succeeded``, ``failed`` or ``given_up``.
        """
        self.check()
        probe = self._open_until is not None
        self._probing = self._probing or probe
        return probe

    def succeeded(self, probe: bool) -> None:
        """The try was answered."""
        if probe:
            self._close()
        elif self._open_until is None:
            self._count(outage=False)

    def failed(self, probe: bool) -> None:
        """The try met an outage."""
        if probe:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._open()
        elif self._open_until is None:  # tries that began before it opened say nothing new
            self._count(outage=True)

    def given_up(self, probe: bool) -> None:
        """The try was cancelled: it says nothing, and the next one may be the probe."""
        if probe:
            self._probing = False

    def _count(self, *, outage: bool) -> None:
        now = self._clock()
        self._recent.append((now, outage))
        self._outages += outage
        while self._recent[0][0] <= now - self._window_s:
            self._outages -= self._recent.popleft()[1]
        if outage and self._outages >= self._threshold and 2 * self._outages >= len(self._recent):
            self._open()

    def _open(self) -> None:
        self._open_until = self._clock() + self._pause_s
        self._probing = False
        log.error("stripe_breaker_opened", outages=self._outages, pause_s=self._pause_s)
        self._recent.clear()
        self._outages = 0

    def _close(self) -> None:
        self._open_until, self._probing, self._pause_s = None, False, self._first_pause_s
        log.info("stripe_breaker_closed")
