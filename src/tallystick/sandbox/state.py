"""The sandbox itself, wired: one account, its state and its clockwork; and a call to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from tallystick.sandbox import versions
from tallystick.sandbox.api_keys import RestrictedKeys
from tallystick.sandbox.config import SandboxConfig
from tallystick.sandbox.delivery import Deliveries
from tallystick.sandbox.errors import missing
from tallystick.sandbox.events import Events
from tallystick.sandbox.faults import Faults
from tallystick.sandbox.forms import Form
from tallystick.sandbox.idempotency import IdempotencyKeys
from tallystick.sandbox.ids import Ids
from tallystick.sandbox.limits import RateLimit
from tallystick.sandbox.relations import StoredRelations
from tallystick.sandbox.settings import CurrentSettings, Settings
from tallystick.sandbox.spaces import Space
from tallystick.sandbox.store import Obj, Store, TableSpec
from tallystick.sandbox.timers import Timer, Timers

logger = logging.getLogger(__name__)

EVENTS_KEPT_SECONDS = 30 * 24 * 3600


class Sandbox(StoredRelations):
    """One Stripe account in test mode."""

    def __init__(
        self,
        config: SandboxConfig,
        tables: list[TableSpec],
        actions: dict[str, Callable[[Call, str], None]],
        listeners: dict[str, list[Callable[[Call, Obj], None]]] | None = None,
    ) -> None:
        self.config = config
        self.clock = config.clock
        path = None
        if config.data_dir is not None:
            config.data_dir.mkdir(parents=True, exist_ok=True)
            path = config.data_dir / "sandbox.sqlite3"
        self.store = Store(tables, path)
        self.ids = Ids(config.seed, self.clock.now)
        self.account_id = f"acct_1{self.ids.account}{self.ids.account}"
        self._actions = actions
        self.listeners = listeners or {}
        """By event type: what other families do in the same transaction, after the event."""
        self._settings = CurrentSettings(self.store, self._first_settings())
        self.idempotency = IdempotencyKeys(self.store)
        self.timers = Timers(self.store, self.clock, self._run_timer)
        self.faults = Faults(config.seed)
        self.events = Events(self.store, self.ids)
        self.deliveries = Deliveries(
            self.store,
            self.clock,
            self,
            schedule=config.retry_schedule,
            concurrency=config.delivery_concurrency,
            timeout=config.delivery_timeout,
            seed=config.seed,
        )
        self.events.plan = self.deliveries.plan
        self.photographs: dict[str, list[tuple[str, str, bytes]]] = {}
        """The control API's snapshots, by name."""
        self.restricted_keys = RestrictedKeys(self.store)
        self.rate_limit = RateLimit()
        self.store.add_space(
            "ids", Space(lambda _key: orjson.dumps(self.ids.drawn), self._load_ids, lambda: ["drawn"])
        )
        self.store.add_space(
            "clock", Space(lambda _key: orjson.dumps(self.clock.ahead), self._load_clock, lambda: ["ahead"])
        )
        self.store.before_commit += [self._keep_drawn, self._forget_old_events, self._make_room_soon]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room_due = False
        self.balances: dict[str, dict[str, int]] = {}
        """Pending and available minor units by currency, always Σ net of the balance transactions."""
        self.other_balances: dict[str, dict[str, dict[str, int]]] = {}
        """The same of Stripe's other balances, by their type."""

    def _first_settings(self) -> Settings:
        given = {
            "settlement_delay": self.config.settlement_delay,
            "refund_delay": self.config.refund_delay,
        }
        delays = {name: float(delay) for name, delay in given.items() if delay is not None}
        return self.config.settings.changed(delays)

    def _keep_drawn(self) -> None:
        if self.store.dirty:  # reading draws request ids only, and they need no memory
            self.store.touch("ids", "drawn")

    def _forget_old_events(self) -> None:
        events, oldest = self.store.tables["event"], int(self.clock.now()) - EVENTS_KEPT_SECONDS
        if events.order and events.rows[events.order[0]]["created"] < oldest:
            self.deliveries.forget_events(self.store.forget_oldest("event", oldest))

    def _make_room_soon(self) -> None:
        # Not now: this may be a transaction inside another's work, which holds objects. Nothing that does is
        # ever suspended, so in a turn of the loop of its own nobody holds any.
        if self._loop is not None and not self._room_due and self.store.crowded:
            self._room_due = True
            self._loop.call_soon(self._make_room)

    def _make_room(self) -> None:
        self._room_due = False
        self.store.make_room()
        self._make_room_soon()

    def _load_clock(self, _key: str, body: bytes) -> None:
        self.clock.ahead = orjson.loads(body)

    def _load_ids(self, _key: str, body: bytes) -> None:
        self.ids.resume(orjson.loads(body))

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings.now

    def change_settings(self, values: dict[str, Any]) -> None:
        """Replace some settings; raises SettingError."""
        self._settings.change(values)

    # Life

    async def start(self) -> None:
        """Read back the state, and set timers and deliveries going."""
        self._loop = asyncio.get_running_loop()
        self.store.load()
        self._add_up()
        self.timers.start()
        await self.deliveries.start()

    def _add_up(self) -> None:
        for txn in self.store.tables["balance_transaction"].rows.values():
            self.add_to_balance(txn["currency"], txn["status"], txn["net"], txn["balance_type"])

    async def stop(self) -> None:
        """Stop; what is pending goes on after the next start, if the state is kept."""
        await self.deliveries.stop()
        self.store.commit()
        self._loop = None
        self.timers.clear()
        self.store.close()

    def advance(self, seconds: float) -> None:
        """Move the clock on: every timer that falls due runs at its own time, in order."""
        self.clock.advance(seconds)
        self.store.touch("clock", "ahead")

    def photograph(self) -> list[tuple[str, str, bytes]]:
        """The whole state, for ``restore``."""
        return self.store.photograph()

    def restore(self, photograph: list[tuple[str, str, bytes]]) -> None:
        """Be as the sandbox was when the photograph was taken; fault and delivery rules are gone."""
        self.reset()
        self.store.restore(photograph)
        self._add_up()
        self.timers.start()
        self.deliveries.resume()

    def reset(self) -> None:
        """Back to an empty account with its first settings."""
        self.timers.clear()
        self.deliveries.clear()
        self.idempotency.clear()
        self.faults.remove()
        self.restricted_keys.clear()
        self.balances.clear()
        self.other_balances.clear()
        self.clock.ahead = 0.0
        self.ids.resume(0)
        self._settings.now = self._first_settings()
        self.store.clear()

    # Work

    def call(self, **values: Any) -> Call:
        """A call outside any request: a timer's, or the control API's."""
        return Call(sandbox=self, now=int(self.clock.now()), **values)

    def _run_timer(self, timer: Timer) -> None:
        try:
            call = self.call()
            if timer.clock:  # what belongs to a test clock happens at its own time
                call.now, call.clock = int(timer.due), timer.clock
            self._actions[timer.action](call, timer.target)
        except Exception:
            self.store.rollback()
            logger.exception("The timer %s of %s failed and is given up.", timer.action, timer.target)
        self.store.commit()

    def add_to_balance(self, currency: str, status: str, amount: int, balance_type: str) -> None:
        """Move a balance by ``amount`` minor units; ``status`` is pending or available."""
        payments = balance_type == "payments"
        balances = self.balances if payments else self.other_balances.setdefault(balance_type, {})
        balances.setdefault(currency, {"pending": 0, "available": 0})[status] += amount


