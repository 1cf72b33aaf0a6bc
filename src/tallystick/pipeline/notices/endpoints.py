"""The merchant's endpoints for notices, as they are kept. Functions take a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import InvalidStateError, NotFoundError
from tallystick.pipeline.notices.endpoint_secrets import add_secret, erase_secrets, retire_secrets
from tallystick.vault import Vault

_COLUMNS: Final = """id, url, description, event_types, status, disabled_reason, disabled_at, failing_since,
       last_success_at, created_at, updated_at"""
_SHOWN: Final = "channel = 'webhook' AND status <> 'deleted'"

_INSERT: Final = text("""
INSERT INTO notice_endpoints (id, channel, url, description, event_types)
VALUES (:id, 'webhook', :url, :description, CAST(:event_types AS text[]))
""")

_GET: Final = text(f"SELECT {_COLUMNS} FROM notice_endpoints WHERE id = :id AND {_SHOWN}")

_LIST: Final = text(f"""
SELECT {_COLUMNS} FROM notice_endpoints WHERE {_SHOWN} AND id > :after ORDER BY id LIMIT :limit
""")

_LOCK: Final = text(f"SELECT status FROM notice_endpoints WHERE id = :id AND {_SHOWN} FOR UPDATE")

_CHANGE: Final = """
UPDATE notice_endpoints SET {fields}, updated_at = now() WHERE id = :id
"""

_ENABLE: Final = text("""
UPDATE notice_endpoints
   SET status = 'enabled', disabled_reason = NULL, disabled_at = NULL, failing_since = NULL,
       updated_at = now()
 WHERE id = :id AND status = 'disabled'
""")

_DISABLE: Final = text("""
UPDATE notice_endpoints
   SET status = 'disabled', disabled_reason = 'by_hand', disabled_at = now(), updated_at = now()
 WHERE id = :id AND status = 'enabled'
""")

_DELETE: Final = text("""
UPDATE notice_endpoints
   SET status = 'deleted', disabled_reason = NULL, disabled_at = NULL, updated_at = now() WHERE id = :id
""")

_CHANGEABLE: Final = {
    "url": ":url",
    "description": ":description",
    "event_types": "CAST(:event_types AS text[])",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it stands. ``failing_since`` is its first failure after its last success."""

    id: str
    url: str
    description: str | None
    event_types: list[str]
    status: str
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    updated_at: datetime


async def create_endpoint(
    connection: AsyncConnection,
    vault: Vault | None,
    endpoint_id: str,
    *,
    url: str,
    event_types: Sequence[str],
    description: str | None,
) -> str:
    """Make an endpoint; returns its signing secret."""
    row = {"id": endpoint_id, "url": url, "description": description, "event_types": list(event_types)}
    await connection.execute(_INSERT, row)
    return await add_secret(connection, vault, endpoint_id)


async def get_endpoint(connection: AsyncConnection, endpoint_id: str) -> Endpoint:
    """Raises NotFoundError."""
    known = endpoint_id.isprintable()
    row = (await connection.execute(_GET, {"id": endpoint_id})).first() if known else None
    if row is None:
        raise _not_found(endpoint_id)
    return _endpoint(row)


async def list_endpoints(
    connection: AsyncConnection, *, limit: int, after: str = ""
) -> tuple[list[Endpoint], str | None]:
    """Up to ``limit`` endpoints, oldest first, and the cursor of the next page."""
    rows = (await connection.execute(_LIST, {"after": after, "limit": limit + 1})).all()
    found = [_endpoint(row) for row in rows[:limit]]
    return found, found[-1].id if len(rows) > limit else None


async def update_endpoint(connection: AsyncConnection, endpoint_id: str, changes: Mapping[str, Any]) -> None:
    """Change ``url``, ``description``, ``event_types``; raises NotFoundError."""
    await _lock(connection, endpoint_id)
    if changes:
        fields = ", ".join(f"{name} = {_CHANGEABLE[name]}" for name in changes)
        await connection.execute(text(_CHANGE.format(fields=fields)), {**changes, "id": endpoint_id})


async def enable_endpoint(connection: AsyncConnection, endpoint_id: str) -> None:
    """Send to it again, from the next notice on; raises NotFoundError."""
    await _lock(connection, endpoint_id)
    await connection.execute(_ENABLE, {"id": endpoint_id})


async def disable_endpoint(connection: AsyncConnection, endpoint_id: str) -> None:
    """Send to it no more; raises NotFoundError."""
    await _lock(connection, endpoint_id)
    await connection.execute(_DISABLE, {"id": endpoint_id})


async def delete_endpoint(connection: AsyncConnection, endpoint_id: str) -> None:
    """Forget it and its secrets; its delivery log goes with time. Raises NotFoundError."""
    await _lock(connection, endpoint_id)
    await erase_secrets(connection, endpoint_id)
    await connection.execute(_DELETE, {"id": endpoint_id})


async def rotate_secret(
    connection: AsyncConnection, vault: Vault | None, endpoint_id: str, grace: timedelta
) -> str:
    """Another secret, which is returned; those before it sign as well until the grace is over.

    Raises NotFoundError.
    """
    await _lock(connection, endpoint_id)
    await retire_secrets(connection, endpoint_id, grace)
    return await add_secret(connection, vault, endpoint_id)


async def require_enabled(connection: AsyncConnection, endpoint_id: str) -> None:
    """Raises NotFoundError, or InvalidStateError for an endpoint that is not sent to."""
    if await _lock(connection, endpoint_id) != "enabled":
        raise InvalidStateError(f"The endpoint {endpoint_id} is disabled: enable it first.")


async def _lock(connection: AsyncConnection, endpoint_id: str) -> str:
    status: str | None = (await connection.execute(_LOCK, {"id": endpoint_id})).scalar()
    if status is None:
        raise _not_found(endpoint_id)
    return status


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(**{name: getattr(row, name) for name in Endpoint.__slots__})


def _not_found(endpoint_id: str) -> NotFoundError:
    return NotFoundError(f"There is no webhook endpoint {endpoint_id!r}.", param="id")
