"""What became of each notice at each endpoint; and sending one again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.errors import InvalidRequestError, InvalidStateError, NotFoundError
from tallystick.outbox.signing import notice_id
from tallystick.pipeline.notices.endpoints import require_enabled

_SELECT: Final = """
SELECT d.id, d.endpoint_id, d.notice_id, o.notice_key, o.type, o.payment_id, d.status, d.attempts, d.due_at,
       d.created_at, d.finished_at, d.response_status, d.error_code, d.error, o.data,
       o.created_at AS noticed_at
  FROM notice_deliveries d JOIN outbox o ON o.id = d.notice_id
"""
_ATTEMPTS: Final = text("""
SELECT attempt, attempted_at, duration_ms, response_status, response_body, error_code, error
  FROM notice_attempts WHERE delivery_id = :id ORDER BY id
""")

_ENDPOINT_OF: Final = text("SELECT endpoint_id FROM notice_deliveries WHERE id = :id")
_AGAIN: Final = """
UPDATE notice_deliveries SET status = 'pending', attempts = 0, due_at = now(), finished_at = NULL,
       error_code = NULL, error = NULL, response_status = NULL
"""
_REDELIVER: Final = text(f"{_AGAIN} WHERE id = :id AND status <> 'pending' RETURNING id")
_REDELIVER_FAILED: Final = text(f"""
{_AGAIN} WHERE endpoint_id = :endpoint AND status = 'failed'
   AND created_at >= :after AND created_at < coalesce(:before, now())
""")


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """A delivery as it stands; ``error_code`` (see ``webhook_client.Reply``) is that of the last attempt."""

    id: int
    endpoint_id: str
    notice_id: int
    message_id: str
    type: str
    payment_id: str | None
    status: str
    attempts: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    response_status: int | None
    error_code: str | None
    error: str | None
    data: dict[str, Any]
    noticed_at: datetime


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One attempt, with the beginning of the endpoint's answer."""

    attempt: int
    attempted_at: datetime
    duration_ms: int
    response_status: int | None
    response_body: str | None
    error_code: str | None
    error: str | None


async def list_deliveries(
    connection: AsyncConnection,
    endpoint_id: str,
    *,
    status: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> tuple[list[LoggedDelivery], str | None]:
    """Up to ``limit`` deliveries of an endpoint, the latest notice first, and the cursor of the next page."""
    given: dict[str, Any] = {"endpoint": endpoint_id, "limit": limit + 1}
    where = "d.endpoint_id = :endpoint"
    if status is not None:
        where, given["status"] = f"{where} AND d.status = :status", status
    if cursor is not None:
        where, given["behind"] = f"{where} AND d.notice_id < :behind", _behind(cursor)
    query = text(f"{_SELECT} WHERE {where} ORDER BY d.notice_id DESC LIMIT :limit")
    found = [_delivery(row) for row in await connection.execute(query, given)]
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], cursor_at(last.created_at, str(last.notice_id)) if last else None


async def get_delivery(
    connection: AsyncConnection, delivery_id: int
) -> tuple[LoggedDelivery, list[LoggedAttempt]]:
    """A delivery and its attempts; raises NotFoundError."""
    row = (await connection.execute(text(f"{_SELECT} WHERE d.id = :id"), {"id": delivery_id})).first()
    if row is None:
        raise _not_found(delivery_id)
    attempts = await connection.execute(_ATTEMPTS, {"id": delivery_id})
    return _delivery(row), [LoggedAttempt(**each._mapping) for each in attempts]  # noqa: SLF001


async def redeliver(connection: AsyncConnection, delivery_id: int) -> None:
    """Send it again, with all attempts before it.

    Raises NotFoundError, and InvalidStateError while it is being sent or its endpoint is disabled.
    """
    endpoint_id = (await connection.execute(_ENDPOINT_OF, {"id": delivery_id})).scalar()
    if endpoint_id is None:
        raise _not_found(delivery_id)
    await require_enabled(connection, endpoint_id)
    if (await connection.execute(_REDELIVER, {"id": delivery_id})).first() is None:
        raise InvalidStateError("The delivery is not finished: it is being sent, or will be tried again.")


async def redeliver_failed(
    connection: AsyncConnection, endpoint_id: str, after: datetime, before: datetime | None = None
) -> int:
    """Send again what an endpoint did not get of a time; how many deliveries that are.

    Raises NotFoundError, and InvalidStateError for an endpoint that is disabled.
    """
    await require_enabled(connection, endpoint_id)
    given = {"endpoint": endpoint_id, "after": after, "before": before}
    return (await connection.execute(_REDELIVER_FAILED, given)).rowcount


def _delivery(row: Row[Any]) -> LoggedDelivery:
    values = {name: getattr(row, name) for name in LoggedDelivery.__slots__ if name != "message_id"}
    return LoggedDelivery(**values, message_id=notice_id(row.notice_key))


def _behind(cursor: str) -> int:
    _, number = read_cursor(cursor)
    if not number.isascii() or not number.isdecimal() or len(number) > 18:
        raise InvalidRequestError("The cursor is not one that a list gave.", param="cursor")
    return int(number)


def _not_found(delivery_id: int) -> NotFoundError:
    return NotFoundError(f"There is no webhook delivery whd_{delivery_id}.", param="id")
