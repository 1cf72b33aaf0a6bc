"""The file that state is kept in: SQLite, one table of records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A record as it is written. ``marks`` is what must be known of it while it is not in memory; a record
    without them is read back whole at the start."""

    space: str
    key: str
    seq: int
    marks: bytes | None
    body: bytes


class Journal:
    """The file: one table of records. WAL, synchronous off: what is committed survives a killed process.

    Without a path it is a temporary file of SQLite's, for what does not fit into memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.lasting = path is not None
        """Whether it is there after a restart."""
        self._db = sqlite3.connect(path or "", isolation_level=None)
        self._db.execute(f"PRAGMA journal_mode={'WAL' if self.lasting else 'OFF'}")
        self._db.execute("PRAGMA synchronous=OFF")
        # Marks before the body: what a start reads lies at the head of the row, and the rest is passed over.
        self._db.execute("CREATE TABLE IF NOT EXISTS records (space TEXT, key TEXT, seq INTEGER, marks BLOB,"
                         " body BLOB, PRIMARY KEY (space, key)) WITHOUT ROWID")  # fmt: skip
        if not any(column[1] == "marks" for column in self._db.execute("PRAGMA table_info(records)")):
            self._db.execute("ALTER TABLE records ADD COLUMN marks BLOB")  # a file from before there were any

    def read(self) -> Iterator[tuple[str, str, int, bytes | None, bytes | None]]:
        """All records, oldest first; of those with marks not the bodies."""
        yield from self._db.execute(
            "SELECT space, key, seq, marks, CASE WHEN marks IS NULL THEN body END FROM records ORDER BY seq"
        )

    def body(self, space: str, key: str) -> bytes:
        """The body of a record that is there; raises KeyError where it is not."""
        row = self._db.execute(
            "SELECT body FROM records WHERE space = ? AND key = ?", (space, key)
        ).fetchone()
        if row is None:
            raise KeyError(f"{space} {key}")
        found: bytes = row[0]
        return found

    def write(self, rows: list[Row], gone: list[tuple[str, str]]) -> None:
        """Write and delete records in one transaction."""
        self._db.execute("BEGIN")
        try:
            # An update keeps the first seq, so that a restart reads objects in order of creation.
            self._db.executemany(
                "INSERT INTO records (space, key, seq, marks, body) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (space, key) DO UPDATE SET marks = excluded.marks, body = excluded.body",
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
