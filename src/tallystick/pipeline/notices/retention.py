"""How long notices and their deliveries are kept.

Finished deliveries go, with their attempts. Of a notice its key stays for ever, since it says that the fact
was told, so that no replay tells it again; what it said goes with its last delivery, or at the same age where
no endpoint wanted it. All in small batches, each its own transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

BATCH: Final = 5000

# Only the oldest rows are looked at: no index is needed, and no scan of the table.
_REMOVE_DELIVERIES: Final = text("""
DELETE FROM notice_deliveries WHERE id IN (
  SELECT id FROM (SELECT id, status, finished_at FROM notice_deliveries ORDER BY id LIMIT :limit) oldest
   WHERE status <> 'pending' AND finished_at < now() - CAST(:age AS interval)
)
RETURNING notice_id
""")

# By endpoint, since that is how the deliveries of a notice are found.
_EMPTY: Final = text("""
UPDATE outbox SET data = '{}'
 WHERE id = ANY(CAST(:ids AS bigint[])) AND data <> '{}' AND NOT EXISTS (
   SELECT 1 FROM notice_endpoints e
     JOIN notice_deliveries d ON d.endpoint_id = e.id AND d.notice_id = outbox.id
 )
""")

_EMPTIED: Final = text("SELECT through_id FROM outbox_emptied FOR UPDATE SKIP LOCKED")
_NEXT: Final = text("""
SELECT id, created_at < now() - CAST(:age AS interval) AS old FROM outbox
 WHERE id > :after ORDER BY id LIMIT :limit
""")
_EMPTIED_THROUGH: Final = text("UPDATE outbox_emptied SET through_id = :id")


async def prune(engine: AsyncEngine, age: timedelta) -> None:
    """Remove what has been over for this long. Returns at once where another worker is at it."""
    while await _remove_deliveries(engine, age) == BATCH:
        pass
    while await _empty_notices(engine, age) == BATCH:
        pass


async def _remove_deliveries(engine: AsyncEngine, age: timedelta) -> int:
    """Of the oldest ones those that are finished and old enough; how many."""
    async with engine.begin() as connection:
        removed = (await connection.execute(_REMOVE_DELIVERIES, {"age": age, "limit": BATCH})).scalars().all()
        await _empty(connection, sorted(set(removed)))
    return len(removed)


async def _empty_notices(engine: AsyncEngine, age: timedelta) -> int:
    """Of the notices behind those that were looked at before the ones that are old enough; how many."""
    async with engine.begin() as connection:
        after = (await connection.execute(_EMPTIED)).scalar()
        if after is None:
            return 0
        rows = (await connection.execute(_NEXT, {"after": after, "age": age, "limit": BATCH})).all()
        last = max((number for number, row in enumerate(rows, 1) if row.old), default=0)
        if last:
            ids = [row.id for row in rows[:last]]
            await _empty(connection, ids)
            await connection.execute(_EMPTIED_THROUGH, {"id": ids[-1]})
    return last


async def _empty(connection: AsyncConnection, notices: Sequence[int]) -> None:
    if notices:
        await connection.execute(_EMPTY, {"ids": list(notices)})
