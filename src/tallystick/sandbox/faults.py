"""Faults on demand: what a network and a provider do on a bad day, by rule and by seed."""

from __future__ import annotations

import fnmatch
import itertools
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tallystick.sandbox.errors import StripeError

ACTIONS: Final = ("status", "timeout", "cut", "delay")


class FaultError(ValueError):
    """A rule that makes no sense."""


@dataclass(slots=True)
class Fault:
    """One rule. ``method`` and ``path`` are shell patterns.

    ``status`` answers ``status`` (``code`` for a 429 or 409, e.g. lock_timeout); ``timeout`` lets the
    caller wait ``seconds``, then cuts; ``cut`` ends the connection without an answer; ``delay`` waits
    ``seconds`` and goes on. ``when`` is ``before`` the work or ``after`` it (the work is done and only the
    answer is lost). ``stored`` keeps an answered status under the idempotency key, so that a retry replays
    it. ``count`` is how often the rule still strikes (None: always), ``share`` in which part of the cases.
    ``should_retry`` is sent as Stripe-Should-Retry.
    """

    id: str
    action: str
    method: str = "*"
    path: str = "*"
    status: int = 500
    code: str | None = None
    when: str = "before"
    stored: bool = False
    seconds: float = 80.0
    count: int | None = 1
    share: float = 1.0
    should_retry: bool | None = None
    struck: int = 0

    def error(self) -> StripeError:
        """The error that a ``status`` rule answers."""
        message, kind, code = _SAID.get(self.status, _SAID[500])
        code = self.code or code
        if code == "lock_timeout":
            message, kind = _LOCKED, "invalid_request_error"
        return StripeError(self.status, message, kind=kind, code=code, stored=self.stored)


_LOCKED: Final = (
    "This object cannot be accessed right now because another API request or Stripe process is currently"
    " accessing it. If you see this error intermittently, retry the request. If you see this error"
    " frequently and are making multiple concurrent requests to a single object, make your requests serially"
    " or at a lower rate."
)
_LIMITED: Final = (
    "Request rate limit exceeded. You can learn more about rate limits here"
    " https://stripe.com/docs/rate-limits."
)
_BROKEN: Final = (
    "An unknown error occurred. Sorry about that! Please try again, and let us know at"
    " https://support.stripe.com/ if this keeps happening."
)
_SAID: Final[dict[int, tuple[str, str, str | None]]] = {
    409: (
        "There is currently another in-progress request using this Idempotency Key.",
        "idempotency_error",
        "idempotency_key_in_use",
    ),
    429: (
        _LIMITED,
        "invalid_request_error",
        "rate_limit",
    ),
    500: (
        _BROKEN,
        "api_error",
        None,
    ),
}


def _check(rule: Fault) -> None:
    numbers = isinstance(rule.seconds, (int, float)) and isinstance(rule.share, (int, float))
    if not numbers or rule.seconds < 0 or not 0 <= rule.share <= 1:
        raise FaultError("seconds must be a number of at least 0, share one from 0 to 1.")
    if rule.count is not None and (not isinstance(rule.count, int) or rule.count < 0):
        raise FaultError("count must be a whole number of at least 0, or null.")
    if not isinstance(rule.status, int) or not 400 <= rule.status <= 599:
        raise FaultError("status must be a number from 400 to 599.")
    if not isinstance(rule.method, str) or not isinstance(rule.path, str):
        raise FaultError("method and path must be shell patterns.")


class Faults:
    """The rules in force, in the order they were made; the first that strikes wins."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - repeatable faults, no secret
        self._count = itertools.count(1)
        self.rules: list[Fault] = []

    def add(self, values: Mapping[str, Any]) -> Fault:
        """Make a rule from JSON; ``seed`` restarts the dice. Raises FaultError."""
        given = dict(values)
        seed = given.pop("seed", None)
        if given.get("action") not in ACTIONS or given.get("when", "before") not in ("before", "after"):
            raise FaultError(f"action must be one of {', '.join(ACTIONS)}; when is before or after.")
        try:
            rule = Fault(id=f"fault_{next(self._count)}", **given)
        except TypeError as error:
            raise FaultError(f"Unknown field in a rule: {error}") from error
        _check(rule)
        if seed is not None:
            self._random = random.Random(seed)  # noqa: S311
        self.rules.append(rule)
        return rule

    def strike(self, method: str, path: str) -> Fault | None:
        """The rule that strikes this request, used up by one; None is a good day."""
        for rule in self.rules:
            if rule.count == 0 or not fnmatch.fnmatchcase(method, rule.method):
                continue
            if not fnmatch.fnmatchcase(path, rule.path):
                continue
            if rule.share < 1 and self._random.random() >= rule.share:
                continue
            if rule.count is not None:
                rule.count -= 1
            rule.struck += 1
            return rule
        return None

    def remove(self, ident: str | None = None) -> int:
        """Remove one rule, or all; says how many."""
        before = len(self.rules)
        self.rules = [] if ident is None else [rule for rule in self.rules if rule.id != ident]
        return before - len(self.rules)

    def shown(self) -> list[dict[str, Any]]:
        """As JSON."""
        return [asdict(rule) for rule in self.rules]
