"""The worker: consumes rings, sweeps the inbox, asks Stripe what rules need, and pulls settlements.

Any number of workers can run beside each other. A worker that is killed leaves nothing undone: events stay
pending in the inbox until their effects are committed, and the sweep of any worker rings for them again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tallystick.alerting.evaluation import Alerting
from tallystick.app import App
from tallystick.db.session import database_is_away
from tallystick.idempotency import reap
from tallystick.ledger import seals
from tallystick.ledger.book import Book
from tallystick.monitoring import metrics
from tallystick.pipeline.archives import archive
from tallystick.pipeline.asking import Asking
from tallystick.pipeline.completer import Completer
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.hand import Hand
from tallystick.pipeline.lookups import Lookups
from tallystick.pipeline.loops import FIRST_PAUSE_S, LONGEST_PAUSE_S, Loops
from tallystick.pipeline.notices.deliveries import Deliveries
from tallystick.pipeline.process import Outcome, Processor
from tallystick.pipeline.pulls.gap_audit import GapAudit
from tallystick.pipeline.pulls.payout_contents import PayoutListings
from tallystick.pipeline.pulls.settlement import Settlement
from tallystick.pipeline.queue import QueueUnavailableError, Ring

log = structlog.get_logger(__name__)

_BLOCK_MS: Final = 1000
_RECLAIM_INTERVAL_S: Final = 15.0
_RECLAIM_IDLE_MS: Final = 60_000
_FORGET_IDLE_MS: Final = 3_600_000
_BATCHES_AT_ONCE: Final = 2
"""While one batch waits for its commit, the next one is read."""
_LONGEST_PACE_S: Final = 0.05
"""Between two batches that are not full, at most."""
_SETTLE_PAUSE_S: Final = 0.1
"""Events of one burst name their balance transactions one after the other: gather them for a moment."""
_SETTLE_CHECK_S: Final = 5.0
_AUDIT_CHECK_S: Final = 60.0
_ARCHIVE_CHECK_S: Final = 3600.0
_REAP_BATCH: Final = 1000
_REAP_INTERVAL_S: Final = 600.0
_ROOM_IN_QUEUE: Final = 10
"""Batches: while so many wait in the queue, the sweep adds nothing to them."""

_SWEEP: Final = text("""
UPDATE webhook_events SET ring_at = now() + :again
 WHERE id IN (
   SELECT id FROM webhook_events WHERE status = 'pending' AND ring_at <= now()
    ORDER BY ring_at LIMIT :limit FOR UPDATE SKIP LOCKED
 )
