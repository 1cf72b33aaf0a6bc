"""How a field is read from an object of Stripe's, whatever its shape. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tallystick.errors import PayloadError

JsonObject = Mapping[str, Any]
"""An object as Stripe's JSON has it."""


def reference(value: Any) -> str | None:
    """The id behind a reference, which Stripe sends as a string or, expanded, as the whole object."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, Mapping):
        found = value.get("id")
        return found if isinstance(found, str) else None
    return None


def text_field(obj: JsonObject, key: str) -> str:
    """A text that must be there and not empty; raises PayloadError."""
    value = obj.get(key)
    if not isinstance(value, str) or not value:
        raise PayloadError(f"{obj.get('object', 'object')}.{key} is missing or no text.", param=key)
    return value


def int_field(obj: JsonObject, key: str, default: int | None = None) -> int:
    """An integer that must be there, unless there is a default; raises PayloadError."""
    value = obj.get(key, default)
    if value is None:
        value = default
    if type(value) is not int:
        raise PayloadError(f"{obj.get('object', 'object')}.{key} is missing or no integer.", param=key)
    return value


def optional_text_field(obj: JsonObject, key: str) -> str | None:
    """A text, None where there is none."""
    value = obj.get(key)
    return storable(value) if isinstance(value, str) else None


def storable(value: str) -> str:
    """PostgreSQL's text cannot hold NUL. It is in free text only, which must not hold up money."""
    return value.replace("\0", "\ufffd")


def rate(value: Any) -> Decimal | None:
    """A rate, which Stripe sends as a JSON number: its digits count, not its binary value."""
    return Decimal(str(value)) if isinstance(value, int | float) and value > 0 else None


def metadata_of(obj: JsonObject) -> dict[str, str]:
    """The metadata, with every name and value as text."""
    value = obj.get("metadata")
    if not isinstance(value, Mapping):
        return {}
    return {storable(str(name)): storable(str(text)) for name, text in value.items()}


def as_mapping(value: Any) -> JsonObject:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def last_error_of(value: Any) -> dict[str, str] | None:
    """What a PaymentIntent or SetupIntent says of the attempt that failed."""
    if not isinstance(value, Mapping):
        return None
    fields = ("type", "code", "decline_code", "advice_code", "message", "param")
    return {name: storable(str(value[name])) for name in fields if value.get(name)}


def rows_of(answer: JsonObject | None) -> tuple[JsonObject, ...]:
    """The objects of a list, also of one inside another object; none where there is no list."""
    data = as_mapping(answer).get("data")
    return tuple(row for row in data if isinstance(row, Mapping)) if isinstance(data, list) else ()
