"""Posts a signed notice to an endpoint of the merchant's, and says in plain values what came of it.

The other side is not trusted: no redirect is followed, no proxy or cookie used, no address called that is not
public (see ``public_addresses``), nothing decompressed, and of the answer only the beginning read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from tallystick import __version__
from tallystick.pipeline.notices.public_addresses import AddressRefusedError, is_own, is_public, judged_socket
from tallystick.settings import Settings

_READ: Final = 4096
"""Bytes of an answer that are read."""
_KEPT: Final = 1000
"""Characters of it that are kept."""
_LONGEST_REST_S: Final = 86_400.0
_CONNECT_TIMEOUT_S: Final = 5.0
_GONE: Final = 410

_PROBLEMS: Final = (
    (aiohttp.ClientConnectorDNSError, ("name_not_found", "The host's name has no address.")),
    (
        (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError),
        ("tls_failed", "The host's certificate is not valid, or TLS failed."),
    ),
    (aiohttp.InvalidURL, ("url_refused", "The URL cannot be used.")),
    (OSError, ("connection_failed", "The connection was refused or lost.")),
    (aiohttp.ServerDisconnectedError, ("connection_failed", "The connection was closed without an answer.")),
)
"""What to say of an error: its code and a sentence. The first kind that fits counts."""

_refused: ContextVar[list[str]] = ContextVar("refused")
"""Set for each request: the connector joins the errors of all addresses into one that has no type."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of an attempt. ``error_code`` is None when the endpoint took the notice (any 2xx).

    Codes: ``http_status``, ``redirected``, ``timeout``, ``address_refused``, ``name_not_found``,
    ``tls_failed``, ``connection_failed``, ``answer_unreadable``, ``url_refused``, and of e-mail
    ``mail_refused``.
    """

    attempted_at: datetime
    duration_ms: int
    status: int | None = None
    body: str | None = None
    """The beginning of the answer."""
    error_code: str | None = None
    error: str | None = None
    retry_after_s: float = 0.0
    """How long the endpoint asks to be left alone."""

    @property
    def delivered(self) -> bool:
        """Whether the endpoint took it."""
        return self.error_code is None

    @property
    def gone(self) -> bool:
        """Whether the endpoint says that it is no more."""
        return self.status == _GONE


@dataclass(slots=True)
class _Seen:
    """An answer, as far as it has come in."""

    status: int | None = None
    body: str | None = None
    retry_after_s: float = 0.0


class WebhookClient:
    """An HTTP client for the endpoints of the merchant; one a process."""

    def __init__(self, settings: Settings, resolver: AbstractResolver | None = None) -> None:
        self._allow_private = settings.webhooks_allow_private
        self._timeout = aiohttp.ClientTimeout(
            total=settings.webhooks_timeout_s, connect=min(_CONNECT_TIMEOUT_S, settings.webhooks_timeout_s)
        )
        self._resolver = resolver
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            await self._opened.close()

    def fault_of(self, url: str) -> str | None:
        """Why notices are not sent to a URL, in a sentence; None for one that can be tried."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return "The URL cannot be read."
        if parts.scheme not in ("http", "https") or not host:
            return "The URL must begin with https:// and name a host."
        if parts.username is not None or parts.password is not None:
            return "The URL must carry no user name and no password: the signature says who sends."
        if parts.scheme != "https" and not self._allow_private:
            return "The URL must begin with https://."
        try:
            public = is_public(host) or (self._allow_private and is_own(host))
        except ValueError:  # a name: its address is judged when it is called
            public = self._allow_private or not host.rstrip(".").endswith(
                ("localhost", ".local", ".internal")
            )
        return None if public else "The URL leads to a private address."

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """One attempt; every outcome is a Reply."""
        refused: list[str] = []
        _refused.set(refused)
        at, begun = datetime.now(UTC), time.perf_counter()
        seen = _Seen()
        code, error = None, None
        if fault := self.fault_of(url):
            code, error = "url_refused", fault
        else:
            try:
                await self._exchange(url, body, headers, seen)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
                code, error = self._told(problem, refused)
            else:
                code, error = _judged(seen.status)
        return Reply(
            attempted_at=at,
            duration_ms=round((time.perf_counter() - begun) * 1000),
            status=seen.status,
            body=seen.body,
            error_code=code,
            error=error,
            retry_after_s=seen.retry_after_s,
        )

    async def _exchange(self, url: str, body: bytes, headers: Mapping[str, str], seen: _Seen) -> None:
        async with self._session().post(url, data=body, headers=headers, allow_redirects=False) as answer:
            seen.status = answer.status
            seen.retry_after_s = _retry_after(answer.headers.get("Retry-After"))
            beginning = b""
            while len(beginning) < _READ and (chunk := await answer.content.read(_READ - len(beginning))):
                beginning += chunk
            seen.body = beginning.decode("utf-8", "replace").replace("\0", "\ufffd")[:_KEPT]
            if not answer.content.at_eof():
                answer.close()  # the rest is not waited for

    def _session(self) -> aiohttp.ClientSession:
        """Opened by the first attempt, since a session belongs to a running event loop."""
        if self._opened is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # each endpoint has a limit of its own (see deliveries)
                use_dns_cache=False,
                resolver=self._resolver,
                socket_factory=self._judged_socket,
            )
            self._opened = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={"User-Agent": f"Tallystick/{__version__}", "Accept-Encoding": "identity"},
            )
        return self._opened

    def _judged_socket(self, address_info: Any) -> Any:
        try:
            return judged_socket(address_info, own=self._allow_private)
        except (AddressRefusedError, ValueError):
            _refused.get().append("address")
            raise

    def _told(self, problem: Exception, refused: list[str]) -> tuple[str, str]:
        """An error's code and sentence; what the system says of addresses inside is not passed on."""
        if refused:
            return "address_refused", "The host has an address that is not public."
        if isinstance(problem, TimeoutError):
            return "timeout", f"No whole answer within {self._timeout.total:g} seconds."
        for kinds, told in _PROBLEMS:
            if isinstance(problem, kinds):
                return told
        return "answer_unreadable", "The answer is not HTTP."


def _judged(status: int | None) -> tuple[str | None, str | None]:
    if status is not None and 200 <= status < 300:
        return None, None
    if status is not None and 300 <= status < 400:
        return "redirected", f"The endpoint answered {status}: redirects are not followed."
    return "http_status", f"The endpoint answered {status}."


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header; dates are passed over."""
    if value is None or not value.strip().isdecimal() or len(value) > 10:
        return 0.0
    return min(float(value), _LONGEST_REST_S)
