"""``expand[]``: ids replaced by the objects they name, along a path, without touching the stored ones."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.expansions import EXPANDABLE, IN_HASHES, INCLUDABLE, KIND_BY_FIELD, KIND_BY_PREFIX
from tallystick.sandbox.state import Sandbox
from tallystick.sandbox.store import Obj

MAX_DEPTH: Final = 4


def expand(sandbox: Sandbox, obj: Obj, paths: list[str]) -> Obj:
    """``obj`` with every path expanded; raises StripeError (400) for what cannot be."""
    for path in paths:
        steps = path.split(".")
        if len(steps) - steps.count("data") > MAX_DEPTH:
            raise invalid(
                f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}",
                param="expand",
            )
        obj = _along(sandbox, obj, steps, path)
    return obj


def _along(sandbox: Sandbox, obj: Obj, steps: list[str], path: str) -> Obj:
    name, rest = steps[0], steps[1:]
    if obj.get("object") in ("list", "search_result") and name == "data":
        items = [_along(sandbox, item, rest, path) for item in obj["data"]] if rest else obj["data"]
        return {**obj, "data": items}
    value = _value(sandbox, obj, name, path)
    if value is None and name not in obj:
        return obj  # nothing to include
    if isinstance(value, dict) and rest:
        value = _along(sandbox, value, rest, path)
    elif isinstance(value, list) and rest:
        value = [_along(sandbox, item, rest, path) if isinstance(item, dict) else item for item in value]
    return {**obj, name: value}


def _value(sandbox: Sandbox, obj: Obj, name: str, path: str) -> Any:
    """What ``name`` expands to; an object that is expanded already stays as it is."""
    kind = obj.get("object", "invoice_settings" if "rendering_options" in obj else "")
    value = obj.get(name)
    include = INCLUDABLE.get(kind, {}).get(name)
    if include is not None:
        return value if isinstance(value, dict) else include(sandbox, obj)
    if name in EXPANDABLE.get(kind, ()) or (not kind and name in IN_HASHES):
        if isinstance(value, list):
            return [_object(sandbox, item, name) if isinstance(item, str) else item for item in value]
        return _object(sandbox, value, name) if isinstance(value, str) else value
    if isinstance(value, (dict, list)) and "." in path:
        return value
    if obj.get("deleted"):
        return value
    raise invalid(f"This property cannot be expanded ({path}).", param="expand")


def _object(sandbox: Sandbox, ident: str, name: str) -> Obj | str:
    kind = KIND_BY_FIELD.get(name) or KIND_BY_PREFIX.get(ident.partition("_")[0])
    if kind is None or kind not in sandbox.store.tables:
        return ident
    return sandbox.store.get(kind, ident) or sandbox.store.gone(kind, ident) or ident
