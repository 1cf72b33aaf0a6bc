"""How many requests a key may make: counted in Redis, so that all processes count together.

A sliding window, kept by the library ``limits``: two counters a key, weighed by time. When Redis is away
requests pass: a limit is there to protect the service, and must not be what takes it down.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from tallystick.api.keys import ApiKey
from tallystick.app import App
from tallystick.errors import RateLimitedError

log = structlog.get_logger(__name__)

ATTEMPTS: Final = "20/minute"
"""Attempts to sign in to the console from one address."""
_PREFIX: Final = "tallystick:limits"
_PATIENCE_S: Final = 1.0
_AT_ONCE: Final = 32
"""Requests that are counted at once: the client refuses more than 100, and what is not counted passes."""
_FORGIVE_S: Final = 5.0
"""After Redis did not answer, requests are not counted for this long, and not delayed either."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key has left: ``remaining`` of ``quota`` requests in ``window_s``; more from ``reset_s`` on."""

    quota: int
    window_s: int
    remaining: int
    reset_s: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """As the IETF's draft on RateLimit header fields has it."""
        policy, left = (
            f'"api_key";q={self.quota};w={self.window_s}',
            f'"api_key";r={self.remaining};t={self.reset_s}',
        )
        return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())]


class KeyLimitedError(RateLimitedError):
    """``allowance`` is what the key has left: nothing."""

    def __init__(self, allowance: Allowance) -> None:
        detail = f"This API key may make {allowance.quota} requests in {allowance.window_s} seconds."
        super().__init__(detail, retry_after=allowance.reset_s)
        self.allowance = allowance


class RateLimits:
    """The limits of all keys; one a process."""

    def __init__(self, app: App) -> None:
        self._default = app.settings.rate_limit
        self._limiter = SlidingWindowCounterRateLimiter(_OnOurs(app.redis))
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._not_before = 0.0
        self._away = False

    async def spend(self, key: ApiKey) -> Allowance | None:
        """Count a request of the key; None when Redis does not answer. Raises KeyLimitedError."""
        found, passed = await self._hit(key.id, key.rate_limit or self._default)
        if not passed and found is not None:
            raise KeyLimitedError(found)
        return found

    async def attempt(self, address: str) -> None:
        """Count an attempt to sign in from an address. Raises RateLimitedError."""
        found, passed = await self._hit(f"sign-in:{address}", ATTEMPTS)
        if not passed and found is not None:
            detail = "Too many attempts to sign in came from this address. Wait a moment, then try again."
            raise RateLimitedError(detail, retry_after=found.reset_s)

    async def _hit(self, name: str, rate: str) -> tuple[Allowance | None, bool]:
        """What is left after one more, and whether it may pass; None when Redis does not answer."""
        limit = _item(rate)
        async with self._places:
            if time.monotonic() < self._not_before:
                return None, True
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    passed = await self._limiter.hit(limit, name)
                    reset_at, remaining = await self._limiter.get_window_stats(limit, name)
            except Exception as error:  # whatever the library and the driver make of it: requests must pass
                self._forgive(error)
                return None, True
        if self._away:
            self._away = False
            log.info("rate_limits_counted_again")
        reset_s = max(1, math.ceil(reset_at - time.time()))
        return Allowance(limit.amount, limit.get_expiry(), max(0, remaining), reset_s), passed

    def _forgive(self, error: Exception) -> None:
        self._not_before = time.monotonic() + _FORGIVE_S
        if not self._away:
            self._away = True
            log.warning(
                "rate_limits_not_counted", error=type(error).__name__, consequence="all requests pass"
            )


@lru_cache(maxsize=1000)
def _item(rate: str) -> RateLimitItem:
    return parse(rate)


class _OnOurs(RedisStorage):
    """The library's storage on the client that the process has, of one server or of a cluster.

    Opened and closed by its owner: clients that the library makes are never closed.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix=_PREFIX)

    def configure_bridge(self) -> None:
        """Called while it is made, in place of opening a client."""
        assert isinstance(self.bridge, RedispyBridge)
        self.bridge.storage = self._client
        self.bridge.connection_getter = lambda _readonly: self._client
