"""What came of attempts to deliver, written many at once: log, next attempt, health of the endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.monitoring import metrics
from tallystick.outbox.notices import Notice
from tallystick.outbox.staging import stage
from tallystick.pipeline.backoff import backoff_s
from tallystick.pipeline.notices.webhook_client import Reply
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

# An attempt that is not the last one claimed (its lease ended) decides nothing, unless it was taken.
_FINISH: Final = text("""
WITH results AS (
  SELECT * FROM unnest(
    CAST(:ids AS bigint[]), CAST(:attempts AS integer[]), CAST(:outcomes AS text[]),
    CAST(:waits AS interval[]), CAST(:statuses AS smallint[]), CAST(:codes AS text[]), CAST(:errors AS text[])
  ) AS r(id, attempt, outcome, wait, response_status, error_code, error)
)
UPDATE notice_deliveries d
   SET status = r.outcome, due_at = now() + r.wait,
       finished_at = CASE WHEN r.outcome <> 'pending' THEN now() END,
       response_status = r.response_status, error_code = r.error_code, error = r.error
  FROM results r
 WHERE d.id = r.id AND d.status = 'pending' AND (d.attempts = r.attempt OR r.outcome = 'delivered')
RETURNING d.id, d.endpoint_id, d.order_key, d.status
""")

_LOG: Final = text("""
INSERT INTO notice_attempts (delivery_id, attempt, attempted_at, duration_ms, response_status, response_body,
                             error_code, error)
SELECT r.* FROM unnest(
    CAST(:ids AS bigint[]), CAST(:attempts AS integer[]), CAST(:times AS timestamptz[]),
    CAST(:durations AS integer[]), CAST(:statuses AS smallint[]), CAST(:bodies AS text[]),
    CAST(:codes AS text[]), CAST(:errors AS text[])
  ) AS r(id, attempt, at, duration_ms, response_status, response_body, error_code, error)
 WHERE EXISTS (SELECT 1 FROM notice_deliveries d WHERE d.id = r.id)
""")

_RELEASE: Final = text("""
UPDATE notice_deliveries SET due_at = now() WHERE id IN (
  SELECT following.id
    FROM unnest(CAST(:endpoints AS text[]), CAST(:keys AS text[])) AS f(endpoint_id, order_key)
   CROSS JOIN LATERAL (
     SELECT id FROM notice_deliveries
      WHERE order_key = f.order_key AND endpoint_id = f.endpoint_id AND status = 'pending'
      ORDER BY id LIMIT 1
   ) following
) AND attempts = 0
""")

# To the minute: a busy endpoint's row is not written with every delivery.
_WORKS: Final = text("""
UPDATE notice_endpoints SET last_success_at = now(), failing_since = NULL
 WHERE id = ANY(CAST(:ids AS text[]))
   AND (failing_since IS NOT NULL OR last_success_at IS NULL OR last_success_at < now() - interval '1 minute')
""")
_FAILS: Final = text("""
UPDATE notice_endpoints SET failing_since = now()
 WHERE id = ANY(CAST(:ids AS text[])) AND failing_since IS NULL
""")
_DISABLE: Final = text("""
UPDATE notice_endpoints
   SET status = 'disabled', disabled_at = now(), updated_at = now(),
       disabled_reason = CASE WHEN id = ANY(CAST(:gone AS text[])) THEN 'gone' ELSE 'failing' END
 WHERE id = ANY(CAST(:ids AS text[])) AND status = 'enabled' AND channel = 'webhook'
   AND (failing_since < now() - CAST(:after AS interval) OR id = ANY(CAST(:gone AS text[])))
RETURNING id, url, disabled_reason, disabled_at, failing_since
""")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attempt. ``outcome`` is delivered, pending (tried again after ``wait``) or failed."""

    delivery_id: int
    endpoint_id: str
    attempt: int
    outcome: str
    wait: timedelta
    reply: Reply

    @classmethod
    def of(cls, delivery_id: int, endpoint_id: str, attempt: int, reply: Reply, settings: Settings) -> Result:
        """The schedule is that of the settings; an endpoint that asks for more time gets it."""
        wait_s = max(
            backoff_s(attempt, base_s=settings.webhooks_retry_base_s, cap_s=settings.webhooks_retry_cap_s),
            reply.retry_after_s,
        )
        outcome = "pending" if attempt < settings.webhooks_retry_limit else "failed"
        if reply.delivered:
            outcome, wait_s = "delivered", 0.0
        return cls(delivery_id, endpoint_id, attempt, outcome, timedelta(seconds=wait_s), reply)


async def write_results(engine: AsyncEngine, results: Sequence[Result], settings: Settings) -> None:
    """Write them all in one transaction."""
    found = sorted(results, key=lambda result: result.delivery_id)
    common = {
        "ids": [each.delivery_id for each in found],
        "attempts": [each.attempt for each in found],
        "statuses": [each.reply.status for each in found],
        "codes": [each.reply.error_code for each in found],
        "errors": [each.reply.error for each in found],
    }
    async with engine.begin() as connection:
        rows = await connection.execute(
            _FINISH,
            {
                **common,
                "outcomes": [each.outcome for each in found],
                "waits": [each.wait for each in found],
            },
        )
        finished = [row for row in rows if row.status != "pending" and row.order_key is not None]
        await connection.execute(
            _LOG,
            {
                **common,
                "times": [each.reply.attempted_at for each in found],
                "durations": [each.reply.duration_ms for each in found],
                "bodies": [each.reply.body for each in found],
            },
        )
        if finished:
            keys = sorted({(row.endpoint_id, row.order_key) for row in finished})
            await connection.execute(
                _RELEASE, {"endpoints": [key[0] for key in keys], "keys": [key[1] for key in keys]}
            )
        await _note_health(connection, found, settings)
    for each in found:
        outcome = "retried" if each.outcome == "pending" else each.outcome
        metrics.NOTICE_ATTEMPTS.labels(outcome, each.reply.error_code or "").inc()
        metrics.NOTICE_SECONDS.observe(each.reply.duration_ms / 1000)


async def _note_health(connection: AsyncConnection, results: Sequence[Result], settings: Settings) -> None:
    works = {each.endpoint_id for each in results if each.reply.delivered}
    gone = {each.endpoint_id for each in results if each.reply.gone}
    fails = {each.endpoint_id for each in results} - works
    if works:
        await connection.execute(_WORKS, {"ids": sorted(works)})
    if fails:
        await connection.execute(_FAILS, {"ids": sorted(fails)})
    if fails | gone:
        after = timedelta(seconds=settings.webhooks_disable_after_s)
        given: dict[str, Any] = {"ids": sorted(fails | gone), "gone": sorted(gone), "after": after}
        for row in (await connection.execute(_DISABLE, given)).all():
            log.warning("webhook_endpoint_disabled", endpoint=row.id, reason=row.disabled_reason)
            data = {
                "webhook_endpoint": row.id,
                "url": row.url,
                "reason": row.disabled_reason,
                "disabled_at": row.disabled_at,
                "failing_since": row.failing_since,
            }
            key = f"webhook_endpoint.disabled:{row.id}:{row.disabled_at.isoformat()}"
            await stage(connection, [Notice(key, "webhook_endpoint.disabled", None, data)])
