"""State: objects in memory, optionally mirrored to SQLite, one transaction a request.

Objects are plain dicts in the API's own shape. Two rules keep it cheap and safe:

* An object changes only through ``change``, which replaces top-level values and never reaches into them.
  So a shallow copy is a true snapshot (events hold such copies), and every change can be undone.
* Nothing is written to disk before ``commit``, which writes all that a request touched at once.

Whatever else must survive a restart (timers, deliveries, idempotency records, settings) is a *space* of
records with its own ``dump`` and ``load``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

Obj = dict[str, Any]


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
        self.position[ident] = len(self.order)
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


class Journal:
    """The file: one table of records. WAL, synchronous off: what is committed survives a killed process."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS records (space TEXT, key TEXT, seq INTEGER, body BLOB,"
                         " PRIMARY KEY (space, key)) WITHOUT ROWID")  # fmt: skip

    def read(self) -> Iterator[tuple[str, str, int, bytes]]:
        """All records, oldest first."""
        yield from self._db.execute("SELECT space, key, seq, body FROM records ORDER BY seq")

    def write(self, rows: list[tuple[str, str, int, bytes]], gone: list[tuple[str, str]]) -> None:
        """Write and delete records in one transaction."""
        self._db.execute("BEGIN")
        try:
            # An update keeps the first seq, so that a restart reads objects in order of creation.
            self._db.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?)"
                " ON CONFLICT (space, key) DO UPDATE SET body = excluded.body",
                rows,
            )
            if gone:
                self._db.executemany("DELETE FROM records WHERE space = ? AND key = ?", gone)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def clear(self) -> None:
        """Delete everything."""
        self._db.execute("DELETE FROM records")

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._db.close()


@dataclass(frozen=True, slots=True)
class Space:
    """Records of one sort: ``dump`` gives a key's bytes, None when it is gone; ``load`` takes them back."""

    dump: Callable[[str], bytes | None]
    load: Callable[[str, bytes], None]


class Store:
    """Every object of the account, with undo, commit and restart."""

    def __init__(self, specs: Iterable[TableSpec], path: Path | None) -> None:
        self.tables = {spec.kind: Table(spec) for spec in specs}
        self._hidden: dict[str, Obj] = {}
        self._spaces: dict[str, Space] = {kind: self._object_space(kind) for kind in self.tables}
        self._journal = Journal(path) if path else None
        self._touched: dict[tuple[str, str], None] = {}
        self._undo: list[Callable[[], object]] = []
        self._seq = 0
        self.before_commit: list[Callable[[], None]] = []

    @property
    def dirty(self) -> bool:
        """Whether the next commit has anything to write."""
        return bool(self._touched)

    # Objects

    def get(self, kind: str, ident: str) -> Obj | None:
        """The object, or None."""
        return self.tables[kind].rows.get(ident)

    def put(self, obj: Obj, hidden: Obj | None = None) -> Obj:
        """Add a new object. ``hidden`` is what the API does not show of it (a card number, a secret)."""
        kind, ident = obj["object"], obj["id"]
        table = self.tables[kind]
        table.insert(obj)
        self._undo.append(lambda: table.take_back(ident))
        if hidden is not None:
            self._hidden[ident] = hidden
            self._undo.append(lambda: self._hidden.pop(ident, None))
        self.touch(kind, ident)
        return obj

    def change(self, obj: Obj, **values: Any) -> Obj:
        """Replace top-level values; returns the previous ones of those that differ."""
        previous = {name: obj.get(name) for name, value in values.items() if obj.get(name) != value}
        if previous:
            self._apply(obj, {name: values[name] for name in previous})
            self._undo.append(lambda: self._apply(obj, previous))
            self.touch(obj["object"], obj["id"])
        return previous

    def _apply(self, obj: Obj, values: Obj) -> None:
        table = self.tables[obj["object"]]
        for name, value in values.items():
            if name in table.by:
                table.reindexed = True
                table.unindex(name, obj.get(name), obj["id"])
                table.index(name, value, obj["id"])
            obj[name] = value

    def drop(self, obj: Obj, name: str) -> Obj:
        """Take a top-level field away; returns it as ``change`` returns previous values."""
        value = obj.pop(name)

        def back() -> None:
            obj[name] = value

        self._undo.append(back)
        self.touch(obj["object"], obj["id"])
        return {name: value}

    def gone(self, kind: str, ident: str) -> Obj | None:
        """What is left of a deleted object, or None."""
        return self.tables[kind].gone.get(ident)

    def remove(self, obj: Obj) -> None:
        """Take an object away; its id stays taken."""
        table, ident = self.tables[obj["object"]], obj["id"]
        del table.rows[ident]
        table.gone[ident] = {"id": ident, "object": obj["object"], "deleted": True}

        def back() -> None:
            del table.gone[ident]
            table.rows[ident] = obj

        self._undo.append(back)
        self.touch(obj["object"], ident)

    def hidden(self, obj: Obj) -> Obj:
        """What the API does not show of an object; read only, change it by ``hide``."""
        return self._hidden.get(obj["id"], {})

    def hide(self, obj: Obj, **values: Any) -> None:
        """Replace hidden values."""
        ident, before = obj["id"], self._hidden.get(obj["id"], {})
        self._hidden[ident] = {**before, **values}

        def back() -> None:
            self._hidden[ident] = before

        self._undo.append(back)
        self.touch(obj["object"], ident)

    # Spaces, undo and commit

    def add_space(self, name: str, space: Space) -> None:
        """Make records of another sort survive a restart."""
        self._spaces[name] = space

    def touch(self, space: str, key: str) -> None:
        """Have ``key`` written (or deleted) by the next commit."""
        if self._journal is not None:
            self._touched[(space, key)] = None

    def on_rollback(self, undo: Callable[[], object]) -> None:
        """Have ``undo`` called if what is being done is undone."""
        self._undo.append(undo)

    def rollback(self) -> None:
        """Undo everything since the last commit."""
        while self._undo:
            self._undo.pop()()

    def commit(self) -> None:
        """Make everything since the last commit lasting, in one transaction."""
        for prepare in self.before_commit:
            prepare()
        self._undo.clear()
        if self._journal is None or not self._touched:
            return
        rows, gone = [], []
        for space, key in self._touched:
            body = self._spaces[space].dump(key)
            if body is None:
                gone.append((space, key))
            else:
                self._seq += 1
                rows.append((space, key, self._seq, body))
        self._touched.clear()
        self._journal.write(rows, gone)

    def load(self) -> None:
        """Read back what an earlier run left."""
        if self._journal is not None:
            for space, key, seq, body in self._journal.read():
                self._seq = seq
                self._spaces[space].load(key, body)

    def clear(self) -> None:
        """Forget every object, in memory and on disk; spaces clear their own memory."""
        for kind, table in self.tables.items():
            self.tables[kind] = Table(table.spec)
        self._hidden.clear()
        self._touched.clear()
        self._undo.clear()
        if self._journal is not None:
            self._journal.clear()

    def close(self) -> None:
        """Let go of the file."""
        if self._journal is not None:
            self._journal.close()

    def _object_space(self, kind: str) -> Space:
        def dump(ident: str) -> bytes | None:
            table = self.tables[kind]
            obj = table.rows.get(ident) or table.gone.get(ident)
            return None if obj is None else orjson.dumps([obj, self._hidden.get(ident)])

        def load(ident: str, body: bytes) -> None:
            obj, hidden = orjson.loads(body)
            self.tables[kind].insert(obj)
            if obj.get("deleted"):
                self.tables[kind].bury(ident)
            if hidden is not None:
                self._hidden[ident] = hidden

        return Space(dump, load)
