"""Becomes a server that dies with its parent. Run as a script, never imported by the rest of the package.

    python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM ARGUMENT…

A step of its own rather than ``preexec_fn``: Python code between fork and exec can deadlock in a process
that has threads, and a server is restarted while the application's threads run.

Order matters: Linux clears the death signal when a process changes its user, so the user goes first. Then,
since the parent may have died before the signal was armed, its pid is looked at once more.
``UID`` -1 keeps the user. ``DEATH_SIGNAL`` 0, or any system but Linux, arms nothing: there an orphan is
taken over by the next start.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_ORPHANED = 125


def launch(arguments: list[str]) -> None:
    """Drop to the user, arm the death signal, then become the program. Returns only by an error."""
    parent, death_signal, uid, gid = (int(value) for value in arguments[:4])
    command = arguments[4:]
    # What our parent ignores stays ignored across exec: SIGINT under a shell's "&", SIGPIPE under Python. A
    # death signal that comes before the server has its handlers must end it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux" and death_signal:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:
            sys.exit(EXIT_ORPHANED)
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    launch(sys.argv[1:])
