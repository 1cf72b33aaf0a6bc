"""What a local installation must remember between starts: files of one secret each, readable by us alone.

Only for the embedded default, where the database, the sandbox and these files are one person's. A real
installation keeps its API keys itself (only their hash is stored) and gets Stripe's secrets from outside.
"""

from __future__ import annotations

import os
from pathlib import Path


class Credentials:
    """Named secrets below ``DATA_DIR/credentials``, a folder of mode 0700."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "credentials"

    def read(self, name: str) -> str | None:
        """The secret, or None when there is none."""
        try:
            return (self._folder / name).read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def write(self, name: str, secret: str) -> None:
        """Keep a secret, replacing an earlier one as a whole."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged = self._folder / f".{name}.new"
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(secret)
        staged.replace(self._folder / name)
