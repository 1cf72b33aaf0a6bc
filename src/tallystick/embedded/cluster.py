"""Where PostgreSQL's files lie, who owns them, and how a cluster comes to be.

An ordinary user: everything in ``<data directory>/postgres``, run from the wheel, no copies.

Root: PostgreSQL refuses to run as root, so it runs as an unprivileged account, which must reach its files.

* If the account can enter the data directory, the files lie in ``<data directory>/postgres`` as well.
* If it cannot (``/root`` is 0700, and never ours to chmod), they lie in ``/var/lib/tallystick/<hash of the
  data directory>``: persistent as nothing under /tmp is, and the customary place for a daemon's state.
  ``<data directory>/postgres.location`` names that folder, and ``data-directory`` in it names the data
  directory back. A data directory that was moved takes its files along; a copy of one is refused while the
  original exists; if the named folder is gone, the start is refused, never an empty ledger begun.

    postgres/            root's 0711, or ours 0700
      cluster/           PGDATA, the account's, 0700
      cluster.new-…/     an initdb under way or interrupted; swept at the next start
      run/               the socket, the account's, 0700 (elsewhere if its path would be too long)
      postgres.log       moved to postgres.log.1 past 10 MiB at a start
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tallystick.embedded import places
from tallystick.embedded.processes import PROGRESS_SECONDS, Account, Progress, command_line, run, spawn, wait
from tallystick.embedded.programs import postgres_programs
from tallystick.errors import ConfigurationError

PORT = 5432  # only part of the socket's name: nothing listens on TCP
SOCKET_NAME = f".s.PGSQL.{PORT}"
SUPERUSER = "tallystick"
SERVICE = "tallystick_service"
"""The role that the API and the worker connect as: it owns nothing, and can only add to the ledger."""
_POINTER = "postgres.location"
_BACK_POINTER = "data-directory"
# Code point order, and the same on every machine and after every upgrade of its C library.
_INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth-local=trust",  # whoever gets into the 0700 socket folder owns the files anyway
    "--auth-host=reject",
    "--no-instructions",
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A settled place: ``account`` is None where PostgreSQL runs as we do."""

    home: Path
    account: Account | None
    programs: Path
    sockets: Path

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "postgres.log"

    @property
    def marker(self) -> str:
        """What the server and its workers carry in their command lines."""
        return places.mark(self.data)

    @property
    def uid(self) -> int:
        """The user that the server runs as."""
        return self.account.uid if self.account else os.geteuid()


def settle(data_dir: Path, on_progress: Progress) -> Cluster:
    """Find or choose home, account, programs and socket folder. Raises ConfigurationError with what to do."""
    home = _known_home(data_dir)
    account = None
    if os.geteuid() == 0:
        if home is not None and (home / "cluster").exists():
            account = _owner(home / "cluster")
            if not places.reachable(home, account):
                raise ConfigurationError(
                    f"{home} cannot be entered by its account {account.name}: open its parents"
                )
        elif home is not None:
            account = places.usable_accounts([])[0]
        else:
            home, account = _choose(data_dir, on_progress)
    elif home is None:
        home = data_dir / "postgres"
        places.make_folder(home, 0o700)
    copies = places.SYSTEM_HOME if account else data_dir / "programs"
    programs = postgres_programs(account, copies)
    cluster = Cluster(home, account, programs, places.socket_folder(home / "run", SOCKET_NAME, account))
    _check_owner_and_version(cluster)
    return cluster


def _owner(path: Path) -> Account:
    found = path.stat()
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:  # an account since removed: its files still say who runs it
        name = str(found.st_uid)
    if found.st_uid == 0:
        raise ConfigurationError(f"{path} belongs to root, as whom PostgreSQL refuses to run: chown it")
    return Account(found.st_uid, found.st_gid, name)


def _known_home(data_dir: Path) -> Path | None:
    """The home that an earlier start chose; None at the first one."""
    pointer = data_dir / _POINTER
    if not pointer.exists():
        inside = data_dir / "postgres"
        return inside if (inside / "cluster").exists() else None
    home = Path(pointer.read_text().strip())
    back_pointer = home / _BACK_POINTER
    if not back_pointer.exists():
        raise ConfigurationError(
            f"PostgreSQL's files of {data_dir} should be in {home}, but are not there: bring them "
            f"back from a backup, or remove {pointer} to begin with an empty database"
        )
    written = Path(back_pointer.read_text().strip())
    if written != data_dir:
        if (written / _POINTER).exists():
            raise ConfigurationError(
                f"{data_dir} is a copy of {written}: remove {pointer} to begin anew there"
            )
        _write(back_pointer, f"{data_dir}\n")
    return home


