"""Records by key, of which only the lately used are in memory; the others are read from the file on demand.

Nothing may hold on to a record while others leave memory: see ``Store.make_room``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from typing import Final, Generic, TypeVar

V = TypeVar("V")

KEPT: Final = 8_192
"""How many records of one sort stay in memory."""


class Records(MutableMapping[str, V], Generic[V]):
    """A dict in order of insertion; ``read`` fetches a record that is not in memory."""

    def __init__(self, read: Callable[[str], V]) -> None:
        self._read = read
        self._all: dict[str, V | None] = {}
        """None: in the file only."""
        self._resident: deque[str] = deque()
        """Keys of what is in memory, the longest there first; also some that have left it since."""

    def __getitem__(self, key: str) -> V:
        value = self._all[key]
        if value is None:
            value = self._all[key] = self._read(key)
            self._resident.append(key)
        return value

    def __setitem__(self, key: str, value: V) -> None:
        self._all[key] = value
        self._resident.append(key)

    def __delitem__(self, key: str) -> None:
        del self._all[key]

    def __contains__(self, key: object) -> bool:
        return key in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def know(self, key: str) -> None:
        """Add a record that is in the file."""
        self._all[key] = None

    def peek(self, key: str) -> V | None:
        """The record to look at, None where there is none; never to change, for it may be a copy."""
        if key not in self._all:
            return None
        value = self._all[key]
        return self._read(key) if value is None else value

    def resident(self, key: str) -> V | None:
        """The record if it is in memory."""
        return self._all.get(key)

    def in_memory(self) -> list[V]:
        """The records that are in memory, in order."""
        return [value for value in self._all.values() if value is not None]

    @property
    def crowded(self) -> bool:
        """Whether more are in memory than need be."""
        return len(self._resident) > KEPT

    def leaving(self, count: int) -> Iterator[str]:
        """The keys of ``count`` records that may leave memory, the longest there first."""
        for _ in range(min(count, len(self._resident) - KEPT)):
            key = self._resident.popleft()
            if self._all.get(key) is not None:
                yield key

    def leave(self, key: str) -> None:
        """Have a record in the file only."""
        self._all[key] = None

    def clear(self) -> None:
        """Forget all."""
        self._all.clear()
        self._resident.clear()
