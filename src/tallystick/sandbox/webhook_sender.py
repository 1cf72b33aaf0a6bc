"""One event sent to one endpoint: rendered in its version, signed with its secrets, posted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable

import aiohttp

from tallystick.sandbox import events
from tallystick.sandbox.clock import Clock
from tallystick.sandbox.store import Obj, Store
from tallystick.sandbox.versions import Relations


def signature(body: bytes, secrets: Iterable[str], at: int) -> str:
    """The Stripe-Signature header over the raw body, one v1 a secret."""
    signed = b"%d.%b" % (at, body)
    marks = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={mark}" for mark in marks)])


class WebhookSender:
    """The HTTP client that deliveries are made with; ``timeout`` is the seconds an endpoint has to answer."""

    def __init__(self, store: Store, clock: Clock, relations: Relations, timeout: float) -> None:
        self._store = store
        self._clock = clock
        self._relations = relations
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    @property
    def opened(self) -> bool:
        """Whether it can send."""
        return self._session is not None

    def open(self) -> None:
        """Be ready to send."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=self._timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # let the transports close

    async def send(
        self, event: Obj, endpoint: Obj, *, wrong_secret: bool, api_version: str | None
    ) -> tuple[int, str | None]:
        """Post an event; the status that was answered, or 0 and what went wrong instead."""
        secrets = ["whsec_wrong"] if wrong_secret else self._secrets(endpoint)
        body = events.body(event, endpoint, api_version, self._relations)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(body, secrets, int(self._clock.wall())),
        }
        return await self._post(self._url(endpoint), body, headers)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        assert self._session is not None
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status, None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"

    def _url(self, endpoint: Obj) -> str:
        url: str = endpoint["url"] if "url" in endpoint else self._store.hidden(endpoint)["url"]
        return url

    def _secrets(self, endpoint: Obj) -> list[str]:
        hidden, now = self._store.hidden(endpoint), self._clock.now()
        old = [secret for secret, until in hidden.get("old_secrets", ()) if until > now]
        return [hidden["secret"], *old]