def _choose(data_dir: Path, on_progress: Progress) -> tuple[Path, Account]:
    """Root's first start: inside the data directory if an account gets there, else in SYSTEM_HOME."""
    owner = data_dir.stat().st_uid
    accounts = places.usable_accounts([owner] if owner else [])
    for account in accounts:
        if places.reachable(data_dir, account):
            places.make_folder(data_dir / "postgres", 0o711)
            return data_dir / "postgres", account
    number, home = 1, places.SYSTEM_HOME / places.mark(data_dir)
    while (
        home / "cluster"
    ).exists():  # of a data directory removed since: kept, as it may be someone's books
        on_progress(f"{home} keeps the database of a former {data_dir}: remove it if it is not needed")
        number += 1
        home = places.SYSTEM_HOME / f"{places.mark(data_dir)}-{number}"
    places.make_folder(places.SYSTEM_HOME, 0o711)
    places.make_folder(home, 0o711)
    if not places.reachable(home, accounts[0]):
        raise ConfigurationError(
            f"{home} cannot be entered by {accounts[0].name}: choose another data directory"
        )
    _write(home / _BACK_POINTER, f"{data_dir}\n")
    _write(data_dir / _POINTER, f"{home}\n")
    on_progress(
        f"PostgreSQL's files lie in {home}: {accounts[0].name}, as whom it runs, cannot enter {data_dir}"
    )
    return home, accounts[0]


def _write(path: Path, text: str) -> None:
    """Replace a small file at once and durably."""
    staging = path.with_name(path.name + ".new")
    with staging.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_owner_and_version(cluster: Cluster) -> None:
    if not cluster.data.exists():
        return
    owner = cluster.data.stat().st_uid
    if owner != cluster.uid:
        raise ConfigurationError(f"{cluster.data} belongs to uid {owner}: start as that user, or as root")
    # "postgres (PostgreSQL) 18.6"
    answer = run([cluster.programs / "postgres", "--version"]).stdout
    ours = answer.rsplit(None, 1)[-1].split(".")[0]
    theirs = (cluster.data / "PG_VERSION").read_text().strip()
    if ours != theirs:
        raise ConfigurationError(
            f"{cluster.data} was made by PostgreSQL {theirs}, this is {ours}: pg_dump it with the former "
            "version and restore it into a new data directory"
        )


def clear_leftovers(cluster: Cluster) -> None:
    """Sweep interrupted initdbs, and a postmaster.pid whose pid now belongs to an unrelated process.

    Call with the lock held and strays taken over. PostgreSQL itself passes over a dead pid, but refuses to
    start when the pid lives, as it would after a reboot. Raises ConfigurationError when it is a PostgreSQL
    that someone started by hand on this directory: it is not ours to stop.
    """
    for staging in cluster.home.glob("cluster.new-*"):
        # An initdb that lost its parent just now sweeps here as well. What remains harms nobody: the name is
        # random, and the next start sweeps again.
        shutil.rmtree(staging, ignore_errors=True)
    for lock in (cluster.data / "postmaster.pid", cluster.sockets / f"{SOCKET_NAME}.lock"):
        with suppress(
            FileNotFoundError, ValueError
        ):  # not there, or cut short by a crash: postgres handles it
            pid = abs(int(lock.read_text().split("\n", 1)[0]))
            title = command_line(pid)[:1] or [""]
            if "postgres" in title[0].rsplit("/", 1)[-1] and _works_in(pid, cluster.data):
                raise ConfigurationError(
                    f"another PostgreSQL (process {pid}) runs on {cluster.data}: stop it"
                )
            if _exists(pid):  # another program's, or a zombie that a container's first process never reaps
                lock.unlink()


def erase(cluster: Cluster, data_dir: Path) -> None:
    """Delete all files of a stopped cluster."""
    (data_dir / _POINTER).unlink(missing_ok=True)  # first: cut short here, the files are kept, not missed
    shutil.rmtree(cluster.home)
    if cluster.sockets.exists():
        shutil.rmtree(cluster.sockets)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _works_in(pid: int, folder: Path) -> bool:
    """Whether a process has its working directory there; True when that cannot be seen: better safe."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return True


def initialise(cluster: Cluster, on_progress: Progress) -> None:
    """Make the cluster if there is none: beside its place, then renamed, never half a one."""
    if cluster.data.exists():
        return
    on_progress("Creating the PostgreSQL cluster (once)")
    staging = places.private_folder(cluster.home / f"cluster.new-{secrets.token_hex(4)}", cluster.account)
    log = places.open_log(cluster.log)
    started = time.monotonic()
    try:
        process = spawn(
            [cluster.programs / "initdb", "-D", staging, *_INITDB_OPTIONS],
            death_signal=signal.SIGTERM,  # initdb then sweeps up behind itself
            account=cluster.account,
            cwd=staging,
            log=log,
        )
    finally:
        os.close(log)
    try:
        while not wait(process, PROGRESS_SECONDS):
            on_progress(f"Still creating the PostgreSQL cluster ({time.monotonic() - started:.0f} s)")
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0:
        shutil.rmtree(staging)
        raise ConfigurationError(f"initdb failed ({process.returncode}):\n{places.log_tail(cluster.log)}")
    staging.rename(cluster.data)
    _sync_folder(cluster.home)
