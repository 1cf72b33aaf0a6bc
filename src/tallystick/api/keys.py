"""API keys: made, listed, revoked, found. At rest there is only the SHA-256 of a key.

A key has 238 bits of chance in it, so a fast digest is as good as a slow one, and finding the row by the
digest gives away nothing of the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.ids import new_id
from tallystick.errors import InvalidRequestError, InvalidStateError, NotFoundError
from tallystick.settings import RATE

PREFIX: Final = "tsk_"
_ALPHABET: Final = string.ascii_letters + string.digits
_LENGTH: Final = 40


class Scope(StrEnum):
    """What a key may do; ADMIN may do everything."""

    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    REFUNDS_WRITE = "refunds:write"
    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"
    LEDGER_READ = "ledger:read"
    LEDGER_WRITE = "ledger:write"
    LEDGER_APPROVE = "ledger:approve"
    EVENTS_READ = "events:read"
    EVENTS_REPLAY = "events:replay"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"


SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it stands; ``hint`` is its last four characters."""

    id: str
    name: str
    hint: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rate_limit: str | None
    """Such as 100/second; None: that of the settings."""

    def may(self, scope: Scope) -> bool:
        """Whether the key carries the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def valid_at(self, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_COLUMNS: Final = "id, name, hint, hash, scopes, created_at, expires_at, revoked_at, last_used_at, rate_limit"

_INSERT: Final = text("""
INSERT INTO api_keys (id, name, hint, hash, scopes, expires_at, rate_limit)
VALUES (:id, :name, :hint, :hash, CAST(:scopes AS text[]), :expires_at, :rate_limit)
""")

_LIST: Final = text(f"SELECT {_COLUMNS} FROM api_keys WHERE id > :after ORDER BY id LIMIT :limit")

_GET: Final = text(f"SELECT {_COLUMNS} FROM api_keys WHERE id = :id")

_FIND: Final = text(f"SELECT {_COLUMNS} FROM api_keys WHERE hash = :hash")

_REVOKE: Final = text("""
UPDATE api_keys SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING id
""")

# Only sooner than before: a grace gives no key more time.
_EXPIRE: Final = text("""
UPDATE api_keys SET expires_at = least(expires_at, now() + CAST(:grace AS interval))
 WHERE id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
RETURNING id
""")

_TOUCH: Final = text("""
UPDATE api_keys SET last_used_at = now()
 WHERE id = :id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
""")


def digest(secret: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode()).digest()


async def create_key(
    connection: AsyncConnection,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
    *,
    rate_limit: str | None = None,
    key_id: str | None = None,
) -> tuple[str, str]:
    """Make a key; returns its id and the key itself, which cannot be had again.

    Raises InvalidRequestError for an unknown scope or none, a time that is past, or a limit that cannot be
    read.
    """
    wanted = sorted(set(scopes))
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise InvalidRequestError(f"No such scope: {', '.join(unknown)}.", param="scopes")
    if not wanted:
        raise InvalidRequestError("A key needs at least one scope.", param="scopes")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequestError("The time at which it expires is past.", param="expires_at")
    if rate_limit is not None and not re.fullmatch(RATE, rate_limit):
        raise InvalidRequestError(
            "A limit is a number a second, minute or hour: 100/second.", param="rate_limit"
        )
    secret = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    key_id = key_id or new_id("key")
    row = {"id": key_id, "name": name, "hint": secret[-4:], "hash": digest(secret), "scopes": wanted}
    await connection.execute(_INSERT, {**row, "expires_at": expires_at, "rate_limit": rate_limit})
    return key_id, secret


async def rotate_key(
    connection: AsyncConnection,
    key_id: str,
    *,
    grace: timedelta,
    expires_at: datetime | None = None,
    new_key_id: str | None = None,
) -> tuple[str, str]:
    """Make another key like this one, which ends after ``grace`` unless it ends before.

    Returns the new key's id and the key itself. The new key expires at ``expires_at``, else when the old
    one would have. Raises NotFoundError, InvalidRequestError, and InvalidStateError for a key that is revoked
    or expired.
    """
    old = await get_key(connection, key_id)
    if (await connection.execute(_EXPIRE, {"id": key_id, "grace": grace})).first() is None:
        raise InvalidStateError("The API key is revoked or has expired.")
    return await create_key(
        connection,
        old.name,
        old.scopes,
        expires_at or old.expires_at,
        rate_limit=old.rate_limit,
        key_id=new_key_id,
    )


async def list_keys(
    connection: AsyncConnection, *, after: str = "", limit: int | None = None
) -> list[dict[str, Any]]:
    """Keys, revoked ones too, oldest first, by the names of ``ApiKey``; ``after`` the id of one."""
    rows = await connection.execute(_LIST, {"after": after, "limit": limit})
    return [shown(_key(row)) for row in rows]


def shown(key: ApiKey) -> dict[str, Any]:
    """A key by the names of ``ApiKey``, with its scopes in order."""
    return {**asdict(key), "scopes": sorted(key.scopes)}


async def get_key(connection: AsyncConnection, key_id: str) -> ApiKey:
    """A key, valid or not; raises NotFoundError."""
    row = (await connection.execute(_GET, {"id": key_id})).first()
    if row is None:
        raise NotFoundError(f"There is no API key {key_id}.")
    return _key(row)


async def revoke_key(connection: AsyncConnection, key_id: str) -> bool:
    """End a key for good; False when there is no such key that is not revoked."""
    return (await connection.execute(_REVOKE, {"id": key_id})).first() is not None


async def is_live(connection: AsyncConnection, secret: str) -> bool:
    """Whether the key would be let in now."""
    key = await find_key(connection, secret)
    return key is not None and key.valid_at(datetime.now(UTC))


async def find_key(connection: AsyncConnection, secret: str) -> ApiKey | None:
    """The row of a key, valid or not."""
    wanted = digest(secret)
    row = (await connection.execute(_FIND, {"hash": wanted})).first()
    return _key(row) if row is not None and hmac.compare_digest(row.hash, wanted) else None


async def touch_key(connection: AsyncConnection, key_id: str) -> None:
    """Note that a key is in use, to the minute."""
    await connection.execute(_TOUCH, {"id": key_id})


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=frozenset(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        rate_limit=row.rate_limit,
    )
