"""What happens later (settlement, a refund's end, the release of funds), and survives a restart.

A timer names an action and its arguments. Actions are registered by the families; each runs in a
transaction of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from tallystick.sandbox.clock import Alarm, Clock
from tallystick.sandbox.spaces import Space
from tallystick.sandbox.store import Store

SPACE = "timer"


@dataclass(frozen=True, slots=True)
class Timer:
    """``action`` on the object ``target``, due at ``due`` (seconds since the epoch).

    ``clock`` names the test clock in whose time it is due; "" is the sandbox's own clock.
    """

    action: str
    target: str
    due: float
    clock: str = ""


class Timers:
    """The timers that have not gone off."""

    def __init__(self, store: Store, clock: Clock, run: Callable[[Timer], None]) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._count = itertools.count(1)
        self.pending: dict[str, Timer] = {}
        self._alarms: dict[str, Alarm] = {}
        self._of_clock: dict[str, dict[str, None]] = {}
        """The keys of each test clock's timers, so that nobody has to look through all."""
        self._named: dict[tuple[str, str], str] = {}
        store.add_space(SPACE, Space(self._dump, self._load, lambda: list(self.pending)))

    def add(self, action: str, target: str, due: float, clock: str = "") -> None:
        """Set a timer; it is undone with the request that set it. A test clock's waits for ``next_of``."""
        key = str(next(self._count))
        self._keep(key, Timer(action, target, due, clock))
        self._store.touch(SPACE, key)
        self._store.on_rollback(lambda: self._drop(key))
        self._ring(key)

    def start(self) -> None:
        """Set the alarms of the timers that a restart brought back."""
        for key in self.pending:
            self._ring(key)

    def next_of(self, clock: str, until: float) -> str | None:
        """The key of a test clock's earliest timer that is due by ``until``; of a tie, the one set first."""
        due = [(self.pending[key].due, int(key)) for key in self._of_clock.get(clock, ())]
        first = min(due, default=None)
        return str(first[1]) if first is not None and first[0] <= until else None

    def drop_of(self, clock: str) -> None:
        """Call off all timers of a test clock that goes away."""
        for timer in [self.pending[key] for key in self._of_clock.get(clock, ())]:
            self.take(timer.action, timer.target)

    def _keep(self, key: str, timer: Timer) -> None:
        self.pending[key] = timer
        self._named[(timer.action, timer.target)] = key
        if timer.clock:
            self._of_clock.setdefault(timer.clock, {})[key] = None

    def _ring(self, key: str) -> None:
        timer = self.pending[key]
        if not timer.clock:
            self._alarms[key] = self._clock.call_at(timer.due, lambda: self.fire(key))

    def fire(self, key: str) -> None:
        """Run a timer now; nothing happens when it has already gone off."""
        timer = self._drop(key)
        if timer is not None:
            self._store.touch(SPACE, key)
            self._run(timer)

    def take(self, action: str, target: str) -> bool:
        """Call off such a timer, for a caller that does its work at once; False when none is pending."""
        key = self._named.get((action, target))
        if key is None:
            return False
        timer = self.pending[key]
        self._drop(key)
        self._store.touch(SPACE, key)
        self._store.on_rollback(lambda: self._bring_back(key, timer))
        return True

    def fire_all(self, actions: Mapping[str, object] | set[str]) -> int:
        """Run all pending timers of ``actions`` now, in order of their time; says how many."""
        due = sorted((timer.due, int(key)) for key, timer in self.pending.items() if timer.action in actions)
        for _, key in due:
            self.fire(str(key))
        return len(due)

    def has(self, action: str, target: str) -> bool:
        """Whether such a timer is pending."""
        return (action, target) in self._named

    def clear(self) -> None:
        """Call all off."""
        for key in list(self.pending):
            self._drop(key)

    def _drop(self, key: str) -> Timer | None:
        alarm = self._alarms.pop(key, None)
        if alarm is not None:
            alarm.cancel()
        timer = self.pending.pop(key, None)
        if timer is not None and self._named.get((timer.action, timer.target)) == key:
            del self._named[(timer.action, timer.target)]
        if timer is not None and timer.clock:
            of_clock = self._of_clock[timer.clock]
            del of_clock[key]
            if not of_clock:
                del self._of_clock[timer.clock]
        return timer

    def _bring_back(self, key: str, timer: Timer) -> None:
        self._keep(key, timer)
        self._ring(key)

    def _dump(self, key: str) -> bytes | None:
        timer = self.pending.get(key)
        return None if timer is None else orjson.dumps([timer.action, timer.target, timer.due, timer.clock])

    def _load(self, key: str, body: bytes) -> None:
        action, target, due, *clock = orjson.loads(body)
        self._keep(key, Timer(action, target, due, *clock))
        self._count = itertools.count(max(int(key) + 1, next(self._count)))
