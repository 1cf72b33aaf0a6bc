"""What pydantic finds wrong with a request, in words for whoever sent it.

A finding completes the sentence "The field …"; pydantic's own messages speak of inputs, patterns and types of
Python. The values at fault are left out: they may be secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tallystick.errors import InvalidRequestError

_LONGEST_PARAM: Final = 200
_OF_A_KEY: Final = "[key]"
"""The last place of what is wrong with a mapping's key and not with its value."""
_VERBS: Final = ("must ", "is ", "has ")
_A_TIME: Final = "must be a time of RFC 3339 with an offset, such as 2026-11-24T12:00:00Z"
_A_NUMBER: Final = "must be an integer"

_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "int_type": _A_NUMBER,
    "int_parsing": _A_NUMBER,
    "int_parsing_size": _A_NUMBER,
    "int_from_float": _A_NUMBER,
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be Unicode without lone surrogates",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "timezone_aware": _A_TIME,
    "datetime_type": _A_TIME,
    "datetime_parsing": _A_TIME,
    "datetime_from_date_parsing": _A_TIME,
    "datetime_object_invalid": _A_TIME,
    "date_type": "must be a date such as 2026-11-24",
    "date_parsing": "must be a date such as 2026-11-24",
    "date_from_datetime_parsing": "must be a date such as 2026-11-24",
}
_WITH_CONTEXT: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "enum": lambda found: f"must be {found['expected']}",
    "literal_error": lambda found: f"must be {found['expected']}",
    "string_too_short": lambda found: _at_least(found["min_length"], "character"),
    "string_too_long": lambda found: _at_most(found["max_length"], "character"),
    "too_short": lambda found: _at_least(found["min_length"], _counted(found)),
    "too_long": lambda found: _at_most(found["max_length"], _counted(found)),
    "greater_than_equal": lambda found: f"must be at least {found['ge']}",
    "less_than_equal": lambda found: f"must be at most {found['le']}",
    "value_error": lambda found: str(found["error"]),
}


def invalid_request(findings: Sequence[Mapping[str, Any]]) -> InvalidRequestError:
    """All findings as one error: the first field as ``param``, every one in ``errors``."""
    errors = [{"param": _param(found["loc"]), "message": _message(found)} for found in findings]
    first = errors[0]
    subject = first["param"] or ("The body" if findings[0]["loc"][:1] == ("body",) else "The request")
    joint = " " if first["message"].startswith(_VERBS) else ": "
    return InvalidRequestError(
        f"{subject}{joint}{first['message']}.", param=first["param"] or None, extra={"errors": errors}
    )


def _message(found: Mapping[str, Any]) -> str:
    kind, context = found["type"], found.get("ctx") or {}
    words = _WITH_CONTEXT[kind](context) if kind in _WITH_CONTEXT else _WORDS.get(kind, found["msg"])
    return f"has a key that {words}" if found["loc"][-1:] == (_OF_A_KEY,) else words


def _param(location: tuple[Any, ...]) -> str:
    """``("body", "metadata", "a")`` as ``metadata.a``, cut where a caller's own key is long."""
    parts = location[1:-2] if location[-1:] == (_OF_A_KEY,) else location[1:]
    return ".".join(str(part) for part in parts)[:_LONGEST_PARAM]


def _counted(found: Mapping[str, Any]) -> str:
    return "pair" if found["field_type"] == "Dictionary" else "item"


def _at_least(least: int, what: str) -> str:
    return "must not be empty" if least == 1 else f"must have at least {least} {what}s"


def _at_most(most: int, what: str) -> str:
    return f"must have at most {most} {what}{'' if most == 1 else 's'}"
