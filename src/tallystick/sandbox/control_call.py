"""A call to the control API, as its handlers get it. A family adds its own as ``CONTROLS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.state import Call, Sandbox
from tallystick.sandbox.store import Obj


@dataclass(frozen=True, slots=True)
class Control:
    """A control call: the ids in the path, the JSON body, the query."""

    sandbox: Sandbox
    body: Mapping[str, Any]
    ids: tuple[str, ...] = ()
    base_url: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    def call(self) -> Call:
        """A call to the sandbox, outside any request of the API."""
        return self.sandbox.call(ids=self.ids, base_url=self.base_url)

    def number(self, name: str, default: float | None = None) -> float:
        """A number in the body that is not negative; raises StripeError (400)."""
        value = self.body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise StripeError(400, f"{name} must be a number that is not negative.")
        return value

    def choice(self, name: str, *choices: str) -> str:
        """One of a few words in the body, the first of them by default; raises StripeError (400)."""
        value = self.body.get(name, choices[0])
        if value not in choices:
            raise StripeError(400, f"{name} must be one of {', '.join(choices)}.")
        return str(value)


Handler = Callable[[Control], Obj]
Controls = Mapping[tuple[str, ...], Handler]
"""Handlers by method and path after ``/_control``; ``{}`` stands for an id."""
