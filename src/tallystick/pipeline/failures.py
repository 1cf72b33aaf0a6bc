"""Counts failed attempts: how often, why, when to try again, and when to give up.

A failure is counted in a transaction of its own, after the one that failed. What an outage causes is no
failure of an event: nobody calls this for it (see ``database_is_away`` and ``lookups.py``).
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.errors import EffectDiffersError, PayloadError, TallystickError, UnbalancedError
from tallystick.monitoring import metrics
from tallystick.monitoring.redaction import blot_cards
from tallystick.pipeline.backoff import backoff_s
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

PERMANENT: Final = (PayloadError, EffectDiffersError, UnbalancedError)
"""Errors that no further attempt can mend: a dead letter at once."""

Clock = Callable[[], datetime]

_LOCK: Final = text("""
SELECT id, attempts FROM webhook_events
 WHERE id = ANY(CAST(:ids AS text[])) AND status = 'pending' ORDER BY id FOR UPDATE
""")

_COUNT: Final = text("""
UPDATE webhook_events e
   SET attempts = f.attempt, status = f.status, ring_at = f.ring_at,
       finished_at = CASE WHEN f.status = 'dead' THEN now() END
  FROM unnest(
    CAST(:ids AS text[]), CAST(:attempts AS int[]), CAST(:statuses AS text[]),
    CAST(:ring_ats AS timestamptz[])
  ) AS f(id, attempt, status, ring_at)
 WHERE e.id = f.id
""")

_RECORD: Final = text("""
INSERT INTO event_attempts (event_id, attempt, error_code, error, traceback)
SELECT * FROM unnest(
  CAST(:ids AS text[]), CAST(:attempts AS int[]), CAST(:codes AS text[]), CAST(:errors AS text[]),
  CAST(:tracebacks AS text[])
)
""")


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Trace:
    """An error as it is kept: stable code, one line, traceback; secrets and card data blotted out."""

    code: str
    error: str
    traceback: str

    @classmethod
    def of(cls, error: Exception) -> Trace:
        """The trace of an exception."""
        return cls(
            code=error.code if isinstance(error, TallystickError) else "unexpected",
            error=_storable(f"{type(error).__name__}: {error}"),
            traceback=_storable("".join(traceback.format_exception(error))),
        )


class Failures:
    """Counts failed attempts at events; one a process. Delays are counted from what ``clock`` says."""

    def __init__(self, engine: AsyncEngine, settings: Settings, *, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock

    async def count(self, errors: Mapping[str, Exception]) -> Counter[str]:
        """Count a failed attempt of each event (by id) that is still pending.

        Returns how many are to be tried again ("failed") and how many are dead letters now ("dead").
        """
        async with self._engine.begin() as connection:
            rows = (await connection.execute(_LOCK, {"ids": sorted(errors)})).all()
            columns = self._columns(rows, errors)
            if rows:
                counted = ("ids", "attempts", "statuses", "ring_ats")
                await connection.execute(_COUNT, {name: columns[name] for name in counted})
                recorded = ("ids", "attempts", "codes", "errors", "tracebacks")
                await connection.execute(_RECORD, {name: columns[name] for name in recorded})
        for code, status in zip(columns["codes"], columns["statuses"], strict=True):
            metrics.EVENT_FAILURES.labels(code, "dead" if status == "dead" else "retried").inc()
        return Counter("dead" if status == "dead" else "failed" for status in columns["statuses"])

    def _columns(self, rows: Sequence[Any], errors: Mapping[str, Exception]) -> dict[str, list[Any]]:
        settings, now = self._settings, self._clock()
        columns: dict[str, list[Any]] = {
            name: [] for name in ("ids", "attempts", "statuses", "ring_ats", "codes", "errors", "tracebacks")
        }
        for row in rows:
            error, attempt = errors[row.id], row.attempts + 1
            dead = isinstance(error, PERMANENT) or attempt >= settings.retry_limit
            delay = backoff_s(attempt, base_s=settings.retry_base_s, cap_s=settings.retry_cap_s)
            trace = Trace.of(error)
            columns["ids"].append(row.id)
            columns["attempts"].append(attempt)
            columns["statuses"].append("dead" if dead else "pending")
            columns["ring_ats"].append(now + timedelta(seconds=delay))
            columns["codes"].append(trace.code)
            columns["errors"].append(trace.error)
            columns["tracebacks"].append(trace.traceback)
            log.error("event_failed", stripe_event=row.id, attempt=attempt, dead=dead, code=trace.code)
        return columns


_RECORD_BALANCE_TRANSACTION: Final = text("""
INSERT INTO balance_transaction_attempts (balance_transaction_id, attempt, error_code, error, traceback)
VALUES (:id, :attempt, :code, :error, :traceback)
""")


async def record_balance_transaction_attempt(
    connection: AsyncConnection, balance_transaction: str, attempt: int, trace: Trace
) -> None:
    """Keep why an attempt at a balance transaction failed, in the caller's transaction."""
    row = {"code": trace.code, "error": trace.error, "traceback": trace.traceback}
    await connection.execute(
        _RECORD_BALANCE_TRANSACTION, {"id": balance_transaction, "attempt": attempt, **row}
    )


def _storable(message: str) -> str:
    """Without secrets, and without NUL, which PostgreSQL's text cannot hold."""
    return blot_cards(message.replace("\0", "\\0"))
