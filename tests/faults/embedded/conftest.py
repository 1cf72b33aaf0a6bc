"""A data directory that an unprivileged account can reach, and a way to ask the database."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tallystick.embedded import EmbeddedPostgres

Ask = Callable[[EmbeddedPostgres, str], str]


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder others may pass through. pytest's own tmp_path is 0700 all the way up."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def ask() -> Ask:
    """Run one statement with the wheel's psql; its rows as text."""

    def statement(server: EmbeddedPostgres, sql: str) -> str:
        options = ["-X", "-w", "-At", "-v", "ON_ERROR_STOP=1", "-d", server.url(), "-c", sql]
        command = [str(server.programs / "psql"), *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return statement
