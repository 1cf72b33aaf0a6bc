"""Delivery of events to webhook endpoints: signed, concurrent, retried, logged, and never forgotten.

A delivery is a record, written in the transaction of its event. It stays pending until the endpoint has
answered 2xx or the schedule is used up, whatever happens to the process in between; so an endpoint may hear
an event twice, never zero times.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tallystick.sandbox import events
from tallystick.sandbox.clock import Alarm, Clock
from tallystick.sandbox.disorder import Disorder
from tallystick.sandbox.spaces import Space
from tallystick.sandbox.store import Obj, Store
from tallystick.sandbox.thin_events import TABLE_KIND
from tallystick.sandbox.versions import Relations
from tallystick.sandbox.webhook_sender import WebhookSender

SPACE: Final = "delivery"
_LOG_KEPT: Final = 20_000


@dataclass(slots=True)
class Delivery:
    """One event on its way to one endpoint. ``state``: pending, delivered, failed or dropped.

    ``attempts`` holds ``[time, status or 0, error or None]`` each; ``due`` is when the next one is made.
    """

    key: str
    event: str
    endpoint: str
    due: float
    state: str = "pending"
    wrong_secret: bool = False
    api_version: str | None = None
    """Rendered in this version instead of the endpoint's."""
    counted: bool = True
    """Whether it is one of the event's pending_webhooks; a redelivery on demand is not."""
    attempts: list[list[Any]] = field(default_factory=list)


