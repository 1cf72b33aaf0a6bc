"""State: objects in memory and in SQLite, one transaction a request.

Objects are plain dicts in the API's own shape. Two rules keep it cheap and safe:

* An object changes only through ``change``, which replaces top-level values and never reaches into them.
  So a shallow copy is a true snapshot (events hold such copies), and every change can be undone.
* Nothing is written to disk before ``commit``, which writes all that a request touched at once.

Only the lately used objects stay in memory, once they are many. A data directory has them all anyway; without
one, those that leave go to a temporary file.

Whatever else must survive a restart (timers, deliveries, idempotency records, settings) is a *space* of
records with its own ``dump`` and ``load``.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from tallystick.sandbox.journal import Journal, Row
from tallystick.sandbox.records import Records
from tallystick.sandbox.spaces import Space, space_of
from tallystick.sandbox.tables import Obj, Table, TableSpec

__all__ = ["Obj", "Store", "Table", "TableSpec"]


_LEAVE_AT_ONCE: Final = 512
"""How many records of a sort leave memory in one go: a few milliseconds."""


Photograph = list[tuple[str, str, bytes]]


class Store:
    """Every object of the account, with undo, commit and restart."""

    def __init__(self, specs: Iterable[TableSpec], path: Path | None) -> None:
        self._journal = Journal(path)
        self.tables = {spec.kind: Table(spec, Records(self._reader(spec.kind))) for spec in specs}
        self.on_read: dict[str, Callable[[Obj], None]] = {}
        """By kind: what brings an object up to date that has been read from the file."""
        self.hidden_of: dict[str, Obj] = {}
        """By id, what the API does not show of an object. It stays in memory."""
        self._spaces: dict[str, Space] = {kind: space_of(self, kind) for kind in self.tables}
        self._touched: dict[tuple[str, str], None] = {}
        self._undo: list[Callable[[], object]] = []
        self._seq = 0
        self.objects = 0
        """How many objects there are, deleted ones left out."""
        self.before_commit: list[Callable[[], None]] = []

    def _reader(self, kind: str) -> Callable[[str], Obj]:
        def read(ident: str) -> Obj:
            obj: Obj = orjson.loads(self._journal.body(kind, ident))[0]
            refresh = self.on_read.get(kind)
            if refresh is not None:
                refresh(obj)
            return obj

        return read

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
            self.hidden_of[ident] = hidden
            self._undo.append(lambda: self.hidden_of.pop(ident, None))
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
        if not self._journal.lasting:
            self._journal.write([], [(kind, ident) for ident in gone])
        return gone

    def hidden(self, obj: Obj) -> Obj:
        """What the API does not show of an object; read only, change it by ``hide``."""
        return self.hidden_of.get(obj["id"], {})

    def hide(self, obj: Obj, **values: Any) -> None:
        """Replace hidden values."""
        ident, before = obj["id"], self.hidden_of.get(obj["id"], {})
        self.hidden_of[ident] = {**before, **values}

        def back() -> None:
            self.hidden_of[ident] = before

        self._undo.append(back)
        self.touch(obj["object"], ident)

    # Spaces, undo and commit

    def add_space(self, name: str, space: Space) -> None:
        """Make records of another sort survive a restart."""
        self._spaces[name] = space

    def touch(self, space: str, key: str) -> None:
        """Have ``key`` written (or deleted) by the next commit."""
        if self._journal.lasting:
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
        if not self._touched:
            return
        rows, gone = [], []
        for space, key in self._touched:
            row = self._row(space, key)
            if row is None:
                gone.append((space, key))
            else:
                rows.append(row)
        self._touched.clear()
        self._journal.write(rows, gone)

    def _row(self, space: str, key: str) -> Row | None:
        body = self._spaces[space].dump(key)
        if body is None:
            return None
        self._seq += 1
        marks = self._spaces[space].marks(key) if self._journal.lasting else None
        return Row(space, key, self._seq, marks, body)

    @property
    def crowded(self) -> bool:
        """Whether there is something for ``make_room`` to do."""
        return any(space.records is not None and space.records.crowded for space in self._spaces.values())

    def make_room(self) -> None:
        """Have some records leave memory. Only between transactions, when nobody holds an object."""
        self.commit()
        for name, space in self._spaces.items():
            if space.records is None or not space.records.crowded:
                continue
            leaving = list(space.records.leaving(_LEAVE_AT_ONCE))
            if not self._journal.lasting:
                self._journal.write([row for key in leaving if (row := self._row(name, key))], [])
            for key in leaving:
                space.records.leave(key)

    def load(self) -> None:
        """Read back what an earlier run left."""
        collecting = gc.isenabled()
        gc.disable()  # there is no garbage in it, and looking for some takes half the time
        try:
            for name, key, seq, marks, body in self._journal.read():
                self._seq, space = seq, self._spaces[name]
                if marks is not None:
                    space.know(key, marks)
                elif body is not None:
                    space.load(key, body)
                    if space.marks(key) is not None:
                        self.touch(name, key)  # it is from before there were marks
        finally:
            if collecting:
                gc.enable()

    def photograph(self) -> Photograph:
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
            table.rows.clear()
            self.tables[kind] = Table(table.spec, table.rows)
        self.objects = 0
        self.hidden_of.clear()
        self._touched.clear()
        self._undo.clear()
        self._journal.clear()

    def close(self) -> None:
        """Let go of the file."""
        self._journal.close()

    def body(self, space: str, key: str) -> bytes:
        """The bytes of a record that is in the file; raises KeyError where there is none."""
        return self._journal.body(space, key)
