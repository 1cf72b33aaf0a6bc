"""Children that die with us, and strays of an earlier life that a new start takes over.

Nothing here trusts a pid by itself: pids are reused. A process is ours when it runs our program, as the
expected user, with our *marker* in its command line (``tallystick-<hash of its directory>``, which both
servers carry in their process title too). On Linux a pidfd holds the process still between the look and the
signal, so an unrelated process can never be hit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tallystick.errors import ConfigurationError

LAUNCHER = Path(__file__).with_name("launch.py")
# Servers get nothing of our environment: PGDATA, PGOPTIONS, LD_LIBRARY_PATH or LD_PRELOAD would change them.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
PROGRESS_SECONDS = 5.0
POLL_SECONDS = 0.01

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Account:
    """A system user that a server runs as. ``name`` is its login name, or its uid where it has none."""

    uid: int
    gid: int
    name: str


def spawn(
    command: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    account: Account | None,
    cwd: Path,
    log: int,
    environment: Mapping[str, str] = ENVIRONMENT,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start ``command`` as our child, in a session of its own, writing to the file descriptor ``log``.

    Its own session keeps the terminal's Ctrl-C from it: we are asked to stop, and stop it in order.
    ``account`` None keeps our user. Raises OSError when no process can be created; what goes wrong after
    that (a user that may not be taken, a missing file) is in the log, and the child ends.
    """
    if not sys.executable:
        raise ConfigurationError("the embedded servers need the path of the Python interpreter")
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    numbers = [str(os.getpid()), str(int(death_signal)), str(uid), str(gid)]
    arguments = [*launcher, *numbers, *map(str, command)]

    def create() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the command is ours, from the wheel
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            env=environment,
            pass_fds=pass_fds,
            umask=0o077,
            start_new_session=True,
        )

    return _in_lasting_thread(create) if sys.platform == "linux" else create()


def _in_lasting_thread(create: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Create the child in a thread that lives as long as the child.

    PR_SET_PDEATHSIG fires when the creating *thread* ends. Whoever calls start() may well be a pool's
    thread that is retired after ten idle seconds (anyio's are); that must not stop a database.
    """
    handed: SimpleQueue[subprocess.Popen[bytes] | BaseException] = SimpleQueue()

    def keep() -> None:
        try:
            process = create()
        except BaseException as error:
            handed.put(error)  # raised by the caller
            return
        handed.put(process)
        # WNOWAIT leaves the reaping to Popen.poll(), so that a pid stays ours until it was looked at.
        # ECHILD says that poll() was quicker: the child has ended all the same.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    threading.Thread(target=keep, name="tallystick-embedded", daemon=True).start()
    result = handed.get()
    if isinstance(result, BaseException):
        raise result
    return result


def wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait up to ``seconds`` for the child's end; True when it has ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def run(
    command: Sequence[str | Path],
    *,
    account: Account | None = None,
    cwd: Path | str = "/",
    environment: Mapping[str, str] = ENVIRONMENT,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a short program to its end, as ``account``, capturing its output. Raises OSError if it cannot."""
    drop = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]  # noqa: S603 - our own command
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        input=stdin if stdin is not None else "",
        text=True,
        errors="replace",
        capture_output=True,
        check=False,
        umask=0o077,
        **drop,
    )


@dataclass(frozen=True, slots=True)
class Stray:
    """A running process of ours. ``leader`` is the server itself, not one of its workers."""

    pid: int
    leader: bool


def find_strays(program: str, marker: str, uid: int) -> list[Stray]:
    """All running processes of ``program`` that carry ``marker`` and belong to ``uid``."""
    strays = []
    for pid, owner, arguments in _processes():
        title = arguments[0].rsplit("/", 1)[-1]
        if owner == uid and title.startswith(program) and marker in " ".join(arguments):
            strays.append(Stray(pid, leader=program != "postgres" or marker not in title))
    return strays


def command_line(pid: int) -> list[str]:
    """The arguments of a running process; empty when there is none (a zombie has none)."""
    return next((arguments for other, _, arguments in _processes(pid) if other == pid), [])


def _processes(only: int | None = None) -> Iterator[tuple[int, int, list[str]]]:
    """(pid, uid, arguments) of the running processes that have arguments."""
    if sys.platform != "linux":
        yield from _processes_by_ps()
        return
    folders = [Path("/proc", str(only))] if only else [p for p in Path("/proc").iterdir() if p.name.isdigit()]
    for folder in folders:
        try:
            owner = folder.stat().st_uid
            raw = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or another user's behind hidepid: not ours
        arguments = os.fsdecode(raw).rstrip("\0 ").split("\0")
        if arguments[0]:
            yield int(folder.name), owner, arguments


def _processes_by_ps() -> Iterator[tuple[int, int, list[str]]]:
    listing = run(["/bin/ps", "-axww", "-o", "pid=,uid=,command="]).stdout
    for line in listing.splitlines():
        pid, uid, *command = line.split(None, 2)
        if command:
            # ps joins the arguments; splitting at " -" keeps a program path that holds a space whole.
            yield int(pid), int(uid), command[0].split(" -")


def take_over(
    program: str,
    marker: str,
    uid: int,
    *,
    steps: Sequence[tuple[signal.Signals, bool, float]],
    on_progress: Progress,
) -> None:
    """End what an earlier life left running, gently first.

    ``steps`` are (signal, only the leader, seconds to wait for it); the last one waits without limit, telling
    progress, since starting beside a living server is never right.
    """
    for index, (number, leaders_only, seconds) in enumerate(steps):
        strays = find_strays(program, marker, uid)
        targets = [stray for stray in strays if stray.leader or not leaders_only]
        if not strays:
            return
        if not targets:
            continue
        on_progress(f"Taking over: {program} of an earlier start still runs, sending {number.name}")
        for stray in targets:
            _signal_if_ours(stray.pid, number, lambda: find_strays(program, marker, uid))
        last = index == len(steps) - 1
        if _all_gone(program, marker, uid, None if last else seconds, on_progress):
            return


def _all_gone(program: str, marker: str, uid: int, seconds: float | None, on_progress: Progress) -> bool:
    started = told = time.monotonic()
    while find_strays(program, marker, uid):
        now = time.monotonic()
        if seconds is not None and now - started > seconds:
            return False
        if now - told >= PROGRESS_SECONDS:
            told = now
            on_progress(f"Waiting for {program} of an earlier start to end ({now - started:.0f} s)")
        time.sleep(POLL_SECONDS * 2)
    return True


def _signal_if_ours(pid: int, number: signal.Signals, look: Callable[[], list[Stray]]) -> None:
    """Signal ``pid`` if, held still, it is among ``look()``."""
    with suppress(ProcessLookupError):  # it ended by itself, which is what we want
        if sys.platform != "linux":
            os.kill(pid, number)
            return
        handle = os.pidfd_open(pid)
        try:
            if any(stray.pid == pid for stray in look()):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
