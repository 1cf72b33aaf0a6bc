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
from tallystick.sandbox.store import Space, Store

SPACE = "timer"


@dataclass(frozen=True, slots=True)
class Timer:
    """``action`` on the object ``target``, due at ``due`` (seconds since the epoch)."""

    action: str
    target: str
    due: float


class Timers:
    """The timers that have not gone off."""

    def __init__(self, store: Store, clock: Clock, run: Callable[[Timer], None]) -> None:
        self._store = store
        self._clock = clock
        self._run = run
        self._count = itertools.count(1)
        self.pending: dict[str, Timer] = {}
        self._alarms: dict[str, Alarm] = {}
        self._named: dict[tuple[str, str], str] = {}
        store.add_space(SPACE, Space(self._dump, self._load))

    def add(self, action: str, target: str, due: float) -> None:
        """Set a timer; it is undone with the request that set it."""
        key = str(next(self._count))
        self.pending[key] = Timer(action, target, due)
        self._named[(action, target)] = key
        self._store.touch(SPACE, key)
        self._store.on_rollback(lambda: self._drop(key))
        self._alarms[key] = self._clock.call_at(due, lambda: self.fire(key))

    def start(self) -> None:
        """Set the alarms of the timers that a restart brought back."""
        for key, timer in self.pending.items():
            self._alarms[key] = self._clock.call_at(timer.due, lambda key=key: self.fire(key))  # type: ignore[misc]

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
        return timer

    def _bring_back(self, key: str, timer: Timer) -> None:
        self.pending[key] = timer
        self._named[(timer.action, timer.target)] = key
        self._alarms[key] = self._clock.call_at(timer.due, lambda: self.fire(key))

    def _dump(self, key: str) -> bytes | None:
        timer = self.pending.get(key)
        return None if timer is None else orjson.dumps([timer.action, timer.target, timer.due])

    def _load(self, key: str, body: bytes) -> None:
        action, target, due = orjson.loads(body)
        self.pending[key] = Timer(action, target, due)
        self._named[(action, target)] = key
        self._count = itertools.count(max(int(key) + 1, next(self._count)))
