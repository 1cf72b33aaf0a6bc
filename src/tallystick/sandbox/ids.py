"""Ids that look like Stripe's: ``pi_3`` + time + account + random, in base 62.

The first 16 characters after the underscore (the stem) start with the time, and all objects of one payment
share them, so they lie together in a b-tree. Under a seed the time is a counter, and the same calls in the
same order give the same ids.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
STEM: Final = 16
_EPOCH_MS: Final = 1_577_836_800_000  # 2020-01-01: seven base-62 digits of milliseconds last until 2131
_SEEDED_MS: Final = 189_302_400_000  # a seeded clock begins in 2026


def base62(number: int, width: int) -> str:
    """``number`` in base 62, left-padded with zeros to ``width``; sorts as the number does."""
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))


def stem_of(ident: str) -> str:
    """The part of an id that all objects of one payment share."""
    return ident.rpartition("_")[2][:STEM]


class Ids:
    """Draws ids. ``now`` gives the time in seconds; ``drawn`` counts stems, and survives a restart."""

    def __init__(self, seed: int | None, now: Callable[[], float]) -> None:
        self._seed = seed
        self._now = now
        self.drawn = 0
        self.random = random.Random()  # noqa: S311 - ids of test objects
        self.resume(0)
        self.account = "".join(random.Random(f"account:{seed}").choices(ALPHABET, k=8))  # noqa: S311

    def resume(self, drawn: int) -> None:
        """Go on where an earlier run of the same seed was, so that nothing is drawn twice; 0 starts over."""
        self.drawn = drawn
        if self._seed is not None:
            self.random = random.Random(f"{self._seed}:{drawn}")  # noqa: S311 - test ids

    def new(self, prefix: str, *, of: str | None = None) -> str:
        """A new id. ``of``: the id of an object of the same payment, whose stem it shares."""
        return f"{prefix}_{self._stem('1') if of is None else stem_of(of)}{self.chars(8)}"

    def new_payment(self, prefix: str) -> str:
        """A new id with a stem of its own that begins with 3, as a payment's objects have."""
        return f"{prefix}_{self._stem('3')}{self.chars(8)}"

    def short(self, prefix: str) -> str:
        """A new 14-character id, as customers and requests have."""
        return f"{prefix}_{self._time()}{self.chars(7)}"

    def chars(self, length: int) -> str:
        """``length`` random base-62 characters."""
        return "".join(self.random.choices(ALPHABET, k=length))

    def _stem(self, digit: str) -> str:
        return f"{digit}{self._time()}{self.account}"

    def _time(self) -> str:
        self.drawn += 1
        if self._seed is not None:
            return base62(_SEEDED_MS + self.drawn, 7)
        return base62(max(0, int(self._now() * 1000) - _EPOCH_MS), 7)
