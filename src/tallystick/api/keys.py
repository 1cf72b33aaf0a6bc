"""API keys: made, listed, revoked, found. At rest there is only the SHA-256 of a key.

A key has 238 bits of chance in it, so a fast digest is as good as a slow one, and finding the row by the
digest gives away nothing of the key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.ids import new_id
from tallystick.errors import InvalidRequestError

PREFIX: Final = "tsk_"
_ALPHABET: Final = string.ascii_letters + string.digits
_LENGTH: Final = 40


class Scope(StrEnum):
    """What a key may do; ADMIN may do everything."""

    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    REFUNDS_WRITE = "refunds:write"
    LEDGER_READ = "ledger:read"
    EVENTS_READ = "events:read"
    EVENTS_REPLAY = "events:replay"
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

    def may(self, scope: Scope) -> bool:
        """Whether the key carries the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def valid_at(self, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_COLUMNS: Final = "id, name, hint, hash, scopes, created_at, expires_at, revoked_at, last_used_at"

_INSERT: Final = text("""
INSERT INTO api_keys (id, name, hint, hash, scopes, expires_at)
VALUES (:id, :name, :hint, :hash, CAST(:scopes AS text[]), :expires_at)
""")

_LIST: Final = text(f"SELECT {_COLUMNS} FROM api_keys ORDER BY id")

_FIND: Final = text(f"SELECT {_COLUMNS} FROM api_keys WHERE hash = :hash")

_REVOKE: Final = text("""
UPDATE api_keys SET revoked_at = now() WHERE id = :id AND revoked_at IS NULL RETURNING id
""")

_TOUCH: Final = text("""
UPDATE api_keys SET last_used_at = now()
 WHERE id = :id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
""")


def digest(secret: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode()).digest()


async def create_key(
    connection: AsyncConnection, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[str, str]:
    """Make a key; returns its id and the key itself, which cannot be had again.

    Raises InvalidRequestError for an unknown scope, or none.
    """
    wanted = sorted(set(scopes))
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise InvalidRequestError(f"No such scope: {', '.join(unknown)}.", param="scopes")
    if not wanted:
        raise InvalidRequestError("A key needs at least one scope.", param="scopes")
    secret = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    key_id = new_id("key")
    row = {"id": key_id, "name": name, "hint": secret[-4:], "hash": digest(secret)}
    await connection.execute(_INSERT, {**row, "scopes": wanted, "expires_at": expires_at})
    return key_id, secret


async def list_keys(connection: AsyncConnection) -> list[dict[str, Any]]:
    """All keys, revoked ones too, oldest first, by the names of ``ApiKey``."""
    keys = [_key(row) for row in await connection.execute(_LIST)]
    return [{**asdict(key), "scopes": sorted(key.scopes)} for key in keys]


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
    )