class Deliveries:
    """All deliveries, and the workers that make them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        relations: Relations,
        *,
        schedule: tuple[float, ...],
        concurrency: int,
        timeout: float,
        seed: int | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sender = WebhookSender(store, clock, relations, timeout)
        self._schedule = schedule
        self._concurrency = concurrency
        self._count = itertools.count(1)
        self.disorder = Disorder(seed)
        self.log: dict[str, Delivery] = {}
        self.unheard: dict[str, int] = {}
        """Events that an endpoint has not taken (yet, or at all), and by how many: pending_webhooks."""
        self._alarms: dict[str, Alarm] = {}
        self._settled: deque[str] = deque()
        self._queues: dict[str, asyncio.Queue[str]] = {}
        self._workers: dict[str, list[asyncio.Task[None]]] = {}
        self._flush_due = False
        # Events are not written again for each delivery, so the count in what is read back is an old one.
        store.on_read["event"] = self._count_pending_webhooks
        store.add_space(SPACE, Space(self._dump, self._load, lambda: list(self.log)))

    # Planning, inside the transaction that makes the event

    def plan(self, event: Obj, endpoints: Iterable[Obj]) -> None:
        """Make the deliveries of a new event."""
        for endpoint in endpoints:
            event["pending_webhooks"] += 1
            copies = self.disorder.copies(event["type"], endpoint["id"])
            if not copies:
                self._add(event, endpoint, state="dropped")
            for index, copy in enumerate(copies):
                spoilt = {"api_version": copy.api_version, "wrong_secret": copy.wrong_secret}
                self._add(event, endpoint, wait=copy.wait, counted=index == 0, **spoilt)

    def send_again(self, event: Obj, endpoint: Obj, *, times: int = 1, **values: Any) -> list[Delivery]:
        """Deliver an event on demand, whether or not it has been delivered; ``values`` are a Delivery's."""
        return [self._add(event, endpoint, counted=False, **values) for _ in range(times)]

    def forget_events(self, gone: Iterable[str]) -> None:
        """These events are no more."""
        ids = set(gone)
        for ident in ids:
            self.unheard.pop(ident, None)
        for key in [key for key, delivery in self.log.items() if delivery.event in ids]:
            del self.log[key]
            self._store.touch(SPACE, key)

    def call_off(self, endpoint: Obj) -> None:
        """The endpoint is gone: nothing more is sent to it."""
        for delivery in list(self.log.values()):
            if delivery.endpoint == endpoint["id"] and delivery.state == "pending":
                self._settle(delivery, "failed")
        self._dismiss(endpoint["id"])

    def _add(self, event: Obj, endpoint: Obj, *, wait: float = 0.0, **values: Any) -> Delivery:
        key = str(next(self._count))
        delivery = Delivery(key, event["id"], endpoint["id"], self._clock.now() + wait, **values)
        self.log[key] = delivery
        if delivery.counted:
            self.unheard[event["id"]] = self.unheard.get(event["id"], 0) + 1
        self._store.touch(SPACE, key)
        if delivery.state == "pending":
            self._set_going(delivery, wait)
        return delivery

    def _set_going(self, delivery: Delivery, wait: float) -> None:
        # The workers run in this loop, so they see it only after the commit that is under way.
        if wait <= 0:
            self._send(delivery)
        else:
            self._alarms[delivery.key] = self._clock.call_at(delivery.due, lambda: self._send(delivery))

    def _send(self, delivery: Delivery) -> None:
        """Hand a delivery to the workers of its endpoint; each has its own, so none waits for another's."""
        queue = self._queues.get(delivery.endpoint)
        if queue is None:
            queue = self._queues[delivery.endpoint] = asyncio.Queue()
            if self._sender.opened:
                self._hire(delivery.endpoint, queue)
        queue.put_nowait(delivery.key)

    def _hire(self, endpoint: str, queue: asyncio.Queue[str]) -> None:
        self._workers[endpoint] = [asyncio.create_task(self._work(queue)) for _ in range(self._concurrency)]

    def _dismiss(self, endpoint: str) -> list[asyncio.Task[None]]:
        self._queues.pop(endpoint, None)
        workers = self._workers.pop(endpoint, [])
        for worker in workers:
            worker.cancel()
        return workers

    # What is known of them

    def pending(self) -> int:
        """How many are not yet delivered nor given up."""
        return sum(delivery.state == "pending" for delivery in self.log.values())

    # The workers

    async def start(self) -> None:
        """Start sending, with what a restart brought back first."""
        self._sender.open()
        self.resume()

    def resume(self) -> None:
        """Send what was read back and is still pending."""
        for event in self._store.tables["event"].rows.in_memory():
            self._count_pending_webhooks(event)
        now = self._clock.now()
        for delivery in self.log.values():
            if delivery.state == "pending" and delivery.key not in self._alarms:
                self._set_going(delivery, delivery.due - now)
        for endpoint, queue in self._queues.items():
            if endpoint not in self._workers:
                self._hire(endpoint, queue)

    def _count_pending_webhooks(self, event: Obj) -> None:
        event["pending_webhooks"] = self.unheard.get(event["id"], 0)

    async def stop(self) -> None:
        """Stop sending; what is pending stays pending."""
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        workers = [worker for endpoint in list(self._queues) for worker in self._dismiss(endpoint)]
        await asyncio.gather(*workers, return_exceptions=True)
        await self._sender.close()

    async def _work(self, queue: asyncio.Queue[str]) -> None:
        while True:
            key = await queue.get()
            self._alarms.pop(key, None)
            delivery = self.log.get(key)
            if delivery is not None and delivery.state == "pending":
                await self._attempt(delivery)

    async def _attempt(self, delivery: Delivery) -> None:
        kinds = (self._store.tables[kind].rows.peek(delivery.event) for kind in ("event", TABLE_KIND))
        event = next(filter(None, kinds), None)
        endpoint = next(
            (found for kind in events.ENDPOINTS if (found := self._store.get(kind, delivery.endpoint))), None
        )
        if event is None or endpoint is None:
            self._settle(delivery, "failed")
            return
        at = self._clock.now()
        status, problem = await self._sender.send(
            event, endpoint, wrong_secret=delivery.wrong_secret, api_version=delivery.api_version
        )
        if self.log.get(delivery.key) is not delivery or delivery.state != "pending":
            return  # reset, or its endpoint was deleted, while it was under way
        delivery.attempts.append([at, status, problem])
        if 200 <= status < 300:
            self._settle(delivery, "delivered")
            if delivery.counted:
                self._heard(event)
        elif len(delivery.attempts) > len(self._schedule):
            self._settle(delivery, "failed")
        else:
            wait = self._schedule[len(delivery.attempts) - 1]
            delivery.due = self._clock.now() + wait
            self._store.touch(SPACE, delivery.key)
            self._flush_soon()
            self._set_going(delivery, wait)

    def _heard(self, event: Obj) -> None:
        left = self.unheard.get(event["id"], 1) - 1
        # While it was under way the event may have left memory, and have been read back as another dict.
        shown = self._store.tables[event["object"]].rows.resident(event["id"])
        if shown is not None:
            shown["pending_webhooks"] = left
        if left:
            self.unheard[event["id"]] = left
        else:
            self.unheard.pop(event["id"], None)

    def _settle(self, delivery: Delivery, state: str) -> None:
        delivery.state = state
        self._store.touch(SPACE, delivery.key)
        self._flush_soon()
        self._settled.append(delivery.key)
        while len(self._settled) > _LOG_KEPT:
            self._forget(self._settled.popleft())

    def _forget(self, key: str) -> None:
        delivery = self.log.get(key)
        if delivery is not None and delivery.state == "delivered":  # what failed is kept: it is searched for
            del self.log[key]
            self._store.touch(SPACE, key)

    def _flush_soon(self) -> None:
        # Losing these marks only sends an event twice, so they are written in batches.
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_later(0.05, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        self._store.commit()

    def clear(self) -> None:
        """Forget all."""
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        self.log.clear()
        self.unheard.clear()
        self._settled.clear()
        for endpoint in list(self._queues):
            self._dismiss(endpoint)
        self.disorder.clear()

    def _dump(self, key: str) -> bytes | None:
        delivery = self.log.get(key)
        return None if delivery is None else orjson.dumps(delivery)

    def _load(self, key: str, body: bytes) -> None:
        delivery = Delivery(**orjson.loads(body))
        self.log[key] = delivery
        if delivery.counted and delivery.state != "delivered":
            self.unheard[delivery.event] = self.unheard.get(delivery.event, 0) + 1
        if delivery.state != "pending":
            self._settled.append(key)
        self._count = itertools.count(max(int(key) + 1, next(self._count)))