@dataclass(slots=True)
class Call:
    """One call: who asks, in which version, at what time, with which parameters."""

    sandbox: Sandbox
    now: int
    params: Form = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    """The ids in the path, in order."""
    asked: Form = field(default_factory=dict)
    """The parameters as they were sent."""
    version: str = ""
    versioned: bool = False
    """Whether the caller named the version; parameters of old are let pass where none was named."""
    request_id: str | None = None
    idempotency_key: str | None = None
    base_url: str = ""
    clock: str = ""
    """The test clock in whose time ``now`` is; "" is the sandbox's own."""
    quiet: bool = False
    """Emits no events: inside ``Store.tentative``, where nothing really happens."""

    def __post_init__(self) -> None:
        self.version = self.version or self.sandbox.settings.api_version

    @property
    def store(self) -> Store:
        """The state."""
        return self.sandbox.store

    def since(self, start: str) -> bool:
        """Whether the caller's version is ``start`` or later."""
        return versions.since(self.version, start)

    def find(self, kind: str, ident: str | None = None, *, param: str | None = None) -> Obj:
        """An object by id (default: the one in the path); raises ``resource_missing`` (404 or 400)."""
        wanted = self.ids[0] if ident is None else ident
        obj = self.store.get(kind, wanted)
        if obj is None:
            in_path = "intent" if kind in ("payment_intent", "setup_intent") else "id"
            noun = self.store.tables[kind].spec.noun
            name = param or (in_path if ident is None else kind)
            raise missing(noun, wanted, name, named=wanted in self.ids)
        return obj

    def emit(self, kind: str, obj: Obj, previous: Obj | None = None, *, account: str | None = None) -> None:
        """Record an event; ``previous`` is what ``Store.change`` returned. Events are made in real time.

        ``account`` is the connected account that it happened in, if it was not this one.
        """
        if not self.quiet:
            self.sandbox.events.emit(
                kind,
                obj,
                previous,
                version=self.sandbox.settings.api_version,
                now=int(self.sandbox.clock.now()) if self.clock else self.now,
                request_id=self.request_id,
                idempotency_key=self.idempotency_key,
                account=account,
            )
        for hear in self.sandbox.listeners.get(kind, ()):
            hear(self, obj)

    def after(self, seconds: float, action: str, target: str) -> None:
        """Have ``action`` run on ``target`` later, in the time in which the call lives."""
        start = self.now if self.clock else self.sandbox.clock.now()
        self.sandbox.timers.add(action, target, start + seconds, self.clock)

    def at(self, due: float, action: str, target: str) -> None:
        """Have ``action`` run on ``target`` at ``due``, in the time in which the call lives."""
        self.sandbox.timers.add(action, target, due, self.clock)

    def living_in(self, clock: str | None) -> Call:
        """This call in the frozen time of a test clock (an object's ``test_clock``); itself when None."""
        if clock is None or clock == self.clock:
            return self
        found = self.find("test_helpers.test_clock", clock, param="test_clock")
        return replace(self, now=found["frozen_time"], clock=clock)

    def in_real_time(self) -> Call:
        """This call in the sandbox's own time: payments ignore test clocks, as Stripe's do."""
        return replace(self, now=int(self.sandbox.clock.now()), clock="") if self.clock else self
