"""All objects of one kind in memory: in order of creation, and by what they are looked up by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Obj = dict[str, Any]

_STEP: Final = 100


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One kind of object: its ``object`` name, how messages call it, what it is looked up by."""

    kind: str
    noun: str
    indexes: tuple[str, ...] = ()


@dataclass(slots=True)
class Table:
    """All objects of one kind, in order of creation. Deleted ids keep their place in ``order``."""

    spec: TableSpec
    rows: dict[str, Obj] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    position: dict[str, int] = field(default_factory=dict)
    by: dict[str, dict[Any, dict[str, None]]] = field(default_factory=dict)
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
        ident = obj["id"]
        if ident in self.position:
            raise KeyError(f"{ident} exists already.")
        self.rows[ident] = obj
        self.position[ident] = self.inserted
        self.inserted += 1
        self.order.append(ident)
        created = obj.get("created", self.newest)
        if created < self.newest:
            self.in_time_order = False
        else:
            self.newest = created
        for name in self.by:
            self.index(name, obj.get(name), ident)

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
        if value is not None:
            self.by[name].setdefault(value, {})[ident] = None

    def unindex(self, name: str, value: Any, ident: str) -> None:
        if value is not None and ident in (ids := self.by[name].get(value, {})):
            del ids[ident]
            if not ids:
                del self.by[name][value]

    def ids_having(self, name: str, value: Any) -> list[str]:
        """The ids whose indexed field ``name`` is ``value``, oldest first, with those of deleted objects."""
        ids = list(self.by[name].get(value, ()))
        return sorted(ids, key=self.position.__getitem__) if self.reindexed else ids

    def having(self, name: str, value: Any) -> list[Obj]:
        """The objects whose indexed field ``name`` is ``value``, oldest first."""
        return [self.rows[ident] for ident in self.ids_having(name, value) if ident in self.rows]
