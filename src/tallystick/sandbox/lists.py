"""Lists: newest first, filtered, in pages by cursor."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tallystick.sandbox.errors import invalid, missing
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, Table

Match = Callable[[Obj], bool]

_PAGING: Final = ("limit", "starting_after", "ending_before", "created")


def page(
    call: Call,
    kind: str,
    url: str,
    *,
    matches: Match | None = None,
    ignore: tuple[str, ...] = (),
    among: Iterable[str] | None = None,
) -> Obj:
    """The page of ``kind`` that the call's parameters ask for.

    Parameters other than paging and ``ignore`` are equalities on fields of the same name; ``matches`` adds
    to them, and ``among`` names the only ids to look at. Raises StripeError when a cursor names no object
    or both cursors are given.
    """
    table, params = call.store.tables[kind], call.params
    equal = {name: value for name, value in params.items() if name not in _PAGING and name not in ignore}
    bounds = params.get("created", {})
    limit = params.get("limit", 10)
    upward = "ending_before" in params

    found: list[Obj] = []
    for obj in _candidates(call, table, _ids(table, equal, among), bounds, upward=upward):
        created = obj.get("created", 0)
        if not _within(created, bounds):
            if table.in_time_order and _past(created, bounds, upward=upward):
                break
            continue
        if any(obj.get(name) != value for name, value in equal.items()) or (matches and not matches(obj)):
            continue
        found.append(obj)
        if len(found) > limit:
            break
    data = found[:limit]
    if upward:
        data.reverse()
    return {"object": "list", "data": data, "has_more": len(found) > limit, "url": url}


def embedded(found: list[Obj], url: str, *, counted: bool = True) -> Obj:
    """The list that an object shows inside: the first ten of ``found``."""
    shown: Obj = {"object": "list", "data": found[:10], "has_more": len(found) > 10, "url": url}
    return {**shown, "total_count": len(found)} if counted else shown


def _ids(table: Table, equal: dict[str, Any], among: Iterable[str] | None) -> list[str]:
    """The fewest ids, oldest first, that hold all that can match."""
    if among is not None:
        return sorted(among, key=table.position.__getitem__)
    indexed = next((name for name in equal if name in table.by), None)
    return table.order if indexed is None else table.ids_having(indexed, equal[indexed])


def _candidates(
    call: Call, table: Table, ids: list[str], bounds: dict[str, int], *, upward: bool
) -> Iterator[Obj]:
    """Objects from the cursor on: to older ones, or ``upward`` to newer ones."""
    start, stop = _span(call, table, ids)
    if table.in_time_order:
        start, stop = _narrowed(table, ids, bounds, start, stop)
    positions = range(start, stop) if upward else range(stop - 1, start - 1, -1)
    for position in positions:
        obj = table.rows.peek(ids[position])
        if obj is not None:
            yield obj


def _span(call: Call, table: Table, ids: list[str]) -> tuple[int, int]:
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    if after is not None and before is not None:
        raise invalid(
            "Received both ending_before and starting_after parameters. Please pass in only one.",
            param="starting_after",
        )
    cursor = after if after is not None else before
    if cursor is None:
        return 0, len(ids)
    name = "starting_after" if after is not None else "ending_before"
    if cursor not in table.position:
        raise missing(table.spec.noun, cursor, name)
    key = table.position.__getitem__
    if after is not None:
        return 0, bisect.bisect_left(ids, key(cursor), key=key)
    return bisect.bisect_right(ids, key(cursor), key=key), len(ids)


def _narrowed(table: Table, ids: list[str], bounds: dict[str, int], start: int, stop: int) -> tuple[int, int]:
    """Skip what is outside ``created`` by bisection, where nothing has been deleted in between."""
    if not bounds or len(table.rows) != len(table.order):
        return start, stop

    def created(ident: str) -> int:
        obj = table.rows.peek(ident)
        return 0 if obj is None else int(obj.get("created", 0))

    if "gte" in bounds:
        start = max(start, bisect.bisect_left(ids, bounds["gte"], key=created))
    if "gt" in bounds:
        start = max(start, bisect.bisect_right(ids, bounds["gt"], key=created))
    if "lte" in bounds:
        stop = min(stop, bisect.bisect_right(ids, bounds["lte"], key=created))
    if "lt" in bounds:
        stop = min(stop, bisect.bisect_left(ids, bounds["lt"], key=created))
    return start, max(start, stop)


def _within(created: int, bounds: dict[str, int]) -> bool:
    if not bounds:
        return True
    return (
        created >= bounds.get("gte", created)
        and created > bounds.get("gt", created - 1)
        and created <= bounds.get("lte", created)
        and created < bounds.get("lt", created + 1)
    )


def _past(created: int, bounds: dict[str, int], *, upward: bool) -> bool:
    if upward:
        return created > bounds.get("lte", created) or created >= bounds.get("lt", created + 1)
    return created < bounds.get("gte", created) or created <= bounds.get("gt", created - 1)
