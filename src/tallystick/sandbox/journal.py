"""The file that state survives in: SQLite, one table of records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path


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
