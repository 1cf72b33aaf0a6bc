"""Processes events: reads a batch, asks the pure rules what it means, writes all of it in one transaction.

Effects and the "processed" marks commit together or not at all, so a crash at any point leaves an event
either done or untouched. An exception in a rule drops its event from the batch; an error of the database
splits the batch by halves until the event at fault stands alone. A failed attempt is counted by
``failures.py``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Row, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import database_is_away
from tallystick.errors import EffectDiffersError
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Question
from tallystick.ledger.book import Book, Contradiction
from tallystick.monitoring import metrics
from tallystick.pipeline.account_maps import hold_maps, keep
from tallystick.pipeline.archives import COLUMNS
from tallystick.pipeline.counting import count_conflicts, count_written
from tallystick.pipeline.effects import decide_ties, write_effects
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.reading import Read, read_events
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

# By key alone: a condition on the status would make the planner walk the index of pending events.
_CLAIM: Final = text(f"""
SELECT {COLUMNS}, received_at FROM webhook_events
 WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR UPDATE SKIP LOCKED
""")

_FINISH: Final = text("""
UPDATE webhook_events e SET status = f.status, about = f.about, finished_at = now()
  FROM unnest(CAST(:ids AS text[]), CAST(:statuses AS text[]), CAST(:abouts AS text[]))
    AS f(id, status, about)
 WHERE e.id = f.id
""")

_POSTPONE: Final = text("""
UPDATE webhook_events SET ring_at = :ring_at WHERE id = ANY(CAST(:ids AS text[]))
""")


_REPLAYED: Final = timedelta(days=1)
"""Older than this when it is done, an event was put back, and says nothing of how fast we are."""
_LONGEST_PATIENCE_S: Final = 600.0
"""While so many questions wait that a new one has no hope of an answer sooner, its events are left alone."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch: how many events ended in which status, and what is needed next."""

    counts: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, str] = field(default_factory=dict)
    """Of each event that was read: processed, ignored or waiting."""
    questions: dict[Question, set[str]] = field(default_factory=dict)
    """What Stripe must answer, and the events that wait for it."""
    balance_transactions: bool = False
    """Whether balance transactions were named that must be fetched or posted."""

    def add(self, other: Outcome) -> None:
        """Take in the outcome of another part of the batch."""
        self.counts.update(other.counts)
        self.statuses.update(other.statuses)
        for question, events in other.questions.items():
            self.questions.setdefault(question, set()).update(events)
        self.balance_transactions = self.balance_transactions or other.balance_transactions


class _ContradictedError(Exception):
    """Events of the batch say otherwise than the ledger: nothing of the batch may be written with them."""

    def __init__(self, errors: dict[str, Exception]) -> None:
        super().__init__(f"{len(errors)} events contradict the ledger")
        self.errors = errors


