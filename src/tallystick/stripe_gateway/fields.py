"""How a field is read from an object of Stripe's, whatever its shape. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tallystick.errors import PayloadError

LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, in Unix seconds."""
_LARGEST: Final = 2**53 - 1
"""No amount is larger, and sums of many still fit PostgreSQL's bigint."""
_MOST: Final = 2**31 - 1
_LONGEST_ID: Final = 255
_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,18}")
_RATE: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
_CURRENCY: Final = re.compile(r"[A-Za-z]{3,8}")

JsonObject = Mapping[str, Any]
"""An object as Stripe's JSON has it."""


def reference(value: Any) -> str | None:
    """The id behind a reference, which Stripe sends as a string or, expanded, as the whole object."""
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) and _is_id(found) else None


def whole(value: Any, *fields: str) -> JsonObject | None:
    """An object that was sent along, None where it is not there or only named: it lacks one of ``fields``."""
    if not isinstance(value, Mapping) or any(value.get(name) is None for name in fields):
        return None
    return value


def all_whole(value: Any, *fields: str) -> tuple[JsonObject, ...] | None:
    """The objects of a list, bare or under ``data``; None where it is not there or one is not whole."""
    items = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(items, list):
        return None
    found = tuple(whole(item, *fields) for item in items)
    return None if None in found else tuple(item for item in found if item is not None)


def filled(obj: JsonObject, **missing: Any) -> JsonObject:
    """The object with these values where it has none."""
    lacking = {name: value for name, value in missing.items() if obj.get(name) is None}
    return {**obj, **lacking} if lacking else obj


def text_field(obj: JsonObject, key: str) -> str:
    """A short text, such as an id, that must be there; raises PayloadError."""
    value = obj.get(key)
    if not isinstance(value, str) or not _is_id(value):
        raise _unreadable(obj, key, "no text")
    return value


def currency_field(obj: JsonObject, key: str = "currency") -> str:
    """A currency, in lower case; raises PayloadError."""
    value = obj.get(key)
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise _unreadable(obj, key, "no currency")
    return value.lower()


def int_field(obj: JsonObject, key: str, default: int | None = None) -> int:
    """An integer that must be there, unless there is a default; raises PayloadError."""
    value = obj.get(key)
    found = default if value is None else integer(value)
    if found is None or abs(found) > _LARGEST:
        raise _unreadable(obj, key, "no integer")
    return found


def optional_int_field(obj: JsonObject, key: str) -> int | None:
    """An integer, None where there is none or it is larger than any amount."""
    found = integer(obj.get(key))
    return found if found is not None and abs(found) <= _LARGEST else None


def amount_field(obj: JsonObject, key: str, default: int | None = None) -> int:
    """An amount that is never negative, as ``int_field``."""
    found = int_field(obj, key, default)
    if found < 0:
        raise _unreadable(obj, key, "negative")
    return found


def count_field(obj: JsonObject, key: str) -> int:
    """How often something happened; 0 where that cannot be read."""
    found = integer(obj.get(key))
    return found if found is not None and 0 <= found <= _MOST else 0


def time_field(obj: JsonObject, key: str) -> int:
    """A time in Unix seconds that must be there; raises PayloadError."""
    found = optional_time_field(obj, key)
    if found is None:
        raise _unreadable(obj, key, "no time in Unix seconds")
    return found


def optional_time_field(obj: JsonObject, key: str) -> int | None:
    """A time in Unix seconds, None where there is none."""
    found = integer(obj.get(key))
    return found if found is not None and 0 <= found <= LAST_SECOND else None


def integer(value: Any) -> int | None:
    """An integer, also where it was written as text or with a fraction of nothing; None for what is none."""
    if type(value) is int:
        return value
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def optional_text_field(obj: JsonObject, key: str) -> str | None:
    """A text, None where there is none."""
    value = obj.get(key)
    return storable(value) if isinstance(value, str) else None


def storable(value: str) -> str:
    """PostgreSQL's text cannot hold NUL. It is in free text only, which must not hold up money."""
    return value.replace("\0", "\ufffd")


def storable_json(value: Any, depth: int = 32) -> Any:
    """JSON that PostgreSQL can hold; what is nested deeper than anything of Stripe's is left out."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        inner = value.items() if depth else ()
        return {storable(name): storable_json(item, depth - 1) for name, item in inner}
    if isinstance(value, list):
        return [storable_json(item, depth - 1) for item in (value if depth else ())]
    return value


def _is_id(value: str) -> bool:
    return 0 < len(value) <= _LONGEST_ID and "\0" not in value


def _unreadable(obj: JsonObject, key: str, what: str) -> PayloadError:
    kind = optional_text_field(obj, "object") or "object"
    return PayloadError(f"{kind[:50]}.{key} is missing or {what}.", param=key)


def rate(value: Any) -> Decimal | None:
    """A rate, which Stripe sends as a JSON number: its digits count, not its binary value."""
    if isinstance(value, str):
        return Decimal(value) if _RATE.fullmatch(value) and Decimal(value) > 0 else None
    return Decimal(str(value)) if type(value) in (int, float) and value > 0 else None


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
