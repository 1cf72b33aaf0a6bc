"""Sends notices: claims what is due, posts it, and writes down what came of it.

A claim is a lease: it moves ``due_at`` past the longest attempt. A worker that dies leaves rows that come
due again, so that each is sent at least once, always under the same id. Of one endpoint's deliveries with the
same ``order_key`` only the first that is not finished is sent; the later ones are looked at again when it is.
Each endpoint has a limit of its own of what a worker sends at once, so that a slow one holds up nobody else.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import database_is_away
from tallystick.outbox.signing import notice_id, payload, signed_headers
from tallystick.pipeline.notices.delivery_results import Result, write_results
from tallystick.pipeline.notices.endpoint_secrets import live_secrets
from tallystick.pipeline.notices.fan_out import BATCH, fan_out, retire
from tallystick.pipeline.notices.mail import open_mailer, set_up_email
from tallystick.pipeline.notices.retention import prune
from tallystick.pipeline.notices.webhook_client import WebhookClient
from tallystick.settings import Settings
from tallystick.vault import open_vault

log = structlog.get_logger(__name__)

_LEASE_MARGIN_S: Final = 30.0
"""What an attempt may take beyond its timeout until its result is written."""
_WRITTEN_AT_ONCE: Final = 500
_PRUNE_INTERVAL_S: Final = 600.0
_LONGEST_PAUSE_S: Final = 5.0

# Held: an earlier delivery of the same order key is not finished. It is looked at again when that one is due.
_CLAIM: Final = text("""
WITH due AS MATERIALIZED (
  SELECT d.id, d.endpoint_id, d.order_key FROM notice_endpoints e
    LEFT JOIN unnest(CAST(:busy AS text[]), CAST(:counts AS integer[])) AS b(id, count) ON b.id = e.id
   CROSS JOIN LATERAL (
     SELECT id, endpoint_id, order_key FROM notice_deliveries
      WHERE endpoint_id = e.id AND status = 'pending' AND due_at <= now()
      ORDER BY due_at, id LIMIT greatest(0, :room - coalesce(b.count, 0)) FOR UPDATE SKIP LOCKED
   ) d
   WHERE e.status = 'enabled'
), held AS (
  SELECT due.id, earlier.due_at FROM due CROSS JOIN LATERAL (
    SELECT due_at FROM notice_deliveries
     WHERE order_key = due.order_key AND endpoint_id = due.endpoint_id AND status = 'pending' AND id < due.id
     ORDER BY id LIMIT 1
  ) earlier
), claimed AS (
  UPDATE notice_deliveries d
     SET attempts = d.attempts + CASE WHEN h.id IS NULL THEN 1 ELSE 0 END,
         due_at = CASE WHEN h.due_at > now() THEN h.due_at ELSE now() + :lease END
    FROM due LEFT JOIN held h USING (id) WHERE d.id = due.id
  RETURNING d.id, d.endpoint_id, d.notice_id, d.attempts, h.id IS NOT NULL AS held
)
SELECT c.*, e.channel, e.url, o.notice_key, o.type, o.data, o.created_at
  FROM claimed c JOIN outbox o ON o.id = c.notice_id JOIN notice_endpoints e ON e.id = c.endpoint_id
 ORDER BY c.id
""")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to an endpoint, for the ``attempt``-th time (from 1)."""

    id: int
    endpoint_id: str
    channel: str
    url: str
    attempt: int
    message_id: str
    type: str
    body: str
    secrets: tuple[str, ...]


