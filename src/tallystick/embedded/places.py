"""Where things lie: the lock, the accounts, the folders, the logs.

Rules kept here: a folder that is not ours is never chmodded; root never opens a file in a folder that
another user may write without ``O_NOFOLLOW``; a folder found with another owner or mode is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from tallystick.embedded.processes import Account, run
from tallystick.errors import ConfigurationError

# Root's folder for what an unprivileged account must reach: persistent, and traversable on every system.
SYSTEM_HOME = Path("/var/lib/tallystick")
# sun_path holds 108 bytes on Linux and 104 elsewhere, the last one a NUL.
SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
LOG_BYTES = 10 * 1024 * 1024

_held_locks: set[int] = set()


def _forget_locks() -> None:
    """In a forked child: close the copies, so that an orphan never holds a directory against a new start."""
    for descriptor in _held_locks:
        os.close(descriptor)
    _held_locks.clear()


os.register_at_fork(after_in_child=_forget_locks)


class DirectoryLock:
    """One start at a time on a directory, by flock: the kernel drops it with our process, kill -9 too."""

    def __init__(self, what: str, name: str) -> None:
        self._what = what
        self._name = name
        self._descriptor: int | None = None

    def acquire(self, folder: Path) -> None:
        """Take the lock, unless held already, or raise ConfigurationError naming the process that has it."""
        if self._descriptor is not None:
            return
        path = folder / self._name
        descriptor = _open_ours(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigurationError(
                f"{self._what} in {folder} is in use by another start (process {holder}): "
                "stop that one, or choose another data directory"
            ) from None
        if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
            os.close(descriptor)  # erased between our open and our flock: this is no longer the lock
            self.acquire(folder)
            return
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        _held_locks.add(descriptor)

    def release(self) -> None:
        """Give the lock back, if held. The file stays: to unlink it would race."""
        if self._descriptor is not None:
            if self._descriptor in _held_locks:  # not so in a forked child, where it is closed
                _held_locks.remove(self._descriptor)
                os.close(self._descriptor)
            self._descriptor = None


def _open_ours(path: Path, flags: int) -> int:
    """Open a file of ours, 0600, no symbolic link; the folder's owner gets it, not root on its behalf."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot open {path}: {error.strerror}") from error
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def open_log(path: Path) -> int:
    """Open a log for appending; past LOG_BYTES it is moved to ``<name>.1`` first. The caller closes it."""
    if path.is_file() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return _open_ours(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def log_tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message; empty when there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def data_folder(path: Path) -> Path:
    """The resolved data directory, created if missing: 0700, as root 0711 (accounts pass through)."""
    path = path.expanduser().resolve()
    if not path.exists():
        make_folder(path, 0o711 if os.geteuid() == 0 else 0o700)
    if not path.is_dir():
        raise ConfigurationError(f"the data directory {path} is no directory")
    return path


def make_folder(path: Path, mode: int) -> None:
    """Create a folder with exactly ``mode``, whatever the umask; an existing one is left as it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigurationError(f"cannot create {path}: {error.strerror}") from error
    path.chmod(mode)


def private_folder(path: Path, account: Account | None) -> Path:
    """A 0700 folder of the account's own (``account`` None: ours), checked if it is there already."""
    uid = account.uid if account else os.geteuid()
    make_folder(path, 0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()):
        raise ConfigurationError(f"{path} belongs to someone else: remove it")
    if stat.S_IMODE(found.st_mode) != 0o700:
        raise ConfigurationError(f"{path} must have mode 0700: remove it, or put that right")
    if account and found.st_uid != uid:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    return path


def mark(path: Path) -> str:
    """A short name for a path, the same at every start: ``tallystick-<16 hex digits>``."""
    return f"tallystick-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def socket_folder(preferred: Path, socket_name: str, account: Account | None) -> Path:
    """``preferred``, or a short folder where the socket's path would be too long or hard to put in a URL.

    The short one is in /run for root, else in /tmp (tempfile.gettempdir() may itself be long): a fixed name
    from ``preferred``, and refused if someone else made it first. XDG_RUNTIME_DIR would vanish at logout.
    """
    plain = re.fullmatch(r"[A-Za-z0-9_./-]+", str(preferred))
    if plain and len(os.fsencode(preferred / socket_name)) <= SOCKET_PATH_BYTES:
        return private_folder(preferred, account)
    base = Path("/run")
    if os.geteuid() != 0 or not os.access(base, os.W_OK):
        base = Path("/tmp")  # noqa: S108 - private_folder refuses what is not ours
    return private_folder(base / mark(preferred), account)


def usable_accounts(first: Iterable[int]) -> list[Account]:
    """Unprivileged accounts that we, being root, can really become; ``first`` are uids to try before others.

    ``tallystick`` if someone made it; then ``postgres``, which few other daemons share; ``nobody`` last, as
    any other daemon of that name could signal ours.
    """
    accounts: list[Account] = []
    keys: list[int | str] = [*first, "tallystick", "postgres", "nobody", "daemon"]
    for key in keys:
        try:
            entry = pwd.getpwuid(key) if isinstance(key, int) else pwd.getpwnam(key)
        except KeyError:
            continue
        account = Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
        if account.uid != 0 and account not in accounts and succeeds(["/bin/sh", "-c", ":"], account):
            accounts.append(account)
    if not accounts:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root, and no other account can be used: start as an ordinary user, "
            "add an account named tallystick, or set DATABASE_URL"
        )
    return accounts


def reachable(folder: Path, account: Account) -> bool:
    """Whether the account can enter the folder: tried, not computed, so that ACLs count too."""
    return succeeds(["/bin/sh", "-c", 'cd -- "$0"', str(folder)], account)


def succeeds(command: list[str], account: Account | None) -> bool:
    """Whether a short program, run as the account, ends with status 0."""
    try:
        return run(command, account=account).returncode == 0
    except OSError:  # no right to become the account, or none to execute the file: the answer is no
        return False
