"""The signing secrets of endpoints: one, or two and more while a rotation's grace lasts.

They have to be read again to sign, so a digest would not do. With a master key they are sealed as ``vault``
seals all secrets; without one they stand in the database as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import ConfigurationError
from tallystick.outbox.signing import new_secret
from tallystick.vault import Vault

_NEXT: Final = text("""
SELECT coalesce(max(version), 0) + 1 FROM endpoint_secrets WHERE endpoint_id = :id
""")

_INSERT: Final = text("""
INSERT INTO endpoint_secrets (endpoint_id, version, key_id, nonce, ciphertext)
VALUES (:endpoint_id, :version, :key_id, :nonce, :ciphertext)
""")

# What had ended before goes; what still signs ends with the grace, if it does not end sooner.
_FORGET: Final = text("DELETE FROM endpoint_secrets WHERE endpoint_id = :id AND expires_at <= now()")
_RETIRE: Final = text("""
UPDATE endpoint_secrets SET expires_at = least(expires_at, now() + :grace) WHERE endpoint_id = :id
""")

_ERASE: Final = text("DELETE FROM endpoint_secrets WHERE endpoint_id = :id")

_COLUMNS: Final = "endpoint_id, 'endpoint/' || endpoint_id AS name, version, key_id, nonce, ciphertext"
_LIVE: Final = text(f"""
SELECT {_COLUMNS} FROM endpoint_secrets
 WHERE endpoint_id = ANY(CAST(:ids AS text[])) AND (expires_at IS NULL OR expires_at > now())
 ORDER BY endpoint_id, version DESC
""")

_SEALED_OTHERWISE: Final = text(f"""
SELECT {_COLUMNS} FROM endpoint_secrets WHERE key_id IS DISTINCT FROM :key_id
 ORDER BY endpoint_id, version FOR UPDATE
""")
_SEAL_ANEW: Final = text("""
UPDATE endpoint_secrets SET key_id = :key_id, nonce = :nonce, ciphertext = :ciphertext
 WHERE endpoint_id = :endpoint_id AND version = :version
""")


async def add_secret(connection: AsyncConnection, vault: Vault | None, endpoint_id: str) -> str:
    """A fresh secret, the newest from now on. The endpoint's row must be locked."""
    version = (await connection.execute(_NEXT, {"id": endpoint_id})).scalar_one()
    secret = new_secret()
    await connection.execute(_INSERT, _sealed(vault, endpoint_id, version, secret))
    return secret


async def retire_secrets(connection: AsyncConnection, endpoint_id: str, grace: timedelta) -> None:
    """Those there are end when the grace is over."""
    await connection.execute(_FORGET, {"id": endpoint_id})
    await connection.execute(_RETIRE, {"id": endpoint_id, "grace": grace})


async def erase_secrets(connection: AsyncConnection, endpoint_id: str) -> None:
    """Remove all of an endpoint's secrets."""
    await connection.execute(_ERASE, {"id": endpoint_id})


async def live_secrets(
    connection: AsyncConnection, vault: Vault | None, endpoint_ids: Sequence[str]
) -> dict[str, list[str]]:
    """The secrets that sign now, by endpoint, the newest first.

    Raises ConfigurationError for one that no master key of ours opens.
    """
    found: dict[str, list[str]] = {}
    for row in await connection.execute(_LIVE, {"ids": list(endpoint_ids)}):
        found.setdefault(row.endpoint_id, []).append(_opened(vault, row))
    return found


async def seal_anew(connection: AsyncConnection, vault: Vault) -> int:
    """Seal all under the first master key that are under another or under none; returns how many were."""
    rows = (await connection.execute(_SEALED_OTHERWISE, {"key_id": vault.key_id})).all()
    for row in rows:
        sealed = _sealed(vault, row.endpoint_id, row.version, _opened(vault, row))
        await connection.execute(_SEAL_ANEW, sealed)
    return len(rows)


def _sealed(vault: Vault | None, endpoint_id: str, version: int, secret: str) -> dict[str, Any]:
    row = {"endpoint_id": endpoint_id, "version": version}
    if vault is None:
        return {**row, "key_id": None, "nonce": None, "ciphertext": secret.encode()}
    return {**row, **vault.seal(f"endpoint/{endpoint_id}", version, secret)}


def _opened(vault: Vault | None, row: Row[Any]) -> str:
    if row.key_id is None:
        return bytes(row.ciphertext).decode()
    if vault is None:
        raise ConfigurationError("Secrets of webhook endpoints are encrypted: set TALLYSTICK_MASTER_KEY.")
    return vault.open(row)
