"""Which parameters Stripe's API has, by its OpenAPI spec: to tell a wrong name from one that is not simulated.

``known_parameters.json.gz`` maps ``POST /v1/charges`` to a tree of names, ``*`` for any. It is made from the spec by
``python -m tests.integration.sandbox.parameters``, and a test holds it against the spec.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from typing import Any, Final

import orjson

from tallystick.sandbox.errors import StripeError, invalid

FILE: Final = "known_parameters.json.gz"


@cache
def _trees() -> dict[str, Any]:
    packed = resources.files("tallystick.sandbox").joinpath(FILE).read_bytes()
    trees: dict[str, Any] = orjson.loads(gzip.decompress(packed))
    return trees


def known(method: str, path: str, name: str) -> bool:
    """Whether Stripe takes ``name`` (in brackets: ``card[token]``) in the call of a route's path."""
    tree = _trees().get(f"{method} {path}")
    for part in name.replace("]", "").split("["):
        if part.isdecimal():
            continue
        if not isinstance(tree, dict) or (part not in tree and "*" not in tree):
            return False
        tree = tree[part] if part in tree else tree["*"]
    return True


def told_apart(error: StripeError, method: str, path: str) -> StripeError:
    """``parameter_unknown`` as it is, or 400 ``parameter_not_simulated`` where Stripe has the parameter."""
    name = error.body.get("param", "")
    if error.body.get("code") != "parameter_unknown" or not known(method, path, name):
        return error
    return invalid(
        f"The sandbox does not simulate the parameter {name} of this call, which Stripe takes; it is refused"
        " rather than passed over.",
        param=name,
        code="parameter_not_simulated",
    )
