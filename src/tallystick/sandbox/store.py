"""State: objects in memory, optionally mirrored to SQLite, one transaction a request.

Objects are plain dicts in the API's own shape. Two rules keep it cheap and safe:

* An object changes only through ``change``, which replaces top-level values and never reaches into them.
  So a shallow copy is a true snapshot (events hold such copies), and every change can be undone.
* Nothing is written to disk before ``commit``, which writes all that a request touched at once.

Whatever else must survive a restart (timers, deliveries, idempotency records, settings) is a *space* of
records with its own ``dump`` and ``load``.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tallystick.sandbox.journal import Journal
from tallystick.sandbox.tables import Obj, Table, TableSpec

__all__ = ["Obj", "Space", "Store", "Table", "TableSpec"]


@dataclass(frozen=True, slots=True)
class Space:
    """Records of one sort: ``dump`` gives a key's bytes, None when it is gone; ``load`` takes them back."""

    dump: Callable[[str], bytes | None]
    load: Callable[[str, bytes], None]
    keys: Callable[[], Iterable[str]] = tuple
    """All keys there are, oldest first."""


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
        self.objects = 0
        """How many objects there are, deleted ones left out."""
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
        self.objects += 1
        self._undo.append(lambda: self._take_back(table, ident))
        if hidden is not None:
            self._hidden[ident] = hidden
            self._undo.append(lambda: self._hidden.pop(ident, None))
        self.touch(kind, ident)
        return obj

    def _take_back(self, table: Table, ident: str) -> None:
        table.take_back(ident)
        self.objects -= 1

    def change(self, obj: Obj, **values: Any) -> Obj:
        """Replace top-level values; returns the previous ones of those that differ."""
        previous = {name: obj.get(name) for name, value in values.items() if obj.get(name) != value}
        if previous:
            new = [name for name in previous if name not in obj]
            self._apply(obj, {name: values[name] for name in previous})

            def back() -> None:
                self._apply(obj, previous)
                for name in new:
                    del obj[name]

            self._undo.append(back)
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
        self.objects -= 1
        table.gone[ident] = {"id": ident, "object": obj["object"], "deleted": True}

        def back() -> None:
            del table.gone[ident]
            table.rows[ident] = obj
            self.objects += 1

        self._undo.append(back)
        self.touch(obj["object"], ident)

    def forget_oldest(self, kind: str, before: int) -> list[str]:
        """Delete what was created before a time, for good and without undo, but for the newest objects of
        that age: they go in hundreds. Only for a kind whose objects nothing else refers to."""
        gone = self.tables[kind].forget_oldest(before)
        self.objects -= len(gone)
        for ident in gone:
            self.touch(kind, ident)
        return gone

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

    @contextlib.contextmanager
    def tentative(self) -> Iterator[None]:
        """Undo all that the block changes, whatever comes of it: how previews are computed."""
        mark = len(self._undo)
        try:
            yield
        finally:
            while len(self._undo) > mark:
                self._undo.pop()()

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
        if self._journal is None:
            return
        collecting = gc.isenabled()
        gc.disable()  # there is no garbage in it, and looking for some takes half the time
        try:
            for space, key, seq, body in self._journal.read():
                self._seq = seq
                self._spaces[space].load(key, body)
        finally:
            if collecting:
                gc.enable()

    def photograph(self) -> list[tuple[str, str, bytes]]:
        """Every record of every space, as ``restore`` takes them."""
        records = []
        for name, space in self._spaces.items():
            for key in space.keys():  # noqa: SIM118 - no dict
                body = space.dump(key)
                if body is not None:
                    records.append((name, key, body))
        return records

    def restore(self, records: Iterable[tuple[str, str, bytes]]) -> None:
        """Read records into the emptied store, and have the next commit write them."""
        for name, key, body in records:
            self._spaces[name].load(key, body)
            self.touch(name, key)

    def clear(self) -> None:
        """Forget every object, in memory and on disk; spaces clear their own memory."""
        for kind, table in self.tables.items():
            self.tables[kind] = Table(table.spec)
        self.objects = 0
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
            else:
                self.objects += 1
            if hidden is not None:
                self._hidden[ident] = hidden

        return Space(dump, load, lambda: self.tables[kind].order)
