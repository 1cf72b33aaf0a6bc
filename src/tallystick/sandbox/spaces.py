"""What survives a restart, by sort: how records of it are written, and how they are taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from tallystick.sandbox.records import Records

if TYPE_CHECKING:
    from tallystick.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Space:
    """Records of one sort: ``dump`` gives a key's bytes, None when it is gone; ``load`` takes them back."""

    dump: Callable[[str], bytes | None]
    load: Callable[[str, bytes], None]
    keys: Callable[[], Iterable[str]] = tuple
    """All keys there are, oldest first."""
    records: Records[Any] | None = None
    """Where the records are, if they may leave memory. Then there are also:"""
    marks: Callable[[str], bytes | None] = lambda _key: None
    """What must be known of a record that is not in memory; None for one that stays there."""
    know: Callable[[str, bytes], None] = lambda _key, _marks: None
    """Take back the marks of a record that stays in the file."""


def space_of(store: Store, kind: str) -> Space:
    """The objects of one kind as records: the object and what is hidden of it."""
    rows, resident = store.tables[kind].rows, store.tables[kind].spec.resident

    def dump(ident: str) -> bytes | None:
        obj = rows.resident(ident) or store.tables[kind].gone.get(ident)
        if obj is None:
            return store.body(kind, ident) if ident in rows else None
        return orjson.dumps([obj, store.hidden_of.get(ident)])

    def load(ident: str, body: bytes) -> None:
        obj, hidden = orjson.loads(body)
        store.tables[kind].insert(obj)
        if obj.get("deleted"):
            store.tables[kind].bury(ident)
        else:
            store.objects += 1
        if hidden is not None:
            store.hidden_of[ident] = hidden

    def marks(ident: str) -> bytes | None:
        obj = None if resident else rows.resident(ident)
        if obj is None:
            return None
        return orjson.dumps([*store.tables[kind].marks(obj), store.hidden_of.get(ident)])

    def know(ident: str, held: bytes) -> None:
        created, values, hidden = orjson.loads(held)
        store.tables[kind].know(ident, created, values)
        store.objects += 1
        if hidden is not None:
            store.hidden_of[ident] = hidden

    kept = None if resident else rows
    return Space(dump, load, lambda: store.tables[kind].order, kept, marks, know)
