"""What became of conditions: which alerts are firing, since when, and who is to be told. One table.

A condition that holds is a row; it fires when it has held long enough, and is resolved when it holds no more.
One that ends before that leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.alerting.conditions import Condition, Severity
from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.errors import InvalidRequestError

KEEP: Final = timedelta(days=90)
"""How long an alert that is over is remembered."""

_COLUMNS: Final = "id, name, about, severity, summary, value, fired_at, resolved_at"

_OPEN: Final = text("""
SELECT id, name, about, fired_at, now() - held_since AS held FROM alerts WHERE resolved_at IS NULL FOR UPDATE
""")
_BEGIN: Final = text("""
INSERT INTO alerts (name, about, severity, summary, value, fired_at, tell_at)
VALUES (:name, :about, :severity, :summary, :value, CASE WHEN :fires THEN now() END,
        CASE WHEN :fires THEN now() END)
""")
_HOLD: Final = text("""
UPDATE alerts
   SET severity = :severity, summary = :summary, value = :value,
       tell_at = CASE WHEN fired_at IS NULL AND :fires THEN now() ELSE tell_at END,
       fired_at = CASE WHEN fired_at IS NULL AND :fires THEN now() ELSE fired_at END
 WHERE id = :id
""")
_RESOLVE: Final = text("""
UPDATE alerts SET resolved_at = now(), tell_at = now()
 WHERE id = ANY(CAST(:ids AS bigint[])) AND fired_at IS NOT NULL
""")
_DROP: Final = text("DELETE FROM alerts WHERE id = ANY(CAST(:ids AS bigint[])) AND fired_at IS NULL")
_FORGET: Final = text("DELETE FROM alerts WHERE resolved_at < now() - CAST(:age AS interval)")

_CLAIM: Final = text(f"""
UPDATE alerts SET tell_at = now() + CAST(:lease AS interval)
 WHERE tell_at <= now() RETURNING {_COLUMNS}
""")
_TOLD: Final = text("""
UPDATE alerts SET tell_at = CASE WHEN resolved_at IS NULL THEN now() + CAST(:repeat AS interval) END
 WHERE id = :id AND (resolved_at IS NOT NULL) = :resolved
""")

_LIST: Final = """
SELECT {columns} FROM alerts
 WHERE fired_at IS NOT NULL AND {where} ORDER BY fired_at DESC, id DESC LIMIT :limit
"""

Status = Literal["firing", "resolved"]
_STATUS: Final = {"firing": "resolved_at IS NULL", "resolved": "resolved_at IS NOT NULL"}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fired; ``value`` is the last one, in seconds, a count, or minor units."""

    id: int
    name: str
    about: str
    severity: Severity
    summary: str
    value: int
    fired_at: datetime
    resolved_at: datetime | None

    @property
    def status(self) -> Status:
        """Whether it still is one."""
        return "firing" if self.resolved_at is None else "resolved"

    @property
    def runbook(self) -> str:
        """Where it says what to do."""
        return f"docs/alerts.md#{self.name.lower()}"


async def record(connection: AsyncConnection, found: Sequence[Condition]) -> None:
    """Bring the alerts to what holds now; one at a time does it, in the caller's transaction."""
    standing = {(row.name, row.about): row for row in await connection.execute(_OPEN)}
    for each in found:
        row = standing.pop((each.name, each.about), None)
        held = timedelta(0) if row is None else row.held
        given: dict[str, Any] = {
            "severity": each.severity,
            "summary": each.summary,
            "value": each.value,
            "fires": held >= each.patience,
        }
        if row is None:
            await connection.execute(_BEGIN, {**given, "name": each.name, "about": each.about})
        else:
            await connection.execute(_HOLD, {**given, "id": row.id})
    over = {"ids": [row.id for row in standing.values()]}
    await connection.execute(_RESOLVE, over)
    await connection.execute(_DROP, over)
    await connection.execute(_FORGET, {"age": KEEP})


async def claim_untold(connection: AsyncConnection, lease: timedelta) -> list[Alert]:
    """The alerts that somebody is to be told of now; again after the lease, unless ``told``."""
    return [_alert(row) for row in await connection.execute(_CLAIM, {"lease": lease})]


async def told(connection: AsyncConnection, alert: Alert, repeat: timedelta) -> None:
    """It was told: again after ``repeat`` while it fires, never once it is resolved."""
    given = {"id": alert.id, "resolved": alert.resolved_at is not None, "repeat": repeat}
    await connection.execute(_TOLD, given)


async def list_alerts(
    connection: AsyncConnection, *, status: Status | None = None, limit: int, cursor: str | None = None
) -> tuple[list[Alert], str | None]:
    """Up to ``limit`` alerts, the latest to fire first, and the cursor of the next page.

    Raises InvalidRequestError for a cursor that is none of ours.
    """
    where, given = [_STATUS[status] if status else "true"], {"limit": limit + 1}
    parameters: dict[str, Any] = dict(given)
    if cursor is not None:
        fired_at, row_id = read_cursor(cursor)
        if not row_id.isascii() or not row_id.isdecimal() or len(row_id) > 18:
            raise InvalidRequestError("The cursor is not one that a list gave.", param="cursor")
        where.append("(fired_at, id) < (:fired_at, CAST(:id AS bigint))")
        parameters |= {"fired_at": fired_at, "id": int(row_id)}
    query = text(_LIST.format(columns=_COLUMNS, where=" AND ".join(where)))
    found = [_alert(row) for row in await connection.execute(query, parameters)]
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], cursor_at(last.fired_at, str(last.id)) if last else None


def _alert(row: Row[Any]) -> Alert:
    return Alert(**row._mapping)  # noqa: SLF001 - its name in SQLAlchemy's public interface
