"""The record of replays: who asked for one, when, why, for what, and what came of it. Append-only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.db.ids import new_id
from tallystick.errors import NotFoundError

_BEGIN: Final = text("""
INSERT INTO replays (id, actor, reason, selection) VALUES (:id, :actor, :reason, CAST(:selection AS jsonb))
""")
_END: Final = text("""
INSERT INTO replay_results (replay_id, outcome, counts) VALUES (:id, :outcome, CAST(:counts AS jsonb))
""")

_LIST: Final = """
SELECT r.id, r.actor, r.reason, r.selection, r.started_at, e.finished_at, e.outcome, e.counts
  FROM replays r LEFT JOIN replay_results e ON e.replay_id = r.id
 WHERE {where} ORDER BY r.id DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants a replay, and why."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay as it was recorded. ``outcome`` is None while it runs, and for one that was killed.

    ``counts``: events ``put_back``, and where it was waited for, how many ended ``processed``, ``ignored``,
    ``failed`` (to be tried again), ``dead``, or were still ``pending``.
    """

    id: str
    actor: str
    reason: str
    selection: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    counts: dict[str, int]


async def begin(connection: AsyncConnection, order: Order, selection: Mapping[str, Any]) -> str:
    """Record that a replay begins; returns its id."""
    replay_id = new_id("rpl")
    row = {"id": replay_id, "actor": order.actor, "reason": order.reason}
    await connection.execute(_BEGIN, {**row, "selection": orjson.dumps(selection).decode()})
    return replay_id


async def end(connection: AsyncConnection, replay_id: str, outcome: str, counts: Mapping[str, int]) -> None:
    """Record how it ended."""
    row = {"id": replay_id, "outcome": outcome, "counts": orjson.dumps(dict(counts)).decode()}
    await connection.execute(_END, row)


async def list_replays(
    connection: AsyncConnection, *, limit: int, cursor: str | None = None
) -> tuple[list[Replay], str | None]:
    """Up to ``limit`` replays, the latest first, and the cursor of the next page."""
    behind = {"behind": read_cursor(cursor)[1]} if cursor is not None else {}
    query = text(_LIST.format(where="r.id < :behind" if behind else "true"))
    found = [_replay(row) for row in await connection.execute(query, {**behind, "limit": limit + 1})]
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], cursor_at(last.started_at, last.id) if last else None


async def get_replay(connection: AsyncConnection, replay_id: str) -> Replay:
    """Raises NotFoundError."""
    query = text(_LIST.format(where="r.id = :id"))
    given = {"id": replay_id, "limit": 1}
    row = (await connection.execute(query, given)).first() if replay_id.isprintable() else None
    if row is None:
        raise NotFoundError(f"There is no replay {replay_id[:300]!r}.", param="id")
    return _replay(row)


def _replay(row: Row[Any]) -> Replay:
    values = {name: getattr(row, name) for name in Replay.__slots__}
    return Replay(**{**values, "counts": row.counts or {}})
