"""Replay: puts events back to where a worker claims them, and keeps who did it, when and why.

An event that is put back is pending, as when it arrived: whatever happens to whoever asked for the replay,
a worker processes it, and what it had already done is not done again. Nothing is processed here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.errors import NotFoundError
from tallystick.pipeline.operations.audit import Order, Replay, begin, end, get_replay
from tallystick.pipeline.pace import Pace
from tallystick.pipeline.views.selection import EventStatus, Selection

_WINDOW: Final = 50_000
"""Events looked through in one statement: a table of any size is walked in statements of bounded length."""
_BATCH: Final = 200
_POLL_S: Final = 0.2

_BOUNDS: Final = text("SELECT coalesce(min(seq), 0), coalesce(max(seq), -1) FROM webhook_events")

_WALK: Final = """
SELECT e.id FROM webhook_events e WHERE e.seq >= :first AND e.seq < :end AND {where} ORDER BY e.seq
"""

_PUT_BACK: Final = """
WITH chosen AS (
  SELECT e.id FROM webhook_events e WHERE e.id = ANY(CAST(:chosen AS text[])) AND {where}
   ORDER BY e.id FOR UPDATE
)
UPDATE webhook_events e
   SET status = 'pending', attempts = 0, ring_at = now(), finished_at = NULL
  FROM chosen WHERE e.id = chosen.id
RETURNING e.id
"""

_ENDINGS: Final = text("""
SELECT CASE WHEN status = 'pending' AND attempts > 0 THEN 'failed' ELSE status END AS ending,
       count(*) AS events
  FROM webhook_events WHERE id = ANY(CAST(:ids AS text[])) GROUP BY 1
""")


def replayable(selection: Selection) -> Selection:
    """The selection without discarded events, unless it names a status or ids."""
    if selection.ids or selection.statuses:
        return selection
    kept = tuple(status for status in EventStatus if status is not EventStatus.DISCARDED)
    return replace(selection, statuses=kept)


async def put_back(connection: AsyncConnection, ids: Sequence[str], selection: Selection) -> list[str]:
    """Put those of the events back that still fit the selection; returns their ids."""
    where, parameters = selection.where()
    query = text(_PUT_BACK.format(where=where))
    return sorted((await connection.execute(query, {**parameters, "chosen": list(ids)})).scalars())


async def replay_event(connection: AsyncConnection, event_id: str, order: Order) -> str:
    """Put one event back, whatever its status, and record it; returns the replay's id.

    Raises NotFoundError.
    """
    selection = Selection(ids=(event_id,))
    if not event_id.isprintable() or not await put_back(connection, [event_id], selection):
        raise NotFoundError(f"There is no event {event_id[:300]!r}.", param="id")
    replay_id = await begin(connection, order, selection.as_json())
    await end(connection, replay_id, "finished", {"put_back": 1})
    return replay_id


async def walk(engine: AsyncEngine, selection: Selection) -> AsyncIterator[tuple[list[str], float]]:
    """The ids of the events that fit, oldest arrival first, in batches; with the part of the way (0 to 1).

    Events that arrive meanwhile are not among them.
    """
    where, parameters = selection.where()
    query = text(_WALK.format(where=where))
    async with engine.connect() as connection:
        first, last = (await connection.execute(_BOUNDS)).one()
    for start in range(first, last + 1, _WINDOW):
        end = min(start + _WINDOW, last + 1)
        async with engine.connect() as connection:
            bounds = {"first": start, "end": end}
            found = list((await connection.execute(query, {**parameters, **bounds})).scalars())
        for n in range(0, len(found), _BATCH):
            batch = found[n : n + _BATCH]
            yield batch, (start + (end - start) * (n + len(batch)) / len(found) - first) / (last + 1 - first)
        if not found:
            yield [], (end - first) / (last + 1 - first)


@dataclass(slots=True)
class Progress:
    """The part of the inbox that is walked through (0 to 1), and what became of the events so far."""

    walked: float = 0.0
    counts: Counter[str] = field(default_factory=lambda: Counter(put_back=0))


Watch = Callable[[Progress], None]


async def replay_events(
    engine: AsyncEngine,
    selection: Selection,
    order: Order,
    *,
    per_second: float,
    wait_s: float,
    watch: Watch = lambda _progress: None,
) -> Replay:
    """Put all events back that fit, at most ``per_second``; then wait up to ``wait_s`` for the workers.

    Discarded ones only where the selection names their status or ids. The replay is recorded before the
    first and after the last, also when it is cancelled.
    """
    selection = replayable(selection)
    async with engine.begin() as connection:
        replay_id = await begin(connection, order, selection.as_json())
    progress, outcome = Progress(), "interrupted"
    try:
        handed_over = await _put_all_back(engine, selection, progress, Pace(per_second), watch)
        await _wait(engine, handed_over, progress, wait_s=wait_s, watch=watch)
        outcome = "finished"
    finally:
        async with engine.begin() as connection:
            await end(connection, replay_id, outcome, progress.counts)
    async with engine.connect() as connection:
        return await get_replay(connection, replay_id)


async def _put_all_back(
    engine: AsyncEngine, selection: Selection, progress: Progress, pace: Pace, watch: Watch
) -> list[list[str]]:
    """Put back what fits; returns the ids in batches."""
    handed_over = []
    async for ids, walked in walk(engine, selection):
        portion = pace.portion(_BATCH)
        for n in range(0, len(ids), portion):
            await pace.spend(len(ids[n : n + portion]))
            async with engine.begin() as connection:
                done = await put_back(connection, ids[n : n + portion], selection)
            handed_over.append(done)
            progress.counts["put_back"] += len(done)
            watch(progress)
        progress.walked = walked
        watch(progress)
    return handed_over


async def _wait(
    engine: AsyncEngine, handed_over: list[list[str]], progress: Progress, *, wait_s: float, watch: Watch
) -> None:
    """Count what the events came to, batch after batch, until none is pending or the time is up."""
    deadline = time.monotonic() + wait_s
    put_back_count = progress.counts["put_back"]
    settled: Counter[str] = Counter()
    for batch in handed_over:
        while True:
            async with engine.connect() as connection:
                rows = await connection.execute(_ENDINGS, {"ids": batch})
                endings = Counter({row.ending: row.events for row in rows})
            progress.counts = Counter(put_back=put_back_count) + settled + endings
            watch(progress)
            if not endings["pending"] or time.monotonic() >= deadline:
                break
            await asyncio.sleep(_POLL_S)
        settled += endings
