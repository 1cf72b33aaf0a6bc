"""Parameters that Stripe takes and the sandbox does not do: refused by name, never passed over."""

from __future__ import annotations

from typing import Any, NoReturn

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import Check


def unsupported(why: str) -> Check:
    """A check that refuses whatever is sent, with a reason of its own (400)."""

    def check(_value: Any, name: str) -> NoReturn:
        raise invalid(f"The sandbox does not take `{name}`: {why}.", param=name)

    return check
