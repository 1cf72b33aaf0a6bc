"""PostgreSQL 18 as our child, on a Unix socket only, with full durability."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tallystick.embedded import places
from tallystick.embedded.cluster import (
    PORT,
    SERVICE,
    SUPERUSER,
    Cluster,
    clear_leftovers,
    erase,
    initialise,
    settle,
)
from tallystick.embedded.processes import (
    POLL_SECONDS,
    PROGRESS_SECONDS,
    Progress,
    run,
    spawn,
    take_over,
    wait,
)
from tallystick.errors import ConfigurationError

logger = logging.getLogger(__name__)

FAST_SHUTDOWN_SECONDS = 60.0  # a checkpoint of all that 128 MB of buffers hold, on a slow disk
IMMEDIATE_SHUTDOWN_SECONDS = 10.0
# fsync, synchronous_commit and full_page_writes are the defaults too; named, since everything rests on them.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",  # costs more than it gains on short statements
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_startup_progress_interval": "5s",  # recovery tells how far it is; passed on to on_progress
}


class EmbeddedPostgres:
    """A PostgreSQL server in ``data_dir``, stopped with us: by ``stop()``, or by the kernel if we are killed.

    ``on_progress`` gets one line of text whenever something takes its time (default: this module's log).
    Not for use by several threads at once; any thread may call it, one after the other.
    """

    def __init__(self, data_dir: Path, *, on_progress: Progress = logger.info) -> None:
        self._data_dir = data_dir
        self._tell = on_progress
        self._lock = places.DirectoryLock("PostgreSQL", "postgres.lock")
        self._cluster: Cluster | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._databases: set[str] = set()

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

    @property
    def programs(self) -> Path:
        """The folder of psql, pg_dump and the others. Raises ConfigurationError before the first start."""
        return self._settled().programs

    def poll(self) -> int | None:
        """The exit status (-9: SIGKILL) of a server that ended by itself; None while it runs, or stopped."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start and wait until connections are accepted, however long recovery takes. Nothing if it runs.

        Creates the cluster and the database ``tallystick`` if missing; takes over what an earlier start left
        behind. Raises ConfigurationError when the directory is in use or the server gives up.
        """
        if self.pid is not None:
            return
        data_dir = places.data_folder(self._data_dir)
        self._lock.acquire(data_dir)
        try:
            cluster = self._cluster = settle(data_dir, self._tell)
            self._take_over(cluster)
            clear_leftovers(cluster)
            initialise(cluster, self._tell)
            self._process = self._launch(cluster)
            self._wait_until_ready(cluster, self._process)
            self._databases.clear()
            self.url()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast shutdown (SIGINT): sessions end, a checkpoint is written. Waits for it, then frees the lock.

        After FAST_SHUTDOWN_SECONDS an immediate one (SIGQUIT), at last SIGKILL; both cost only a recovery.
        """
        try:
            self._end()
        finally:
            self._lock.release()

    def _end(self) -> None:
        if self._process is None:
            return
        for number, seconds in (
            (signal.SIGINT, FAST_SHUTDOWN_SECONDS),
            (signal.SIGQUIT, IMMEDIATE_SHUTDOWN_SECONDS),
        ):
            self._process.send_signal(number)
            if wait(self._process, seconds):
                break
            self._tell(f"PostgreSQL did not end within {seconds:.0f} s of {number.name}")
        else:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a crash would: for fault tests. poll() tells of it; start() or restart() recovers."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop, if it still runs, and start again on the same directory and the same URL."""
        self._end()
        self.start()

    def erase(self) -> None:
        """Stop, and delete all of PostgreSQL's files, wherever they lie: for demos and tests."""
        data_dir = places.data_folder(self._data_dir)
        self._lock.acquire(data_dir)
        try:
            self._end()
            cluster = self._cluster or settle(data_dir, self._tell)
            self._take_over(cluster)
            erase(cluster, data_dir)
            (data_dir / "postgres.lock").unlink()
            self._cluster = None
        finally:
            self._lock.release()

    def url(self, database: str = "tallystick", *, role: str = SUPERUSER) -> str:
        """The libpq URL of a database, created if missing (asked of the server once a start).

        ``postgresql://ROLE@/DATABASE?host=SOCKET_FOLDER&port=5432``: no password, the folder is 0700.
        Good for asyncpg, for libpq, and with ``postgresql+asyncpg`` for SQLAlchemy. The port is part of the
        socket's name, and named so that PGPORT in the environment cannot change it.
        """
        cluster = self._settled()
        if database not in self._databases:
            if self.pid is None:
                raise ConfigurationError("the embedded PostgreSQL does not run")
            self._create(cluster, database)
            self._databases.add(database)
        host = quote(str(cluster.sockets), safe="/")
        return f"postgresql://{role}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def _settled(self) -> Cluster:
        if self._cluster is None:
            raise ConfigurationError("the embedded PostgreSQL was not started")
        return self._cluster

    def _take_over(self, cluster: Cluster) -> None:
        take_over(
            "postgres",
            cluster.marker,
            cluster.uid,
            steps=[
                (signal.SIGINT, True, FAST_SHUTDOWN_SECONDS),
                (signal.SIGQUIT, False, IMMEDIATE_SHUTDOWN_SECONDS),
                (signal.SIGKILL, False, IMMEDIATE_SHUTDOWN_SECONDS),
            ],
            on_progress=self._tell,
        )

    def _launch(self, cluster: Cluster) -> subprocess.Popen[bytes]:
        """SIGINT is the death signal: after a fast shutdown the next start has nothing to recover.

        SIGQUIT would end sooner by a moment, at the price of a recovery; both keep every commit.
        """
        settings = SETTINGS | {
            "unix_socket_directories": str(cluster.sockets),
            "cluster_name": cluster.marker,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = places.open_log(cluster.log)
        try:
            return spawn(
                [cluster.programs / "postgres", "-D", cluster.data, *options],
                death_signal=signal.SIGINT,
                account=cluster.account,
                cwd=cluster.data,
                log=log,
            )
        finally:
            os.close(log)

    def _wait_until_ready(self, cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
        """No time limit: a recovery takes what it takes, and ends with "ready" or with the process."""
        started = told = time.monotonic()
        while not _says_ready(cluster.data / "postmaster.pid", process.pid):
            if process.poll() is not None:
                tail = places.log_tail(cluster.log)
                raise ConfigurationError(
                    f"PostgreSQL gave up ({process.returncode}), see {cluster.log}:\n{tail}"
                )
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS:
                told = now
                line = places.log_tail(cluster.log, lines=1)
                self._tell(f"PostgreSQL is starting or recovering ({now - started:.0f} s): {line}")
            time.sleep(POLL_SECONDS)

    def _create(self, cluster: Cluster, database: str) -> None:
        connection: list[str | Path] = [
            "-h",
            cluster.sockets,
            "-p",
            str(PORT),
            "-U",
            SUPERUSER,
            "-d",
            "postgres",
        ]
        statement = (
            "SELECT format('CREATE DATABASE %I', :'name')"
            " WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec\n"
            f"SELECT 'CREATE ROLE {SERVICE} LOGIN'"
            f" WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{SERVICE}') \\gexec\n"
        )
        flags = ["-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-v", f"name={database}"]
        done = run([cluster.programs / "psql", *flags, *connection], stdin=statement)
        if done.returncode != 0:
            raise ConfigurationError(f"cannot create the database {database}: {done.stderr.strip()}")


def _says_ready(pid_file: Path, pid: int) -> bool:
    """The eighth line of postmaster.pid is the status; the first one says whose file it is."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"
