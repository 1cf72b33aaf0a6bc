"""Stripe's search query language over the sandbox's objects: ``status:'succeeded' AND metadata['k']:'v'``.

Clauses are ``field:value`` (equal), ``field~"part"`` (substring, at least three characters), ``field>n`` and
the like for numbers, ``-clause`` for its opposite, ``field:null``; joined by AND or by OR, never both.
Searches see a write at once; Stripe's index lags up to a minute behind.
Source: https://docs.stripe.com/search#search-query-language
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tallystick.sandbox.errors import StripeError, invalid
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import Params, text
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

Match = Callable[[Obj], bool]
Read = Callable[[Obj], Any]

_CLAUSE: Final = re.compile(
    r"""\s*(?P<minus>-)?(?P<field>[a-z_][a-z0-9_.]*)
        (?:\[\s*(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*\])?
        \s*(?P<op>>=|<=|[:~<>=])\s*
        (?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"']+)\s*""",
    re.VERBOSE,
)
_JOIN: Final = re.compile(r"\s*(AND|OR)\b|\s+(?=\S)", re.IGNORECASE)


def _limit(value: Any, name: str) -> int:
    number: int = at_least(1)(value, name)
    if number > 100:
        raise invalid("This value must be less than or equal to 100.", param=name)
    return number


PARAMS: Final = Params({"limit": _limit, "page": text(), "query": text()}, required=("query",))


def field(name: str) -> Read:
    """Reads ``a.b`` of an object; None where there is none."""
    parts = name.split(".")

    def read(obj: Obj) -> Any:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    return read


def page(call: Call, kind: str, url: str, fields: Mapping[str, Read]) -> Obj:
    """The page of search results that the call asks for, newest first; 400 for a query that is none."""
    matches = parse(call.params["query"], fields)
    limit = call.params.get("limit", 10)
    start = _start(call.params.get("page"))
    table = call.store.tables[kind]
    found: list[Obj] = []
    skipped = 0
    for ident in reversed(table.order):
        obj = table.rows.peek(ident)
        if obj is None or not matches(obj):
            continue
        if skipped < start:
            skipped += 1
            continue
        found.append(obj)
        if len(found) > limit:
            break
    more = len(found) > limit
    return {
        "object": "search_result",
        "data": found[:limit],
        "has_more": more,
        "next_page": f"page{start + limit}" if more else None,
        "url": url,
    }


def _start(sent: str | None) -> int:
    if sent is None:
        return 0
    number = sent.removeprefix("page")
    if not number.isdecimal() or number == sent:
        raise invalid(f"Invalid page: {sent}", param="page")
    return int(number)


def parse(query: str, fields: Mapping[str, Read]) -> Match:
    """A query as a test on objects; raises StripeError (400)."""
    clauses: list[Match] = []
    joins: set[str] = set()
    rest = query.strip()
    while True:
        found = _CLAUSE.match(rest)
        if found is None:
            raise _unparsable(query)
        clauses.append(_clause(found, fields))
        rest = rest[found.end() :]
        if not rest:
            break
        join = _JOIN.match(rest)
        if join is None:
            joins.add("AND")
            continue
        joins.add((join[1] or "AND").upper())
        rest = rest[join.end() :]
    if len(joins) > 1:
        raise invalid("You cannot combine AND and OR in a search query.", param="query")
    if joins == {"OR"}:
        return lambda obj: any(clause(obj) for clause in clauses)
    return lambda obj: all(clause(obj) for clause in clauses)


def _unparsable(query: str) -> StripeError:
    return invalid(
        f'We were unable to parse your search query: {query}. Try using the format `metadata["key"]:"value"`'
        ' to query for metadata or key:"value" to query for other fields.',
        param="query",
    )


def _unquoted(value: str) -> str:
    if value[:1] in "\"'":
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _metadata(key: str) -> Read:
    return lambda obj: obj["metadata"].get(key)


def _clause(found: re.Match[str], fields: Mapping[str, Read]) -> Match:
    name, operator, raw = found["field"], found["op"], found["value"]
    if name == "metadata" and found["key"]:
        read = _metadata(_unquoted(found["key"]))
    elif name in fields and not found["key"]:
        read = fields[name]
    else:
        raise invalid(f"Field `{name}` is an unsupported search field for resource.", param="query")
    test = _test(operator, raw)
    return (lambda obj: not test(read(obj))) if found["minus"] else (lambda obj: test(read(obj)))


def _test(operator: str, raw: str) -> Callable[[Any], bool]:
    value = _unquoted(raw)
    if operator in (":", "="):
        if raw == "null":
            return lambda held: held is None or held == ""
        return lambda held: _same(held, value)
    if operator == "~":
        if len(value) < 3:
            raise invalid("Substring searches need at least 3 characters.", param="query")
        return lambda held: isinstance(held, str) and value.lower() in held.lower()
    try:
        number = int(value)
    except ValueError:
        raise invalid(f"The operator {operator} needs a number, not {value}.", param="query") from None
    compare: Callable[[int], bool] = {
        ">": lambda held: held > number,
        ">=": lambda held: held >= number,
        "<": lambda held: held < number,
        "<=": lambda held: held <= number,
    }[operator]
    return lambda held: isinstance(held, int) and compare(held)


def _same(held: Any, value: str) -> bool:
    if isinstance(held, bool):
        return value.lower() == ("true" if held else "false")
    if isinstance(held, list):
        return any(_same(item, value) for item in held)
    return held is not None and str(held).lower() == value.lower()
