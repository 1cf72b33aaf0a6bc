"""The SDK's HTTP client over a session of our own, which remembers whether a try may have been carried out.

The SDK retries on its own, so its last error does not tell what happened before: a first try that was cut
after Stripe did the work can be followed by one that finds no connection. Each try waits for one of a limited
number of slots, and passes the circuit breaker: a slow Stripe cannot take all, a dead one costs nothing.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import stripe

from tallystick.monitoring import metrics
from tallystick.stripe_gateway.breaker import Breaker, BreakerOpenError

_QUEUE_FULL_RETRY_S: Final = 2
_RESOURCE: Final = re.compile(r"/v[12]/([a-z_]{1,40})(?:/|$)")
_NEVER_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""Nothing of the request left: refused, no such host, no TLS, no free connection in time."""


@dataclass(slots=True)
class Tries:
    """What is known of the tries of one call; ``deadline``: the end of its budget on the monotonic clock."""

    deadline: float
    uncertain: bool = False
    """A try may have been carried out, and its answer says nothing about it or was not heard."""
    held_back: str = ""
    """Why the last try was not sent at all."""
    retry_after: int = 2
    """When it could be, in seconds."""

    @property
    def left_s(self) -> float:
        """What is left of the budget."""
        return self.deadline - time.monotonic()


tries: ContextVar[Tries] = ContextVar("tries")
"""Set by whoever makes a call, for the length of it."""


@dataclass(slots=True)
class Wait:
    """What was spent on waiting for Stripe."""

    seconds: float = 0.0


wait: ContextVar[Wait | None] = ContextVar("wait", default=None)
"""Set by whoever wants to know how long the calls of a task wait for Stripe's answers, retries too."""


class _NoAnswerError(stripe.APIConnectionError):
    def __init__(self, message: str, *, should_retry: bool) -> None:
        super().__init__(message, should_retry=should_retry)  # type: ignore[no-untyped-call]


class _HeldBackError(_NoAnswerError):
    """Nothing was sent."""


class Transport(stripe.AIOHTTPClient):
    """aiohttp with ``connections`` tries at once, ``queue_s`` to wait and ``timeout_s`` for a whole try."""

    def __init__(
        self,
        breaker: Breaker,
        *,
        connections: int,
        queue_s: float,
        timeout_s: float,
        connect_timeout_s: float,
    ) -> None:
        super().__init__(timeout=None)
        self._breaker = breaker
        self._connections = connections
        self._slots = asyncio.Semaphore(connections)
        self._queue_s = queue_s
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._opened: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Opened by the first call, since a session belongs to a running event loop."""
        if self._opened is None:
            context = ssl.create_default_context(cafile=stripe.ca_bundle_path)
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._opened

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One try, for the SDK; raises stripe.APIConnectionError."""
        outcome = "no_answer"
        try:
            body, status, answered = await self._try(method, url, headers, post_data)
            outcome = "429" if status == 429 else f"{status // 100}xx"
        except _HeldBackError:
            outcome = "held_back"
            raise
        finally:
            metrics.STRIPE_REQUESTS.labels(method.upper(), _resource(url), outcome).inc()
        return body, status, answered

    async def _try(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> tuple[bytes, int, Mapping[str, str]]:
        known = tries.get()
        async with self._slot(known):
            try:
                probe = self._breaker.admit()
            except BreakerOpenError as error:
                raise _held_back(known, "has not been answering", error.retry_after) from None
            try:
                body, status, answered = await self._send(method, url, headers, post_data, known)
            except _NoAnswerError:
                self._breaker.failed(probe)
                raise
            except BaseException:
                self._breaker.given_up(probe)
                raise
        known.uncertain |= status >= 500 or status == 409
        (self._breaker.failed if status >= 500 else self._breaker.succeeded)(probe)
        return body, status, answered

    @asynccontextmanager
    async def _slot(self, known: Tries) -> AsyncIterator[None]:
        """A place among the tries under way; given in the order in which they came."""
        try:
            self._breaker.check()
            async with asyncio.timeout(min(known.left_s, self._queue_s)):
                await self._slots.acquire()
        except BreakerOpenError as error:
            raise _held_back(known, "has not been answering", error.retry_after) from None
        except TimeoutError:
            raise _held_back(known, "answers too slowly for all that wait", _QUEUE_FULL_RETRY_S) from None
        try:
            yield
        finally:
            self._slots.release()

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any, known: Tries
    ) -> tuple[bytes, int, Mapping[str, str]]:
        total = max(0.001, min(self._timeout_s, known.left_s))
        limits = aiohttp.ClientTimeout(total=total, sock_connect=min(total, self._connect_timeout_s))
        begun = time.perf_counter()
        try:
            async with self.session.request(
                method, url, headers=headers, data=post_data, timeout=limits
            ) as response:
                return await response.read(), response.status, response.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            known.uncertain |= not isinstance(error, _NEVER_SENT)
            name = type(error).__name__
            raise _NoAnswerError(f"No answer from Stripe ({name}).", should_retry=True) from error
        finally:
            seconds = time.perf_counter() - begun
            metrics.STRIPE_SECONDS.labels(method.upper()).observe(seconds)
            if (waiting := wait.get()) is not None:
                waiting.seconds += seconds

    def _should_retry(
        self, response: Any, api_connection_error: Any, num_retries: int, max_network_retries: int | None
    ) -> bool:
        """Retry a 429 as well, since the SDK leaves most of them to the caller; nothing past the budget."""
        if tries.get().left_s <= min(self.INITIAL_DELAY * 2**num_retries, self.MAX_DELAY):
            return False
        if super()._should_retry(response, api_connection_error, num_retries, max_network_retries):
            return True
        if response is None or num_retries >= (max_network_retries or 0):
            return False
        _, status, headers = response
        return bool(status == 429 and headers.get("Stripe-Should-Retry") != "false")

    async def close_async(self) -> None:
        """Close the session, if one was opened."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None


def _resource(url: str) -> str:
    """What a call is about: ``payment_intents`` of ``https://api.stripe.com/v1/payment_intents/pi_1``."""
    found = _RESOURCE.match(urlsplit(url).path)
    return found[1] if found else metrics.OTHER


def _held_back(known: Tries, why: str, retry_after: int) -> _HeldBackError:
    known.held_back, known.retry_after = why, retry_after
    return _HeldBackError(f"Not sent: Stripe {why}.", should_retry=False)