class Deliveries:
    """The sending side of one worker."""

    def __init__(self, engine: AsyncEngine, client: WebhookClient, settings: Settings) -> None:
        self._engine = engine
        self._client = client
        self._settings = settings
        self._vault = open_vault(settings)
        self._mailer = open_mailer(settings)
        self._lease = timedelta(seconds=settings.webhooks_timeout_s + _LEASE_MARGIN_S)
        self._busy: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()
        self._results: asyncio.Queue[Result] = asyncio.Queue()
        self._writing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._next_prune = time.monotonic()

    async def step(self) -> None:
        """Fan out, claim and begin to send; without work, wait for the interval or a free place.

        Raises what the database raises, and ConfigurationError when a secret cannot be read.
        """
        self._wake.clear()
        if self._writing is None:
            async with self._engine.begin() as connection:
                await set_up_email(connection, self._mailer)
            self._writing = asyncio.create_task(self._write_down(), name="write deliveries")
        fanned_out = await fan_out(self._engine)
        claimed = await self._claim()
        if time.monotonic() >= self._next_prune:
            await prune(self._engine, timedelta(days=self._settings.webhooks_retention_days))
            self._next_prune = time.monotonic() + _PRUNE_INTERVAL_S
        if fanned_out < BATCH and not claimed:
            try:
                async with asyncio.timeout(self._settings.webhooks_interval_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    def wake(self) -> None:
        """End the wait of a step."""
        self._wake.set()

    async def close(self) -> None:
        """Wait for what is being sent, and write down what came of it."""
        await asyncio.gather(*self._sending)
        if self._writing is not None:
            await self._results.join()
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _claim(self) -> int:
        """Begin to send what is due and has a place; how many rows were looked at."""
        given = {
            "busy": list(self._busy),
            "counts": list(self._busy.values()),
            "room": self._settings.webhooks_concurrency,
            "lease": self._lease,
        }
        async with self._engine.begin() as connection:
            retired = await retire(connection)
            rows = (await connection.execute(_CLAIM, given)).all()
            to_send = [row for row in rows if not row.held]
            secrets = await live_secrets(
                connection, self._vault, sorted({row.endpoint_id for row in to_send})
            )
        for row in to_send:
            self._busy[row.endpoint_id] += 1
            delivery = _delivery(row, secrets.get(row.endpoint_id, []))
            task = asyncio.create_task(self._send(delivery), name=f"deliver {row.id}")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return retired + len(rows)

    async def _send(self, delivery: Delivery) -> None:
        if delivery.channel == "webhook":
            headers = signed_headers(delivery.message_id, delivery.body, delivery.secrets, datetime.now(UTC))
            reply = await self._client.post(delivery.url, delivery.body.encode(), headers)
        elif self._mailer is not None:
            reply = await self._mailer.send(delivery.message_id, delivery.type, delivery.body)
        else:  # set up by a worker with other settings: when the lease ends, that one can send it
            self._leave(delivery.endpoint_id)
            return
        log.debug("notice_sent", delivery=delivery.id, status=reply.status, error=reply.error_code)
        self._results.put_nowait(
            Result.of(delivery.id, delivery.endpoint_id, delivery.attempt, reply, self._settings)
        )

    def _leave(self, endpoint_id: str) -> None:
        """A place at the endpoint is free again."""
        self._busy[endpoint_id] -= 1
        if not self._busy[endpoint_id]:
            del self._busy[endpoint_id]

    async def _write_down(self) -> None:
        """Write results as they come, many in one commit, and hold on to them while the database is away."""
        while True:
            results = [await self._results.get()]
            while len(results) < _WRITTEN_AT_ONCE and not self._results.empty():
                results.append(self._results.get_nowait())
            await self._write(results)
            for result in results:
                self._leave(result.endpoint_id)
                self._results.task_done()
            self._wake.set()

    async def _write(self, results: Sequence[Result]) -> None:
        """What cannot be written is sent again when its lease ends."""
        pause_s = 0.1
        deadline = time.monotonic() + self._lease.total_seconds()
        while True:
            try:
                await write_results(self._engine, results, self._settings)
            except Exception as error:
                if not database_is_away(error) or time.monotonic() > deadline:
                    log.exception("deliveries_not_written", deliveries=len(results))
                    return
                log.warning("database_unavailable", loop="deliveries", error=type(error).__name__)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return


def _delivery(row: Row[Any], secrets: Sequence[str]) -> Delivery:
    message_id = notice_id(row.notice_key)
    body = payload(message_id, row.type, row.created_at, row.data)
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        channel=row.channel,
        url=row.url,
        attempt=row.attempts,
        message_id=message_id,
        type=row.type,
        body=body,
        secrets=tuple(secrets),
    )
