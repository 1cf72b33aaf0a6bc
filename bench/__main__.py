"""``make bench``: how fast the parts are on this machine, beside the machine's own limits in the same run.

    python -m bench [AREA …] [--events N] [--seconds S]

Embedded PostgreSQL and Valkey, fsync on. Figures are for comparing within one run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

import uvloop

from bench import events, growth, ledger, ledger_reading, notices, payments, pipeline, rebuild
from bench.machine import Machine
from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey

AREAS: Final[dict[str, Callable[[Machine], Coroutine[None, None, None]]]] = {
    "events": events.run,
    "pipeline": pipeline.run,
    "notices": notices.run,
    "payments": payments.run,
    "growth": growth.run,
    "ledger": ledger.run,
    "reading": ledger_reading.run,
    "rebuild": rebuild.run,
}
"""What can be measured, each over databases of its own."""


def main() -> None:
    """Parse, start the servers in a temporary folder, measure, remove them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"{', '.join(AREAS)} (default: all)")
    parser.add_argument("--events", type=int, default=20_000, help="events to take in (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a load (default: %(default)s)")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows for the growth to reach (default: %(default)s)"
    )
    parser.add_argument("--pgledger", type=Path, help="pgledger's SQL, to measure its transfers beside ours")
    given = parser.parse_args()
    if unknown := set(given.areas) - set(AREAS):
        parser.error(f"no such area: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    folder.chmod(0o711)
    postgres, valkey = EmbeddedPostgres(folder), EmbeddedValkey(folder)
    try:
        postgres.start()
        valkey.start()
        machine = Machine(
            postgres,
            valkey,
            events=given.events,
            seconds=given.seconds,
            rows=given.rows,
            pgledger=given.pgledger,
        )
        print(f"{os.cpu_count()} processors")
        for area in given.areas or AREAS:
            print(f"\n{area}")
            uvloop.run(AREAS[area](machine))
    finally:
        valkey.stop()
        postgres.erase()
        shutil.rmtree(folder, ignore_errors=True)


main()
