"""Reads the inbox: what arrived, where it stands, and why it failed."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LIST: Final = """
SELECT e.id, e.type, e.status, e.api_version, e.livemode, e.attempts, e.created_at, e.received_at,
       e.finished_at,
       (SELECT a.error FROM event_attempts a WHERE a.event_id = e.id ORDER BY a.id DESC LIMIT 1) AS last_error
  FROM webhook_events e {where}
 ORDER BY e.seq DESC LIMIT :limit
"""


async def list_events(
    connection: AsyncConnection, *, status: str | None = None, event_type: str | None = None, limit: int = 20
) -> list[dict[str, Any]]:
    """Up to ``limit`` events, the latest to arrive first, with the error of their last failed attempt."""
    conditions = {"e.status = :status": status, "e.type = :type": event_type}
    where = " AND ".join(condition for condition, value in conditions.items() if value is not None)
    statement = text(_LIST.format(where=f"WHERE {where}" if where else ""))
    values = {"limit": limit, "status": status, "type": event_type}
    parameters = {name: value for name, value in values.items() if value is not None}
    return [dict(row) for row in (await connection.execute(statement, parameters)).mappings()]
