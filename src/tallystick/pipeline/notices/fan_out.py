"""From a staged notice to a delivery for each endpoint that wants it; and the end of what waits in vain.

Fan-out is done by one worker at a time, in the order in which notices became visible, so that of one
payment's notices the earlier delivery has the lower id. The row in ``outbox_new`` goes in the transaction
that writes the deliveries: a notice is fanned out once, whatever dies when.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

BATCH: Final = 2000
_LOCK_KEY: Final = 7_203_486_115_904_421
"""Any number that nobody else takes."""

_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(:key)")

# What is ordered: the notices of a payment, or else those of a subscription, an invoice, a payout.
_FAN_OUT: Final = text("""
WITH new AS (
  DELETE FROM outbox_new WHERE notice_id IN (
    SELECT notice_id FROM outbox_new ORDER BY notice_id LIMIT :limit
  ) RETURNING notice_id
), written AS (
  INSERT INTO notice_deliveries (endpoint_id, notice_id, order_key)
  SELECT e.id, o.id, coalesce(o.payment_id, o.data->>'subscription', o.data->>'invoice', o.data->>'payout')
    FROM new JOIN outbox o ON o.id = new.notice_id
    JOIN notice_endpoints e ON e.status <> 'deleted' AND EXISTS (
      SELECT 1 FROM unnest(e.event_types) AS p(pattern)
       WHERE o.type = pattern OR (right(pattern, 1) = '*' AND starts_with(o.type, rtrim(pattern, '*')))
    )
   ORDER BY o.id, e.id
)
SELECT count(*) FROM new
""")

# An endpoint that is not sent to misses what would be due; it can be sent again when it is enabled.
_RETIRE: Final = text("""
UPDATE notice_deliveries SET status = 'failed', finished_at = now(), error_code = 'endpoint_disabled',
       error = 'The endpoint is disabled or deleted.'
 WHERE id IN (
   SELECT d.id FROM notice_endpoints e
     JOIN notice_deliveries d ON d.endpoint_id = e.id AND d.status = 'pending'
    WHERE e.status <> 'enabled' LIMIT :limit FOR UPDATE OF d SKIP LOCKED
 )
""")


async def fan_out(engine: AsyncEngine) -> int:
    """Write the deliveries of notices that are new, up to BATCH; how many there were.

    None where another worker is at it.
    """
    async with engine.begin() as connection:
        if not (await connection.execute(_LOCK, {"key": _LOCK_KEY})).scalar_one():
            return 0
        return int((await connection.execute(_FAN_OUT, {"limit": BATCH})).scalar_one())


async def retire(connection: AsyncConnection) -> int:
    """End what waits for endpoints that are not sent to; how many deliveries that were."""
    return (await connection.execute(_RETIRE, {"limit": BATCH})).rowcount
