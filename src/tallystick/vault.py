"""Secrets in the database, encrypted with AES-256-GCM under a master key that is not in it.

A secret has a name and versions; every version that is not removed is live, the newest first. What a row
says of itself (name, version) is authenticated with it, so rows cannot be exchanged. A removed version keeps
its row, without the secret: a number is never given twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import ConfigurationError, NotFoundError
from tallystick.settings import Settings

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12

_LIVE: Final = text("""
SELECT name, version, key_id, nonce, ciphertext, created_at FROM secrets
 WHERE removed_at IS NULL ORDER BY name, version DESC
""")

_NEXT: Final = text("SELECT coalesce(max(version), 0) + 1 FROM secrets WHERE name = :name")

_INSERT: Final = text("""
INSERT INTO secrets (name, version, key_id, nonce, ciphertext)
VALUES (:name, :version, :key_id, :nonce, :ciphertext)
""")

_REMOVE: Final = text("""
UPDATE secrets SET removed_at = now(), nonce = NULL, ciphertext = NULL
 WHERE name = :name AND version = ANY(CAST(:versions AS integer[])) AND removed_at IS NULL
RETURNING version
""")

_SEAL_ANEW: Final = text("""
UPDATE secrets SET key_id = :key_id, nonce = :nonce, ciphertext = :ciphertext
 WHERE name = :name AND version = :version AND removed_at IS NULL
""")

_LOCK: Final = text("LOCK TABLE secrets IN SHARE ROW EXCLUSIVE MODE")


class SecretName(StrEnum):
    """What can be kept here."""

    STRIPE_SECRET_KEY = "stripe_secret_key"  # noqa: S105 - a name
    STRIPE_WEBHOOK_SECRET = "stripe_webhook_secret"  # noqa: S105


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One version, without its value; ``key_id`` says which master key it is encrypted under."""

    name: str
    version: int
    key_id: str
    created_at: datetime


class Vault:
    """Encrypts under the first of its master keys and decrypts under any."""

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in master_keys}
        self.key_id = key_id(master_keys[0])

    def seal(self, name: str, version: int, value: str) -> dict[str, Any]:
        """The columns of a row that holds ``value``."""
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = self._ciphers[self.key_id].encrypt(nonce, value.encode(), _bound_to(name, version))
        row = {"name": name, "version": version, "key_id": self.key_id}
        return {**row, "nonce": nonce, "ciphertext": ciphertext}

    def open(self, row: Row[Any]) -> str:
        """The value of a row; raises ConfigurationError when no master key fits or the row was changed."""
        cipher = self._ciphers.get(row.key_id)
        if cipher is None:
            raise ConfigurationError(
                f"{row.name} version {row.version} is encrypted under the master key {row.key_id},"
                " which TALLYSTICK_MASTER_KEY does not have."
            )
        try:
            return cipher.decrypt(row.nonce, row.ciphertext, _bound_to(row.name, row.version)).decode()
        except InvalidTag:
            raise ConfigurationError(
                f"{row.name} version {row.version} cannot be decrypted: the row was changed."
            ) from None


def open_vault(settings: Settings) -> Vault | None:
    """The vault under the master keys of the settings; None when there are none.

    Raises ConfigurationError for a key that is not 32 bytes in base64.
    """
    keys = [_master_key(secret.get_secret_value()) for secret in settings.master_keys]
    return Vault(keys) if keys else None


def new_master_key() -> str:
    """A fresh master key, as the settings take it."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def key_id(master_key: bytes) -> str:
    """A name for a master key that gives nothing of it away."""
    return hashlib.sha256(b"tallystick master key\0" + master_key).hexdigest()[:12]


async def live_versions(connection: AsyncConnection) -> list[SecretVersion]:
    """All live versions, by name and the newest first."""
    rows = await connection.execute(_LIVE)
    return [SecretVersion(row.name, row.version, row.key_id, row.created_at) for row in rows]


async def read_secrets(connection: AsyncConnection, vault: Vault) -> dict[str, tuple[str, ...]]:
    """The live values of each name, the newest first; raises ConfigurationError where one cannot be read."""
    found: dict[str, tuple[str, ...]] = {}
    for row in await connection.execute(_LIVE):
        found[row.name] = (*found.get(row.name, ()), vault.open(row))
    return found


async def add_secret(connection: AsyncConnection, vault: Vault, name: SecretName, value: str) -> int:
    """Add a version, which is the newest from now on; returns its number."""
    await connection.execute(_LOCK)
    version: int = (await connection.execute(_NEXT, {"name": name})).scalar_one()
    await connection.execute(_INSERT, vault.seal(name, version, value))
    return version


async def remove_secret(connection: AsyncConnection, name: SecretName, versions: Sequence[int]) -> list[int]:
    """Erase versions; returns those that were live. Raises NotFoundError when none was."""
    rows = await connection.execute(_REMOVE, {"name": name, "versions": list(versions)})
    removed = sorted(rows.scalars())
    if not removed:
        numbers = ", ".join(map(str, versions))
        raise NotFoundError(f"There is no live version {numbers} of {name}.")
    return removed


async def rotate_master_key(connection: AsyncConnection, vault: Vault) -> int:
    """Encrypt all under the first master key that are under another; returns how many were."""
    await connection.execute(_LOCK)
    rows = [row for row in await connection.execute(_LIVE) if row.key_id != vault.key_id]
    for row in rows:
        await connection.execute(_SEAL_ANEW, vault.seal(row.name, row.version, vault.open(row)))
    return len(rows)


def _bound_to(name: str, version: int) -> bytes:
    return f"tallystick:{name}:{version}".encode()


def _master_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            "TALLYSTICK_MASTER_KEY must be 32 bytes in base64: 'tallystick secrets new-master-key' makes one."
        )
    return key
