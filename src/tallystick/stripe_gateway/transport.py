"""The SDK's HTTP client over a session of our own, which remembers whether a try may have been carried out.

The SDK retries on its own, so its last error does not tell what happened before: a first try that was cut
after Stripe did the work can be followed by one that finds no connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import stripe

_CONNECT_TIMEOUT_S: Final = 5.0
_NEVER_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""Nothing of the request left: refused, no such host, no TLS, no free connection in time."""


@dataclass(slots=True)
class Tries:
    """What is known of the tries of one call."""

    uncertain: bool = False
    """A try may have been carried out, and its answer says nothing about it or was not heard."""


tries: ContextVar[Tries] = ContextVar("tries")
"""Set by whoever makes a call, for the length of it."""


class _NoAnswerError(stripe.APIConnectionError):
    def __init__(self, message: str) -> None:
        super().__init__(message, should_retry=True)  # type: ignore[no-untyped-call]


class Transport(stripe.AIOHTTPClient):
    """aiohttp with ``connections`` connections at most and ``timeout_s`` for a whole try."""

    def __init__(self, *, connections: int, timeout_s: float) -> None:
        super().__init__(timeout=None)
        self._connections = connections
        self._limits = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_TIMEOUT_S))
        self._opened: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Opened by the first call, since a session belongs to a running event loop."""
        if self._opened is None:
            context = ssl.create_default_context(cafile=stripe.ca_bundle_path)
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ssl=context),
                timeout=self._limits,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._opened

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One try, for the SDK; raises stripe.APIConnectionError."""
        known = tries.get()
        try:
            async with self.session.request(method, url, headers=headers, data=post_data) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            known.uncertain |= not isinstance(error, _NEVER_SENT)
            raise _NoAnswerError(f"No answer from Stripe ({type(error).__name__}).") from error
        known.uncertain |= response.status >= 500 or response.status == 409
        return body, response.status, response.headers

    def _should_retry(
        self, response: Any, api_connection_error: Any, num_retries: int, max_network_retries: int | None
    ) -> bool:
        """Retry a 429 as well, within the budget: the SDK leaves most of them to the caller."""
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
