"""A parent to be killed: starts both servers in argv[1], prints a line, sleeps. argv[2] "orphans" leaves the
death signal out, as on a system that has none."""

import signal
import sys
import threading
from functools import partial
from pathlib import Path
from signal import SIGINT, Signals
from unittest.mock import patch

from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey, postgres, processes, valkey


def main(data_dir: Path, *, orphans: bool) -> None:
    """Run until killed."""
    if orphans:
        spawn = processes.spawn

        def bare(*args: object, death_signal: Signals, **kwargs: object) -> object:
            return partial(spawn, death_signal=0)(*args, **kwargs)  # type: ignore[arg-type]

        for module in (postgres, valkey):
            patch.object(module, "spawn", bare).start()
    signal.signal(SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
    servers = EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)
    for server in servers:
        server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), orphans=sys.argv[2:] == ["orphans"])
