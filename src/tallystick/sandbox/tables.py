"""All objects of one kind: in order of creation, and by what they are looked up by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tallystick.sandbox.records import Records

Obj = dict[str, Any]

_STEP: Final = 100


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One kind of object: its ``object`` name, how messages call it, what it is looked up by."""

    kind: str
    noun: str
    indexes: tuple[str, ...] = ()
    resident: bool = False
    """Whether all of them stay in memory: a kind that is looked through again and again."""


@dataclass(slots=True)
class Table:
    """All objects of one kind, in order of creation. Deleted ids keep their place in ``order``."""

    spec: TableSpec
    rows: Records[Obj]
    order: list[str] = field(default_factory=list)
    position: dict[str, int] = field(default_factory=dict)
    by: dict[str, dict[Any, str | dict[str, None]]] = field(default_factory=dict)
    """By indexed field and its value the id, or where there are several, the ids."""
    gone: dict[str, Obj] = field(default_factory=dict)
    """What is left of deleted objects: ``{"id", "object", "deleted": true}``."""
    inserted: int = 0
    """How many there have ever been: the next position."""
    newest: int = 0
    in_time_order: bool = True
    """Whether ``created`` never falls along ``order``: then a search may stop early."""
    reindexed: bool = False
    """Whether an indexed value has ever changed: then an index is no longer in order of creation."""

    def __post_init__(self) -> None:
        self.by = {name: {} for name in self.spec.indexes}

    def insert(self, obj: Obj) -> None:
        """Add a new object; raises KeyError when its id is taken."""
        values = [obj.get(name) for name in self.spec.indexes]
        self._add(obj["id"], obj.get("created"), values)
        self.rows[obj["id"]] = obj

    def marks(self, obj: Obj) -> list[Any]:
        """What ``know`` needs of an object."""
        return [obj.get("created"), [obj.get(name) for name in self.spec.indexes]]

    def know(self, ident: str, created: int | None, values: list[Any]) -> None:
        """Add an object that is in the file, by its ``marks``."""
        self._add(ident, created, values)
        self.rows.know(ident)

    def _add(self, ident: str, created: int | None, values: list[Any]) -> None:
        if ident in self.position:
            raise KeyError(f"{ident} exists already.")
        self.position[ident] = self.inserted
        self.inserted += 1
        self.order.append(ident)
        if created is not None and created < self.newest:
            self.in_time_order = False
        else:
            self.newest = created or self.newest
        for name, value in zip(self.spec.indexes, values, strict=True):
            self.index(name, value, ident)

    def bury(self, ident: str) -> None:
        """Move a deleted object out of ``rows``."""
        self.gone[ident] = self.rows.pop(ident)

    def forget_oldest(self, before: int) -> list[str]:
        """Delete the oldest objects, in steps of at least a hundred; their ids."""
        count = 0
        for ident in self.order:
            if self.rows[ident]["created"] >= before:
                break
            count += 1
        if count < _STEP:
            return []
        old = self.order[:count]
        del self.order[:count]
        for ident in old:
            obj = self.rows.pop(ident)
            del self.position[ident]
            for name in self.by:
                self.unindex(name, obj.get(name), ident)
        return old

    def take_back(self, ident: str) -> None:
        """Undo the newest ``insert``."""
        obj = self.rows.pop(ident)
        self.order.pop()
        del self.position[ident]
        for name in self.by:
            self.unindex(name, obj.get(name), ident)

    def index(self, name: str, value: Any, ident: str) -> None:
        if value is None:
            return
        held = self.by[name].setdefault(value, ident)
        if isinstance(held, dict):
            held[ident] = None
        elif held != ident:
            self.by[name][value] = {held: None, ident: None}

    def unindex(self, name: str, value: Any, ident: str) -> None:
        if value is None:
            return
        held = self.by[name].get(value)
        if isinstance(held, dict):
            held.pop(ident, None)
        if held in (ident, {}):
            del self.by[name][value]

    def ids_having(self, name: str, value: Any) -> list[str]:
        """The ids whose indexed field ``name`` is ``value``, oldest first, with those of deleted objects."""
        held = self.by[name].get(value, {})
        ids = [held] if isinstance(held, str) else list(held)
        return sorted(ids, key=self.position.__getitem__) if self.reindexed else ids

    def having(self, name: str, value: Any) -> list[Obj]:
        """The objects whose indexed field ``name`` is ``value``, oldest first."""
        return [self.rows[ident] for ident in self.ids_having(name, value) if ident in self.rows]
