"""Lists of the v2 API: pages behind URLs, ISO times, and its errors."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from tallystick.sandbox.errors import StripeError, invalid
from tallystick.sandbox.params import Check, Params, integer, text
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_DEFAULT: Final = 20
_MOST: Final = 100


def not_found(noun: str, ident: str) -> StripeError:
    """404: v2 calls it ``not_found``."""
    return StripeError(404, f"{noun} not found: {ident}", code="not_found", stored=True)


def _limit(value: Any, name: str) -> int:
    number = integer(value, name)
    if not 1 <= number <= _MOST:
        raise invalid(f"{name} must be between 1 and {_MOST}.", param=name, code="invalid_fields")
    return number


def moment(value: Any, name: str) -> float:
    """An RFC 3339 time as seconds since the epoch."""
    plain = text()(value, name)
    try:
        parsed = datetime.fromisoformat(plain)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise invalid(f"{name} must be a time with a zone, as in 2026-01-31T12:00:00Z.", param=name)
    return parsed.timestamp()


RANGE: Final = Params(dict.fromkeys(("gt", "gte", "lt", "lte"), moment))
PAGING: Final[dict[str, Check]] = {"limit": _limit, "page": text()}


def within(created: float, bounds: dict[str, float]) -> bool:
    """Whether a time lies in a ``RANGE``."""
    return (
        created >= bounds.get("gte", created)
        and created <= bounds.get("lte", created)
        and ("gt" not in bounds or created > bounds["gt"])
        and ("lt" not in bounds or created < bounds["lt"])
    )


def page(call: Call, url: str, items: Iterable[Obj], show: Callable[[Obj], Obj]) -> Obj:
    """One page of ``items``, which are ordered and filtered already.

    The token names the first object of a page, so that pages stay what they were while new objects come in
    front of them. Raises StripeError for a token that names none.
    """
    limit, token = call.params.get("limit", _DEFAULT), call.params.get("page")
    before: list[Obj] = []
    rest = iter(items)
    if token is not None:
        first = _unpacked(token)
        for item in rest:
            if item["id"] == first:
                rest = itertools.chain([item], rest)
                break
            before = [*before[1 - limit :], item] if limit > 1 else [item]
        else:
            raise invalid("The page token is not valid.", param="page", code="invalid_fields")
    found = list(itertools.islice(rest, limit + 1))
    return {
        "data": [show(item) for item in found[:limit]],
        "next_page_url": _url(call, url, found[limit]["id"]) if len(found) > limit else None,
        "previous_page_url": _url(call, url, before[0]["id"]) if before else None,
    }


def _url(call: Call, url: str, first: str) -> str:
    asked: list[tuple[str, str]] = []
    for name, value in call.asked.items():
        if name != "page":
            asked += _flat(name, value)
    token = base64.urlsafe_b64encode(first.encode()).decode().rstrip("=")
    return f"{url}?{urlencode([*asked, ('page', token)])}"


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(f"{name}[{key}]", item)]
    if isinstance(value, list):
        return [pair for index, item in enumerate(value) for pair in _flat(f"{name}[{index}]", item)]
    return [(name, value)]


def _unpacked(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
