"""Who is signed in to the console: a row a session, of whose token there is only the SHA-256.

A session belongs to an API key and ends with it: it is looked up anew for every page, so that a revocation
takes effect at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.api.keys import ApiKey, find_key, get_key, touch_key
from tallystick.db.session import autocommit
from tallystick.errors import AuthenticationRequiredError, InvalidApiKeyError
from tallystick.settings import Settings

_SEEN_TO_THE: Final = timedelta(minutes=1)

_BEGIN: Final = text("INSERT INTO console_sessions (token_hash, api_key_id) VALUES (:hash, :api_key_id)")
_FIND: Final = text("""
SELECT api_key_id, seen_at FROM console_sessions
 WHERE token_hash = :hash AND began_at > now() - CAST(:longest AS interval)
   AND seen_at > now() - CAST(:idle AS interval)
""")
_SEEN: Final = text("UPDATE console_sessions SET seen_at = now() WHERE token_hash = :hash")
_END: Final = text("DELETE FROM console_sessions WHERE token_hash = :hash")
_REAP: Final = text("""
DELETE FROM console_sessions
 WHERE began_at <= now() - CAST(:longest AS interval) OR seen_at <= now() - CAST(:idle AS interval)
""")


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in: their session's token, and the API key they signed in with."""

    token: str
    key: ApiKey

    @property
    def form_token(self) -> str:
        """What each of their forms carries to show that it is one of ours."""
        return form_token(self.token)


class Sessions:
    """Begins, finds and ends sessions; one a process."""

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        self._engine = engine
        self._spans = {
            "longest": timedelta(seconds=settings.console_session_s),
            "idle": timedelta(seconds=settings.console_idle_s),
        }
        self._seen_to_the = min(_SEEN_TO_THE, self._spans["idle"] / 10)

    async def begin(self, secret: str) -> Session:
        """Sign in with an API key; removes sessions that have ended. Raises InvalidApiKeyError."""
        token = secrets.token_urlsafe(32)
        async with self._engine.begin() as connection:
            key = await find_key(connection, secret)
            if key is None or not key.valid_at(datetime.now(UTC)):
                raise InvalidApiKeyError("This API key is not known, or it has expired or been revoked.")
            await connection.execute(_REAP, self._spans)
            await connection.execute(_BEGIN, {"hash": _hash(token), "api_key_id": key.id})
            await touch_key(connection, key.id)
        return Session(token, key)

    async def find(self, token: str | None) -> Session:
        """The session of a token. Raises AuthenticationRequiredError when there is none, or it has ended."""
        async with autocommit(self._engine) as connection:
            key = await self._key(connection, token) if token else None
        if key is None or not key.valid_at(datetime.now(UTC)):
            raise AuthenticationRequiredError("Sign in first.")
        assert token is not None
        return Session(token, key)

    async def _key(self, connection: AsyncConnection, token: str) -> ApiKey | None:
        hashed = _hash(token)
        row = (await connection.execute(_FIND, {"hash": hashed, **self._spans})).first()
        if row is None:
            return None
        key = await get_key(connection, row.api_key_id)
        now = datetime.now(UTC)
        if now - row.seen_at > self._seen_to_the and key.valid_at(now):
            await connection.execute(_SEEN, {"hash": hashed})
            await touch_key(connection, key.id)
        return key

    async def end(self, token: str) -> None:
        """Sign out; harmless when there is no such session."""
        async with self._engine.begin() as connection:
            await connection.execute(_END, {"hash": _hash(token)})


def form_token(token: str) -> str:
    """Follows from the secret in a cookie, and gives nothing of it away."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
