"""Processes events: reads a batch, asks the pure rules what it means, writes all of it in one transaction.

Effects and the "processed" marks commit together or not at all, so a crash at any point leaves an event
either done or untouched. An exception in a rule drops its event from the batch; an error of the database
splits the batch by halves until the event at fault stands alone. A failed attempt is counted in a
transaction of its own, with backoff, and past the limit the event is a dead letter.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import database_is_away
from tallystick.errors import EffectDiffersError, PayloadError, TallystickError
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import NO_EFFECTS, Effects, Event, Facts, Question
from tallystick.ledger.book import Book, Contradiction
from tallystick.pipeline.backoff import backoff_s
from tallystick.pipeline.effects import write_effects
from tallystick.pipeline.lookups import stored_facts
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

_PERMANENT: Final = (PayloadError, EffectDiffersError)
"""Errors that no further attempt can mend: a dead letter at once."""

# By key alone: a condition on the status would make the planner walk the index of pending events.
_CLAIM: Final = text("""
SELECT id, type, status, attempts, body FROM webhook_events
 WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR UPDATE SKIP LOCKED
""")

_FINISH: Final = text("""
UPDATE webhook_events e SET status = f.status, finished_at = now()
  FROM unnest(CAST(:ids AS text[]), CAST(:statuses AS text[])) AS f(id, status) WHERE e.id = f.id
""")

_POSTPONE: Final = text("""
UPDATE webhook_events SET ring_at = :ring_at WHERE id = ANY(CAST(:ids AS text[]))
""")

_COUNT_ATTEMPTS: Final = text("""
UPDATE webhook_events e
   SET attempts = f.attempt, status = f.status, ring_at = f.ring_at,
       finished_at = CASE WHEN f.status = 'dead' THEN now() END
  FROM unnest(
    CAST(:ids AS text[]), CAST(:attempts AS int[]), CAST(:statuses AS text[]),
    CAST(:ring_ats AS timestamptz[])
  ) AS f(id, attempt, status, ring_at)
 WHERE e.id = f.id AND e.status = 'pending'
RETURNING e.id
""")

_RECORD_ATTEMPTS: Final = text("""
INSERT INTO event_attempts (event_id, attempt, error_code, error, traceback)
SELECT * FROM unnest(
  CAST(:ids AS text[]), CAST(:attempts AS int[]), CAST(:codes AS text[]), CAST(:errors AS text[]),
  CAST(:tracebacks AS text[])
)
""")


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed: the event, how often it was tried before, and why."""

    event: str
    attempts_before: int
    error: Exception


@dataclass(slots=True)
class Outcome:
    """What became of a batch: how many events ended in which status, and what is needed next."""

    counts: Counter[str] = field(default_factory=Counter)
    questions: dict[Question, set[str]] = field(default_factory=dict)
    """What Stripe must answer, and the events that wait for it."""
    balance_transactions: bool = False
    """Whether balance transactions were named that must be fetched or posted."""

    def add(self, other: Outcome) -> None:
        """Take in the outcome of another part of the batch."""
        self.counts.update(other.counts)
        for question, events in other.questions.items():
            self.questions.setdefault(question, set()).update(events)
        self.balance_transactions = self.balance_transactions or other.balance_transactions


@dataclass(frozen=True, slots=True)
class _Read:
    """An event of the batch with what its rule made of it."""

    event: str
    attempts: int
    effects: Effects
    ignored: bool = False


