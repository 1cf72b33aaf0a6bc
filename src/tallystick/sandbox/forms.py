"""Form bodies and query strings with bracketed keys, as Stripe's clients write them.

``a[b][c]=1`` nests, ``a[]=1`` and ``a[0]=1`` are lists. Values stay strings; an empty value stays "" and
means "unset" to whoever reads it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from tallystick.sandbox.errors import invalid

Form = dict[str, Any]


def decode(raw: bytes | str) -> Form:
    """Decode a form into nested dicts and lists of strings; raises StripeError (400) on bad nesting."""
    if not raw:
        return {}
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    form: Form = {}
    nested = False
    for key, value in parse_qsl(text, keep_blank_values=True):
        bracket = key.find("[")
        if bracket <= 0:
            form[key] = value
            continue
        nested = True
        parts = [key[:bracket], *key[bracket + 1 :].removesuffix("]").split("][")]
        _put(form, parts, value, key)
    return {key: _lists(value) for key, value in form.items()} if nested else form


def _put(form: Form, parts: list[str], value: str, key: str) -> None:
    here = form
    for part in parts[:-1]:
        below = here.setdefault(part or str(len(here)), {})
        if not isinstance(below, dict):
            raise invalid(f"Invalid parameter nesting: {key}", param=parts[0])
        here = below
    last = parts[-1]
    here[last or str(len(here))] = value


def _lists(value: Any) -> Any:
    """Turn dicts whose keys are all indexes into lists, inside out."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(below) for key, below in value.items()}
    if inner and all(key.isdecimal() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
