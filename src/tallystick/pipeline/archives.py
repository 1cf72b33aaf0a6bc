"""Archives: the bodies of events that were processed long ago, compressed by the thousand.

An event's row stays in the inbox for ever, since it is what makes a duplicate one. Its body, ten times the
rest of the row, moves to a compressed block after a while, and is read from there when somebody asks for it:
a replay, a rebuild, ``events show``. Bodies are kept byte for byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any, Final, Protocol

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

log = structlog.get_logger(__name__)

BLOCK: Final = 1000
_LEVEL: Final = 6
_LOCK: Final = 0x7A11_A7C4
"""Of PostgreSQL's advisory locks: one worker archives at a time."""

_TURN: Final = text("SELECT pg_try_advisory_xact_lock(:lock)")

_ARCHIVED_THROUGH: Final = text("SELECT coalesce(max(last_seq), -1) FROM event_archives")

# By seq, which has its index already: a condition on age or status would need one that every event pays for.
_NEXT: Final = text("""
SELECT id, seq, status, body, received_at < now() - CAST(:age AS interval) AS old FROM webhook_events
 WHERE seq > :after ORDER BY seq LIMIT :limit FOR UPDATE SKIP LOCKED
""")

_INSERT: Final = text("""
INSERT INTO event_archives (last_seq, events, offsets, body)
VALUES (:last_seq, :events, CAST(:offsets AS int[]), :body) RETURNING id
""")

_MOVE: Final = text("""
UPDATE webhook_events e SET body = NULL, archive_id = :archive, archive_position = m.position
  FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS m(id, position) WHERE e.id = m.id
""")

COLUMNS: Final = "id, type, status, created_at, body, archive_id, archive_position"
"""Of the inbox: what a ``Row`` has."""

_ONE: Final = text(f"SELECT {COLUMNS} FROM webhook_events WHERE id = :id")

_BLOCKS: Final = text("SELECT id, offsets, body FROM event_archives WHERE id = ANY(CAST(:ids AS bigint[]))")

_MOVED: Final = frozenset({"processed", "ignored"})
"""What is pending or dead is about to be read again."""


class Row(Protocol):
    """A row of the inbox with where its body is."""

    id: str
    type: str
    status: str
    created_at: datetime
    body: bytes | None
    archive_id: int | None
    archive_position: int | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the inbox with its body, wherever that was."""

    id: str
    type: str
    status: str
    created_at: datetime
    body: bytes


async def with_bodies(connection: AsyncConnection, rows: Iterable[Row]) -> list[StoredEvent]:
    """The rows with their bodies, those in archives too."""
    found = list(rows)
    wanted = sorted({row.archive_id for row in found if row.archive_id is not None})
    blocks: dict[int, list[bytes]] = {}
    if wanted:
        for block in await connection.execute(_BLOCKS, {"ids": wanted}):
            blocks[block.id] = unpack(block.offsets, block.body)
    return [StoredEvent(row.id, row.type, row.status, row.created_at, _body(row, blocks)) for row in found]


async def body_of(connection: AsyncConnection, event_id: str) -> bytes | None:
    """The body of one event; None where there is no such event."""
    rows = (await connection.execute(_ONE, {"id": event_id})).all()
    return (await with_bodies(connection, rows))[0].body if rows else None


async def archive(engine: AsyncEngine, *, after_days: int) -> int:
    """Move all bodies that are old enough, block by block; returns how many were moved.

    Returns at once when another worker is at it.
    """
    moved, after = 0, -1
    while True:
        async with engine.begin() as connection:
            if not (await connection.execute(_TURN, {"lock": _LOCK})).scalar_one():
                return moved
            if after < 0:
                after = int((await connection.execute(_ARCHIVED_THROUGH)).scalar_one())
            parameters = {"after": after, "limit": BLOCK, "age": timedelta(days=after_days)}
            rows = (await connection.execute(_NEXT, parameters)).all()
            old = [row for row in rows if row.old]
            done = [row for row in old if row.status in _MOVED and row.body is not None]
            if done:
                await _move(connection, done)
                moved += len(done)
        if len(old) < BLOCK:
            if moved:
                log.info("events_archived", events=moved)
            return moved
        after = old[-1].seq


def pack(bodies: Sequence[bytes]) -> tuple[list[int], bytes]:
    """A block: where each body ends, and all of them compressed."""
    return list(accumulate(map(len, bodies))), zlib.compress(b"".join(bodies), _LEVEL)


def unpack(offsets: Sequence[int], block: bytes) -> list[bytes]:
    """The bodies of a block, in their order."""
    whole = zlib.decompress(block)
    return [whole[start:end] for start, end in pairwise([0, *offsets])]


async def _move(connection: AsyncConnection, rows: Sequence[Any]) -> None:
    offsets, body = pack([row.body for row in rows])
    block = {"last_seq": rows[-1].seq, "events": len(rows), "offsets": offsets, "body": body}
    archive_id = (await connection.execute(_INSERT, block)).scalar_one()
    await connection.execute(_MOVE, {"archive": archive_id, "ids": [row.id for row in rows]})


def _body(row: Row, blocks: dict[int, list[bytes]]) -> bytes:
    if row.body is not None:
        return row.body
    assert row.archive_id is not None
    assert row.archive_position is not None
    return blocks[row.archive_id][row.archive_position - 1]