class Processor:
    """Processes batches of events; one a process."""

    def __init__(
        self,
        engine: AsyncEngine,
        book: Book,
        settings: Settings,
        failures: Failures,
        *,
        lookups_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``lookups_s``: how long a question that is asked now will wait for its turn."""
        self._engine = engine
        self._book = book
        self._settings = settings
        self._failures = failures
        self._lookups_s = lookups_s

    async def process(self, ids: Sequence[str]) -> Outcome:
        """Process the events with these ids; finished and unknown ones are passed over.

        Raises what says that the database is away (see ``database_is_away``): nothing was done then, no
        attempt is counted, and the batch can be given again.
        """
        try:
            outcome, errors = await self._batch(ids)
        except _ContradictedError as found:  # they are dead letters; the others go again without them
            counts = await self._failures.count(found.errors)
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
            outcome, errors = Outcome(), {ids[0]: error}
        if errors:
            outcome.counts.update(await self._failures.count(errors))
        return outcome

    async def _batch(self, ids: Sequence[str]) -> tuple[Outcome, dict[str, Exception]]:
        begun = time.perf_counter()
        async with self._engine.begin() as connection:
            await hold_maps(connection)
            rows = (await connection.execute(_CLAIM, {"ids": list(ids)})).all()
            pending = [row for row in rows if row.status == "pending"]
            cut_over = await self._book.cut_over(connection)
            reads, errors = await read_events(connection, pending, cut_over=cut_over)
            if not await keep(connection, [read.decided for read in reads]):  # another worker decided first
                reads, errors = await read_events(connection, pending, cut_over=cut_over)
            effects = [read.effects for read in reads]
            written = await write_effects(connection, self._book, effects, hold_ties=True)
            if conflicts := written.posted.conflicts:
                count_conflicts(conflicts)
                raise _ContradictedError(_conflicting(reads, conflicts))
            outcome = await self._mark(connection, reads, await decide_ties(connection, written.ties))
            await self._book.settle_balances(connection, written.posted)
        metrics.BATCH_SECONDS.observe(time.perf_counter() - begun)
        count_written(effects, written)
        _count_events(pending, outcome.statuses)
        return outcome, errors

    async def _mark(
        self, connection: AsyncConnection, reads: Sequence[Read], ties: Mapping[str, set[Question]]
    ) -> Outcome:
        """Mark finished events in the transaction of their effects; the others wait for their answers."""
        outcome = Outcome()
        finished = []
        waiting = []
        for read in reads:
            if read.effects.balance_transactions:
                outcome.balance_transactions = True
            questions = {*read.effects.waiting_for, *ties.get(read.event, ())}
            if questions:
                waiting.append(read.event)
                for question in questions:
                    outcome.questions.setdefault(question, set()).add(read.event)
            else:
                finished.append(read)
        if finished:
            statuses = ["ignored" if read.ignored else "processed" for read in finished]
            ids = [read.event for read in finished]
            row = {
                "ids": ids,
                "statuses": statuses,
                "abouts": [read.effects.about for read in finished],
            }
            await connection.execute(_FINISH, row)
            outcome.counts.update(statuses)
            outcome.statuses.update(zip(ids, statuses, strict=True))
        if waiting:
            # The answer rings; the sweep comes for what an answer that was lost, or a dead worker, left.
            patience_s = 4 * self._settings.ring_grace_s + min(self._lookups_s(), _LONGEST_PATIENCE_S)
            ring_at = datetime.now(UTC) + timedelta(seconds=patience_s)
            await connection.execute(_POSTPONE, {"ids": waiting, "ring_at": ring_at})
            outcome.counts["waiting"] += len(waiting)
            outcome.statuses.update(dict.fromkeys(waiting, "waiting"))
        return outcome


def _count_events(rows: Sequence[Row[Any]], statuses: Mapping[str, str]) -> None:
    """Count what became of the events, and how long those that are done had been here."""
    now = datetime.now(UTC)
    kinds: Counter[tuple[str, str]] = Counter()
    for row in rows:
        status = statuses.get(row.id)
        if status is None:
            continue  # it failed, and is counted where that is
        kinds[row.type if row.type in EVENTS else metrics.OTHER, status] += 1
        if status != "waiting" and (age := now - row.received_at) < _REPLAYED:
            metrics.EVENT_SECONDS.observe(max(0.0, age.total_seconds()))
    for (kind, status), count in kinds.items():
        metrics.EVENTS.labels(kind, status).inc(count)


def _conflicting(reads: Sequence[Read], conflicts: frozenset[Contradiction]) -> dict[str, Exception]:
    """The events whose effects stand in the ledger with other legs."""
    errors: dict[str, Exception] = {}
    for read in reads:
        made = read.effects.transactions
        keys = [item.effect_key for item in made if (item.effect_key, item.digest) in conflicts]
        if keys:
            errors[read.event] = EffectDiffersError(f"{', '.join(keys)} came with other legs than before.")
    return errors