class _ContradictedError(Exception):
    """Events of the batch say otherwise than the ledger: nothing of the batch may be written with them."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__(f"{len(failures)} events contradict the ledger")
        self.failures = failures


class Processor:
    """Processes batches of events; one a process."""

    def __init__(self, engine: AsyncEngine, book: Book, settings: Settings) -> None:
        self._engine = engine
        self._book = book
        self._settings = settings

    async def process(self, ids: Sequence[str]) -> Outcome:
        """Process the events with these ids; finished and unknown ones are passed over.

        Raises what says that the database is away (see ``database_is_away``): nothing was done then, no
        attempt is counted, and the batch can be given again.
        """
        try:
            outcome, failures = await self._batch(ids)
        except _ContradictedError as found:  # they are dead letters; the others go again without them
            counts = await self._count(found.failures)
            outcome = await self.process(ids)
            outcome.counts.update(counts)
            return outcome
        except SQLAlchemyError as error:
            if database_is_away(error):
                raise
            if len(ids) > 1:
                middle = len(ids) // 2
                outcome = await self.process(ids[:middle])
                outcome.add(await self.process(ids[middle:]))
                return outcome
            outcome, failures = Outcome(), [Failure(ids[0], await self._attempts(ids[0]), error)]
        if failures:
            outcome.counts.update(await self._count(failures))
        return outcome

    async def _batch(self, ids: Sequence[str]) -> tuple[Outcome, list[Failure]]:
        async with self._engine.begin() as connection:
            rows = (await connection.execute(_CLAIM, {"ids": list(ids)})).all()
            pending = [row for row in rows if row.status == "pending"]
            reads, failures = await _read_all(connection, pending)
            posted = await write_effects(connection, self._book, [read.effects for read in reads])
            if posted.conflicts:
                raise _ContradictedError(_conflicting(reads, posted.conflicts))
            outcome = await self._mark(connection, reads)
            await self._book.settle_balances(connection, posted)
        return outcome, failures

    async def _mark(self, connection: AsyncConnection, reads: Sequence[_Read]) -> Outcome:
        """Mark finished events in the transaction of their effects; the others wait for their answers."""
        outcome = Outcome()
        finished = []
        waiting = []
        for read in reads:
            if read.effects.balance_transactions:
                outcome.balance_transactions = True
            if read.effects.waiting_for:
                waiting.append(read.event)
                for question in read.effects.waiting_for:
                    outcome.questions.setdefault(question, set()).add(read.event)
            else:
                finished.append((read.event, "ignored" if read.ignored else "processed"))
        if finished:
            statuses = [status for _, status in finished]
            await connection.execute(_FINISH, {"ids": [event for event, _ in finished], "statuses": statuses})
            outcome.counts.update(statuses)
        if waiting:
            ring_at = datetime.now(UTC) + timedelta(seconds=4 * self._settings.ring_grace_s)
            await connection.execute(_POSTPONE, {"ids": waiting, "ring_at": ring_at})
            outcome.counts["waiting"] += len(waiting)
        return outcome

    async def _attempts(self, event: str) -> int:
        async with self._engine.connect() as connection:
            query = text("SELECT attempts FROM webhook_events WHERE id = :id")
            return int((await connection.execute(query, {"id": event})).scalar() or 0)

    async def _count(self, failures: Sequence[Failure]) -> Counter[str]:
        """Count failed attempts in a transaction of their own; returns how many are to be tried again."""
        settings = self._settings
        now = datetime.now(UTC)
        columns: dict[str, list[Any]] = {
            name: [] for name in ("ids", "attempts", "statuses", "ring_ats", "codes", "errors", "tracebacks")
        }
        for failure in sorted(failures, key=lambda each: each.event):
            attempt = failure.attempts_before + 1
            dead = isinstance(failure.error, _PERMANENT) or attempt >= settings.retry_limit
            delay = backoff_s(attempt, base_s=settings.retry_base_s, cap_s=settings.retry_cap_s)
            code = failure.error.code if isinstance(failure.error, TallystickError) else "unexpected"
            columns["ids"].append(failure.event)
            columns["attempts"].append(attempt)
            columns["statuses"].append("dead" if dead else "pending")
            columns["ring_ats"].append(now + timedelta(seconds=delay))
            columns["codes"].append(code)
            columns["errors"].append(_storable(f"{type(failure.error).__name__}: {failure.error}"))
            columns["tracebacks"].append(_storable("".join(traceback.format_exception(failure.error))))
            log.error("event_failed", stripe_event=failure.event, attempt=attempt, dead=dead, code=code)
        async with self._engine.begin() as connection:
            await connection.execute(
                _COUNT_ATTEMPTS, {name: columns[name] for name in ("ids", "attempts", "statuses", "ring_ats")}
            )
            await connection.execute(
                _RECORD_ATTEMPTS,
                {name: columns[name] for name in ("ids", "attempts", "codes", "errors", "tracebacks")},
            )
        return Counter("dead" if status == "dead" else "failed" for status in columns["statuses"])


def _storable(message: str) -> str:
    """PostgreSQL's text cannot hold NUL, which an error that quotes a payload may contain."""
    return message.replace("\0", "\\0")


async def _read_all(connection: AsyncConnection, rows: Sequence[Any]) -> tuple[list[_Read], list[Failure]]:
    """Ask each event's rule; those that need stored facts are asked again with them."""
    reads, failures, asking = [], [], []
    for row in rows:
        read = _read(row, {})
        if isinstance(read, Failure):
            failures.append(read)
        elif read.effects.waiting_for:
            asking.append((row, read))
        else:
            reads.append(read)
    if asking:
        questions = {question for _, read in asking for question in read.effects.waiting_for}
        facts = await stored_facts(connection, questions)
        for row, first in asking:
            answered = any(question in facts for question in first.effects.waiting_for)
            read = _read(row, facts) if answered else first
            if isinstance(read, Failure):
                failures.append(read)
            else:
                reads.append(read)
    return reads, failures


def _read(row: Any, facts: Facts) -> _Read | Failure:
    """What one event means. A rule's exception is this event's failure, and no other's."""
    spec = EVENTS.get(row.type)
    if spec is None:
        return _Read(row.id, row.attempts, NO_EFFECTS, ignored=True)
    try:
        event = Event.read(orjson.loads(row.body))
        if event.account is not None:  # a connected account's money is not ours
            return _Read(row.id, row.attempts, NO_EFFECTS, ignored=True)
        return _Read(row.id, row.attempts, spec.rule(event, facts))
    except Exception as error:
        return Failure(row.id, row.attempts, error)


def _conflicting(reads: Sequence[_Read], conflicts: frozenset[Contradiction]) -> list[Failure]:
    """The events whose effects stand in the ledger with other legs."""
    failures = []
    for read in reads:
        made = read.effects.transactions
        keys = [item.effect_key for item in made if (item.effect_key, item.digest) in conflicts]
        if keys:
            error = EffectDiffersError(f"{', '.join(keys)} came with other legs than before.")
            failures.append(Failure(read.event, read.attempts, error))
    return failures
