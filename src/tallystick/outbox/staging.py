"""Stages notices to the merchant's own systems, in the transaction that makes them true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.outbox.notices import Notice

# outbox_new tells fan-out which are new. A column of outbox would do as well, but to change it would write
# every notice and its index entries a second time.
_STAGE: Final = text("""
WITH staged AS (
  INSERT INTO outbox (notice_key, type, payment_id, data)
  SELECT key, type, payment_id, data
    FROM jsonb_to_recordset(CAST(:notices AS jsonb)) AS n(key text, type text, payment_id text, data jsonb)
   ORDER BY key COLLATE "C"
  ON CONFLICT (notice_key) DO NOTHING
  RETURNING id, notice_key
), new AS (
  INSERT INTO outbox_new (notice_id) SELECT id FROM staged
)
SELECT notice_key FROM staged
""")


async def stage(connection: AsyncConnection, notices: Iterable[Notice]) -> frozenset[str]:
    """Write the notices that were not staged before; they leave after the commit, or not at all.

    Returns the keys of those that were written.
    """
    by_key = {notice.key: notice for notice in notices}
    if not by_key:
        return frozenset()
    written = await connection.execute(_STAGE, {"notices": orjson.dumps(list(by_key.values())).decode()})
    return frozenset(written.scalars())
