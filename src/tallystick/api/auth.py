"""Who may do what: bearer API keys and the scope that each route names.

A key is remembered for REMEMBER_S after it was read, so that a busy caller does not cost a query a request.
A revocation takes effect everywhere within that time.
"""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.api.keys import PREFIX, ApiKey, Scope, digest, find_key, touch_key
from tallystick.api.rate_limits import Allowance, RateLimits
from tallystick.errors import AuthenticationRequiredError, InsufficientScopeError, InvalidApiKeyError

REMEMBER_S: Final = 3.0
_MOST_REMEMBERED: Final = 1000
_LAST_USED_TO_THE: Final = timedelta(minutes=1)
_SHAPE: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{32,128}}", re.ASCII)


class Gate:
    """Lets keys through, or not; one a process."""

    def __init__(self, engine: AsyncEngine, limits: RateLimits) -> None:
        self._engine = engine
        self._limits = limits
        self._remembered: dict[bytes, tuple[ApiKey, float]] = {}
        self._reading: dict[bytes, asyncio.Task[ApiKey | None]] = {}

    async def admit(self, authorization: str | None, scope: Scope) -> ApiKey:
        """The key behind an Authorization header.

        Raises AuthenticationRequiredError, InvalidApiKeyError, InsufficientScopeError.
        """
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise AuthenticationRequiredError("Send an API key as 'Authorization: Bearer tsk_…'.")
        key = await self._find(secret.strip())
        if key is None or not key.valid_at(datetime.now(UTC)):
            raise InvalidApiKeyError("This API key is not known, or it has expired or been revoked.")
        if not key.may(scope):
            raise InsufficientScopeError(f"This needs the scope {scope}.", extra={"scope": scope})
        return key

    async def count(self, key: ApiKey) -> Allowance | None:
        """Count a request of an admitted key; what it has left, if that is known. Raises KeyLimitedError."""
        return await self._limits.spend(key)

    async def _find(self, secret: str) -> ApiKey | None:
        if not _SHAPE.fullmatch(secret):
            return None
        hashed = digest(secret)
        if (known := self._remembered.get(hashed)) is not None and time.monotonic() < known[1]:
            return known[0]
        # a thousand requests at one moment ask once
        if (reading := self._reading.get(hashed)) is None:
            reading = self._reading[hashed] = asyncio.create_task(self._read(secret, hashed))
            reading.add_done_callback(lambda _: self._reading.pop(hashed))
        return await asyncio.shield(reading)

    async def _read(self, secret: str, hashed: bytes) -> ApiKey | None:
        now = time.monotonic()
        async with self._engine.begin() as connection:
            key = await find_key(connection, secret)
            if key is not None and key.valid_at(datetime.now(UTC)) and _used_long_ago(key):
                await touch_key(connection, key.id)
        if key is not None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[hashed] = (key, now + REMEMBER_S)
        return key


def _used_long_ago(key: ApiKey) -> bool:
    return key.last_used_at is None or datetime.now(UTC) - key.last_used_at > _LAST_USED_TO_THE
