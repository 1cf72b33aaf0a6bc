"""Deliveries that misbehave on demand: dropped, doubled, late and out of order, by rule and by seed."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tallystick.sandbox.versions import dated


class DisorderError(ValueError):
    """A rule that makes no sense."""


@dataclass(slots=True)
class Rule:
    """What happens to the deliveries that it is about: those of events whose type matches one of ``types``
    (shell patterns), to ``endpoint`` (None: to any), a ``share`` of them, ``count`` of them at most.

    They are dropped (all, or a ``drop_share``), sent ``duplicates`` times more, ``delay_seconds`` late and
    within ``shuffle_seconds`` in any order. ``api_version`` renders them in another version than the
    endpoint's, ``wrong_secret`` signs them with a secret that is not the endpoint's.
    """

    types: list[str] = field(default_factory=lambda: ["*"])
    endpoint: str | None = None
    share: float = 1.0
    count: int | None = None
    drop: bool = False
    drop_share: float = 0.0
    duplicates: int = 0
    delay_seconds: float = 0.0
    shuffle_seconds: float = 0.0
    api_version: str | None = None
    wrong_secret: bool = False
    struck: int = 0

    def about(self, kind: str, endpoint: str) -> bool:
        """Whether the rule is about such a delivery."""
        return (
            self.count != 0
            and self.endpoint in (None, endpoint)
            and any(fnmatch.fnmatchcase(kind, pattern) for pattern in self.types)
        )


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a delivery: seconds to wait, and how it is spoilt."""

    wait: float = 0.0
    api_version: str | None = None
    wrong_secret: bool = False


_AS_IT_SHOULD_BE = (Copy(),)


class Disorder:
    """The rules in force; the first that is about a delivery, and that the dice let strike, is obeyed."""

    def __init__(self, seed: int | None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable disorder, no secret
        self._rules: list[Rule] = []

    def set(self, values: Mapping[str, Any]) -> None:
        """Replace the rules by ``{"rules": […], "seed": …}`` or by a single one; raises DisorderError."""
        given = dict(values)
        seed = given.pop("seed", None)
        rules = given.pop("rules", [given] if given else [])
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise DisorderError("rules must be a list of objects.")
        self._rules = [_rule(rule) for rule in rules]
        if seed is not None:
            self._random = random.Random(seed)  # noqa: S311

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"rules": [asdict(rule) for rule in self._rules]}

    def clear(self) -> None:
        """Deliver as it should be."""
        self._rules = []

    def copies(self, kind: str, endpoint: str) -> tuple[Copy, ...]:
        """The copies of a delivery that are made; none when it is dropped."""
        for rule in self._rules:
            if not rule.about(kind, endpoint) or (rule.share < 1 and self._random.random() >= rule.share):
                continue
            if rule.count is not None:
                rule.count -= 1
            rule.struck += 1
            if rule.drop or (rule.drop_share and self._random.random() < rule.drop_share):
                return ()
            return tuple(self._copy(rule) for _ in range(1 + rule.duplicates))
        return _AS_IT_SHOULD_BE

    def _copy(self, rule: Rule) -> Copy:
        spread = self._random.random() * rule.shuffle_seconds if rule.shuffle_seconds else 0.0
        return Copy(rule.delay_seconds + spread, rule.api_version, rule.wrong_secret)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "types": list, "endpoint": str, "share": (int, float), "count": int, "drop": bool,
    "drop_share": (int, float), "duplicates": int, "delay_seconds": (int, float),
    "shuffle_seconds": (int, float), "api_version": str, "wrong_secret": bool,
}  # fmt: skip


def _rule(values: Mapping[str, Any]) -> Rule:
    known = {item.name for item in fields(Rule)} - {"struck"}
    for name, value in values.items():
        if name not in known:
            raise DisorderError(f"Unknown field in the policy: {name}. Known: {', '.join(sorted(known))}.")
        empty = value is None and name in ("endpoint", "count", "api_version")
        if not empty and (
            not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and _KINDS[name] is not bool)
        ):
            raise DisorderError(f"{name} cannot be {value!r}.")
        if isinstance(value, (int, float)) and value < 0:
            raise DisorderError(f"{name} cannot be negative.")
        if name in ("share", "drop_share") and value > 1:
            raise DisorderError(f"{name} is a part of the cases, from 0 to 1.")
        if name == "api_version" and value is not None and not dated(value):
            raise DisorderError(f"{value} is not an API version.")
    return Rule(**values)