RETURNING id
""")


class Worker:
    """One worker process's loops over one App."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._book = Book()
        failures = Failures(app.engine, app.settings)
        lookups = Lookups(app.engine, app.stripe, failures, per_second=app.settings.stripe_lookups_per_second)
        self._processor = Processor(
            app.engine, self._book, app.settings, failures, lookups_s=lookups.behind_s
        )
        self._asking = Asking(lookups, app.bell.ring)
        self._completer = Completer(app.engine, app.stripe, app.settings)
        self._settlement = Settlement(app.engine, app.stripe, self._book, app.settings, lookups)
        self._payouts = PayoutListings(app.engine, app.stripe)
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._loops = Loops()
        self._settle_now = asyncio.Event()
        self._audit = GapAudit(app.engine, app.stripe, app.inbox, app.settings)
        self._deliveries = Deliveries(app.engine, app.webhooks, app.settings)
        self._sealable = seals.Horizon(0, 0, 0, 0)
        self._alerting = Alerting(app.engine, app.settings)
        self._hand = Hand(room=app.settings.batch_size, longest_pace_s=_LONGEST_PACE_S)

    def stop(self) -> None:
        """Finish the batches in hand, then return from ``run``."""
        self._loops.stop()

    async def run(self) -> None:
        """Work until ``stop`` is called."""
        log.info("worker_started", consumer=self._consumer)
        async with asyncio.TaskGroup() as group:
            working = [
                group.create_task(self._work(), name=f"work {number}") for number in range(_BATCHES_AT_ONCE)
            ]
            async with asyncio.TaskGroup() as taking:
                for stream in self._app.queue.streams:
                    read = partial(self._read, stream)
                    taking.create_task(self._loops.repeat("read", read), name=f"read {stream}")
                for name, step in (
                    ("sweep", self._sweep),
                    ("reclaim", self._reclaim),
                    ("complete", self._complete),
                    ("reap", self._reap),
                    ("alert", self._alert),
                    ("deliver", self._deliveries.step),
                ):
                    taking.create_task(self._loops.repeat(name, step), name=name)
                listing = [
                    taking.create_task(self._loops.repeat(name, step), name=name)
                    for name, step in (
                        ("settle", self._settle),
                        ("payouts", self._list_payouts),
                        ("audit", self._audit_inbox),
                        ("archive", self._archive),
                        ("seal", self._seal),
                    )
                ]
                await self._loops.stopped()
                self._deliveries.wake()
                for task in listing:  # a long list is taken up again where it stood
                    task.cancel()
            await self._hand.close()
            await asyncio.gather(*working)
        await self._deliveries.close()
        await self._alerting.close()
        await self._asking.close()
        with suppress(QueueUnavailableError):
            await self._app.queue.leave(self._consumer)
        log.info("worker_stopped", consumer=self._consumer)

    async def _read(self, stream: str) -> None:
        """Take rings of one stream in hand, when there is room for more."""
        await self._hand.has_room()
        await self._hand.put(
            await self._app.queue.claim(stream, self._consumer, self._app.settings.batch_size, _BLOCK_MS)
        )

    async def _reclaim(self) -> None:
        """Take over the rings of workers that died, and forget those that are long gone."""
        rings = await self._app.queue.reclaim(self._consumer, self._app.settings.batch_size, _RECLAIM_IDLE_MS)
        if rings:
            log.info("rings_reclaimed", rings=len(rings))
            metrics.RECLAIMED.inc(len(rings))
            await self._hand.put(rings)
        await self._app.queue.forget_idle(_FORGET_IDLE_MS)
        await self._loops.pause(_RECLAIM_INTERVAL_S)

    async def _work(self) -> None:
        """Work off what is in hand, to the last of it when the worker is to stop."""
        while rings := await self._hand.take(self._app.settings.batch_size):
            began = time.monotonic()
            await self._loops.attempt("work", partial(self._work_off, rings))
            self._hand.took(time.monotonic() - began)

    async def _work_off(self, rings: Sequence[Ring]) -> None:
        """Process, then acknowledge. What is not acknowledged is rung again, and passed over."""
        await self._process(list(dict.fromkeys(ring.event for ring in rings)))
        await self._app.queue.ack(rings)

    async def _process(self, events: Sequence[str]) -> None:
        """Process a batch, holding on to it while the database is away."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                outcome = await self._processor.process(events)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                if not database_is_away(error) or self._loops.stopping:
                    raise
                log.warning("database_unavailable", loop="process", error=type(error).__name__)
                await self._loops.pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._follow_up(outcome)
                return

    def _follow_up(self, outcome: Outcome) -> None:
        if outcome.balance_transactions:
            self._settle_now.set()
        self._asking.ask(outcome.questions)
        log.debug("batch_processed", **outcome.counts)

    async def _sweep(self) -> None:
        """Ring for what is due: events whose ring was lost, and those whose time to try again has come.

        While the queue holds plenty, the bell has not been lost. When Redis is away, the events are processed
        from here: it is a doorbell, and the door opens without it.
        """
        settings = self._app.settings
        try:
            most = min(_ROOM_IN_QUEUE * settings.batch_size, settings.queue_length // 2)
            room = most - await self._app.queue.waiting()
        except QueueUnavailableError:
            events = await self._due(settings.batch_size)
            if events:
                await self._process(events)
                return
        else:
            events = await self._due(room) if room > 0 else []
            if events:
                self._app.bell.ring(events)
            if len(events) == room:  # a backlog: more as soon as these are worked off
                await self._loops.pause(min(FIRST_PAUSE_S, settings.sweep_interval_s))
                return
        await self._loops.pause(settings.sweep_interval_s)

    async def _due(self, limit: int) -> list[str]:
        again = timedelta(seconds=2 * self._app.settings.ring_grace_s)
        async with self._app.engine.begin() as connection:
            due = sorted((await connection.execute(_SWEEP, {"again": again, "limit": limit})).scalars())
        metrics.SWEPT.inc(len(due))
        return due

    async def _audit_inbox(self) -> None:
        """One of the workers does it when it is due; the others look again."""
        await self._audit.run()
        await self._loops.pause(min(self._app.settings.audit_interval_s, _AUDIT_CHECK_S))

    async def _archive(self) -> None:
        await archive(self._app.engine, after_days=self._app.settings.archive_after_days)
        await self._loops.pause(_ARCHIVE_CHECK_S)

    async def _complete(self) -> None:
        """Finish what requests began at Stripe and did not hear the end of."""
        if not await self._completer.complete_due():
            await self._loops.pause(self._app.settings.completion_interval_s)

    async def _reap(self) -> None:
        """Remove old idempotency keys, a batch a transaction."""
        keep = timedelta(days=self._app.settings.idempotency_keep_days)
        reaped = await reap(self._app.engine, keep=keep, limit=_REAP_BATCH)
        if reaped:
            log.info("idempotency_keys_reaped", keys=reaped)
        if reaped < _REAP_BATCH:
            await self._loops.pause(_REAP_INTERVAL_S)

    async def _seal(self) -> None:
        """Seal what was in the ledger at the last turn: by now, what was being written then has committed."""
        await seals.seal(self._app.engine, self._sealable)
        self._sealable = await seals.horizon(self._app.engine)
        async with self._app.engine.connect() as connection:
            lag_s = (await seals.lag(connection)).total_seconds()
        if lag_s > self._app.settings.alert_seal_lag_s:
            # a database transaction is left open somewhere, a prepared one perhaps
            log.error("ledger_not_sealed", lag_s=round(lag_s))
        await self._loops.pause(self._app.settings.seal_interval_s)

    async def _alert(self) -> None:
        await self._alerting.step()
        await self._loops.pause(self._app.settings.alert_interval_s)

    async def _list_payouts(self) -> None:
        """What went out with a payout, once Stripe says so."""
        await self._payouts.step()
        await self._loops.pause(self._app.settings.settlement_interval_s)

    async def _settle(self) -> None:
        """Pull at the interval; in between post what events named, as soon as they name it."""
        settlement, interval_s = self._settlement, self._app.settings.settlement_interval_s
        await settlement.pull()
        next_pull = time.monotonic() + interval_s
        while not self._loops.stopping and (left_s := next_pull - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left_s, _SETTLE_CHECK_S)):
                    await self._settle_now.wait()
                await self._loops.pause(_SETTLE_PAUSE_S)
            except TimeoutError:
                pass  # nothing was named; a fetch that failed before may be due
            self._settle_now.clear()
            await settlement.fetch_and_post()
