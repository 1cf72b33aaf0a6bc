"""Reads the inbox: what arrived, where it stands, and why it failed. Functions write nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.errors import NotFoundError
from tallystick.monitoring.redaction import blot_cards, shown
from tallystick.pipeline.archives import body_of
from tallystick.pipeline.views.selection import EventStatus, Selection

_COLUMNS: Final = """
  e.id, e.type, e.status, e.api_version, e.livemode, e.attempts AS failed_attempts, e.created_at,
  e.received_at, e.finished_at,
  CASE WHEN e.status = 'pending' AND e.attempts > 0 THEN e.ring_at END AS next_attempt_at,
  a.error_code, a.error
"""
_LAST_ATTEMPT: Final = """
  LEFT JOIN LATERAL (
    SELECT error_code, error FROM event_attempts WHERE event_id = e.id ORDER BY id DESC LIMIT 1
  ) a ON true
"""

_LIST: Final = f"""
SELECT {_COLUMNS} FROM webhook_events e {_LAST_ATTEMPT}
 WHERE {{where}} ORDER BY e.seq DESC LIMIT :limit
"""
# Behind a cursor by the row it names, so that a listing goes on where it stopped whatever came meanwhile.
_BEHIND: Final = " AND e.seq < (SELECT c.seq FROM webhook_events c WHERE c.id = :behind)"

SPAN: Final = 50_000
"""Rows that a page looks through at most, where no index knows which ones fit."""
_END_OF_SPAN: Final = """
SELECT e.id, e.seq, e.received_at FROM webhook_events e
 WHERE true{behind} ORDER BY e.seq DESC OFFSET :rows LIMIT 1
"""
_FEW: Final = frozenset({EventStatus.PENDING, EventStatus.DEAD})
"""What has an index of its own, since it is never most of the inbox."""

_ONE: Final = text(f"SELECT {_COLUMNS} FROM webhook_events e {_LAST_ATTEMPT} WHERE e.id = :id")

_ATTEMPTS: Final = text("""
SELECT attempt, failed_at, error_code, error, traceback FROM event_attempts
 WHERE event_id = :id ORDER BY id
""")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the inbox as it stands. ``error`` is that of the last attempt that failed."""

    id: str
    type: str
    status: EventStatus
    api_version: str | None
    livemode: bool
    failed_attempts: int
    created_at: datetime
    received_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None
    error_code: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that failed, and how."""

    attempt: int
    failed_at: datetime
    error_code: str
    error: str
    traceback: str

    @classmethod
    def of(cls, row: Row[Any]) -> Attempt:
        """From a row of either table of attempts."""
        return cls(
            row.attempt, row.failed_at, row.error_code, blot_cards(row.error), blot_cards(row.traceback)
        )


@dataclass(frozen=True, slots=True)
class EventInFull:
    """An event with its payload, secrets and card data blotted out, and every attempt that failed."""

    event: StoredEvent
    payload: Any
    attempts: list[Attempt]


async def list_events(
    connection: AsyncConnection, selection: Selection, *, limit: int, cursor: str | None = None
) -> tuple[list[StoredEvent], str | None]:
    """Up to ``limit`` events, the latest to arrive first, and the cursor of the next page.

    What fits may be rare: a page looks through ``SPAN`` events at most, so it can have fewer than ``limit``,
    even none, and a next page all the same. Raises InvalidRequestError when the cursor is none of ours.
    """
    where, parameters = selection.where()
    behind, place = ("", {}) if cursor is None else (_BEHIND, {"behind": read_cursor(cursor)[1]})
    end = None
    if not _finds_at_once(selection):
        query = text(_END_OF_SPAN.format(behind=behind))
        end = (await connection.execute(query, {**place, "rows": SPAN - 1})).first()
    if end is not None:
        where, parameters["end"] = f"{where} AND e.seq >= :end", end.seq
    where, parameters = where + behind, {**parameters, **place}
    rows = await connection.execute(text(_LIST.format(where=where)), {**parameters, "limit": limit + 1})
    found = [_event(row) for row in rows]
    last = found[limit - 1] if len(found) > limit else end
    return found[:limit], cursor_at(last.received_at, last.id) if last else None


def _finds_at_once(selection: Selection) -> bool:
    """Whether a page is found without looking through what does not fit."""
    few = bool(selection.statuses) and _FEW.issuperset(selection.statuses)
    return selection.everything or bool(selection.ids) or few


async def get_event(connection: AsyncConnection, event_id: str) -> EventInFull:
    """Raises NotFoundError."""
    row = (await connection.execute(_ONE, {"id": event_id})).first() if event_id.isprintable() else None
    if row is None:
        raise NotFoundError(f"There is no event {event_id[:300]!r}.", param="id")
    attempts = await connection.execute(_ATTEMPTS, {"id": event_id})
    body = await body_of(connection, event_id)
    return EventInFull(_event(row), shown_body(body), [Attempt.of(each) for each in attempts])


def shown_body(body: bytes | None) -> Any:
    """A stored body as people may see it; None when there is none, or it is not JSON."""
    try:
        return shown(orjson.loads(body)) if body is not None else None
    except orjson.JSONDecodeError:
        return None


def _event(row: Row[Any]) -> StoredEvent:
    values = {name: getattr(row, name) for name in StoredEvent.__slots__}
    values["status"] = EventStatus(values["status"])
    values["error"] = blot_cards(row.error) if row.error is not None else None
    return StoredEvent(**values)
