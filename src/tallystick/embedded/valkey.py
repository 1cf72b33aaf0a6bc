"""Valkey 9 as our child, on a Unix socket only. It is a doorbell: nothing of it outlives a stop."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tallystick.embedded import places
from tallystick.embedded.processes import POLL_SECONDS, PROGRESS_SECONDS, Progress, spawn, take_over, wait
from tallystick.embedded.programs import valkey_program
from tallystick.errors import ConfigurationError

logger = logging.getLogger(__name__)

STOP_SECONDS = 10.0
SOCKET_NAME = "valkey.sock"


@dataclass(frozen=True, slots=True)
class _Place:
    home: Path
    sockets: Path

    @property
    def socket(self) -> Path:
        return self.sockets / SOCKET_NAME

    @property
    def log(self) -> Path:
        return self.home / "valkey.log"

    @property
    def marker(self) -> str:
        return places.mark(self.home)


class EmbeddedValkey:
    """A Valkey server in ``data_dir``/valkey, stopped with us. The same shape as EmbeddedPostgres.

    It runs as we do, root included, since it needs nothing that another account must reach.
    """

    def __init__(self, data_dir: Path, *, on_progress: Progress = logger.info) -> None:
        self._data_dir = data_dir
        self._tell = on_progress
        self._lock = places.DirectoryLock("Valkey", "valkey.lock")
        self._place: _Place | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def log_path(self) -> Path:
        """The server's log file. Raises ConfigurationError before the first start."""
        return self._settled().log

    def poll(self) -> int | None:
        """The exit status (-9: SIGKILL) of a server that ended by itself; None while it runs, or stopped."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start and wait until it answers PING; nothing if it runs. Raises ConfigurationError."""
        if self.pid is not None:
            return
        data_dir = places.data_folder(self._data_dir)
        self._lock.acquire(data_dir)
        try:
            place = self._place = _settle(data_dir)
            self._take_over(place)
            self._process = self._launch(place, valkey_program(data_dir / "programs"))
            self._wait_until_ready(place, self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGTERM, after STOP_SECONDS SIGKILL; waits for the end, then frees the lock."""
        try:
            self._end()
        finally:
            self._lock.release()

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        if not wait(self._process, STOP_SECONDS):
            self._tell(f"Valkey did not end within {STOP_SECONDS:.0f} s: killing it")
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a crash would: for fault tests."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop, if it still runs, and start again: empty, on the same URL."""
        self._end()
        self.start()

    def erase(self) -> None:
        """Stop, and delete all of Valkey's files: for demos and tests."""
        data_dir = places.data_folder(self._data_dir)
        self._lock.acquire(data_dir)
        try:
            self._end()
            place = self._place or _settle(data_dir)
            self._take_over(place)
            shutil.rmtree(place.home)
            if place.sockets.exists():
                shutil.rmtree(place.sockets)
            (data_dir / "valkey.lock").unlink()
            self._place = None
        finally:
            self._lock.release()

    def url(self) -> str:
        """``unix:///path/valkey.sock?db=0``, as redis-py's from_url reads it."""
        return f"unix://{quote(str(self._settled().socket), safe='/')}?db=0"

    def _settled(self) -> _Place:
        if self._place is None:
            raise ConfigurationError("the embedded Valkey was not started")
        return self._place

    def _take_over(self, place: _Place) -> None:
        take_over(
            "valkey-server",
            place.marker,
            os.geteuid(),
            steps=[(signal.SIGTERM, True, STOP_SECONDS), (signal.SIGKILL, False, STOP_SECONDS)],
            on_progress=self._tell,
        )

    def _launch(self, place: _Place, program: Path) -> subprocess.Popen[bytes]:
        """SIGKILL is the death signal: nothing of it is worth saving, and nothing can hold SIGKILL up."""
        options = {
            "port": "0",
            "unixsocket": str(place.socket),
            "unixsocketperm": "700",
            "dir": str(place.home),
            "daemonize": "no",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "proc-title-template": f"valkey-server {place.marker}",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        log = places.open_log(place.log)
        try:
            return spawn(
                [program, *arguments], death_signal=signal.SIGKILL, account=None, cwd=place.home, log=log
            )
        finally:
            os.close(log)

    def _wait_until_ready(self, place: _Place, process: subprocess.Popen[bytes]) -> None:
        started = told = time.monotonic()
        while not _answers(place.socket):
            if process.poll() is not None:
                tail = places.log_tail(place.log)
                raise ConfigurationError(f"Valkey gave up ({process.returncode}), see {place.log}:\n{tail}")
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS:
                told = now
                self._tell(
                    f"Valkey is starting ({now - started:.0f} s): {places.log_tail(place.log, lines=1)}"
                )
            time.sleep(POLL_SECONDS)


def _settle(data_dir: Path) -> _Place:
    home = places.private_folder(data_dir / "valkey", None)
    return _Place(home, places.socket_folder(home, SOCKET_NAME, None))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except (FileNotFoundError, ConnectionError, TimeoutError):
            return False  # not listening yet: asked again while its process lives
