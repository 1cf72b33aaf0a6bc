"""Routes: method and path to a handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.params import Params
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

Handler = Callable[[Call], Obj]


@dataclass(frozen=True, slots=True)
class Route:
    """``{}`` in ``path`` stands for an id. ``params`` is what the call takes besides ``expand``."""

    method: str
    path: str
    handler: Handler
    params: Params = Params({})  # noqa: RUF009 - an empty table of parameters, never changed
    call: str = ""
    """``POST /v1/charges``: its name in Stripe's spec."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "call", f"{self.method} {self.path}")


class Router:
    """Finds routes by walking the path's segments."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._tree: dict[str, Any] = {}
        for route in routes:
            here = self._tree
            for part in route.path.strip("/").split("/"):
                here = here.setdefault(part, {})
            if route.method in here.setdefault("", {}):
                raise ValueError(f"{route.method} {route.path} is routed twice.")
            here[""][route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route and the ids in the path; a fixed segment wins over an id. Raises StripeError (404)."""
        here: dict[str, Any] = self._tree
        ids = []
        for part in path.strip("/").split("/"):
            below = here.get(part) if part else None
            if below is None:
                below = here.get("{}")
                if below is None or not part:
                    raise _unrecognized(method, path)
                ids.append(part)
            here = below
        route = here.get("", {}).get(method)
        if route is None:
            raise _unrecognized(method, path)
        return route, tuple(ids)


def _unrecognized(method: str, path: str) -> StripeError:
    return StripeError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at"
        " https://support.stripe.com/.",
    )
