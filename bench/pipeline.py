"""The pipeline as it runs: one API process, one worker process, PostgreSQL and Valkey, all on this machine.

Events are 1.7 KB, four to a payment, as Stripe sends them. What the worker would ask Stripe (the fees) is
left out: the address given as Stripe's takes connections and says nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json

from bench.events import story_of
from bench.machine import Machine, bare_inserts, measured, ratio, say
from bench.webhooks import SECRET
from tallystick.embedded import EmbeddedPostgres
from tallystick.embedded.cluster import SERVICE
from tallystick.embedded.sockets import listen

_BATCH: Final = 200
_CONNECTIONS: Final = 32
_EVENT_BYTES: Final = 1700
_BURST: Final = 10_000
_STEADY: Final = 100
_PATIENCE_S: Final = 300.0

_stories = itertools.count(1)

_LEFT = text("SELECT count(*) FROM webhook_events WHERE status = 'pending'")
_COMMITTED = text("""
SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM webhook_events
""")


async def run(machine: Machine) -> None:
    """Intake alone, then the worker alone, both beside each other, a steady trickle, and a burst."""
    await _with_commit_times(machine)
    count = machine.events
    with TemporaryDirectory(prefix="tallystick-bench-") as folder:
        bare_http = await _bare_http(events_of(count))
        async with machine.database("bench_bare_rows") as engine:
            bare_rows = await measured(
                f"bare rows inserted, committed by {_BATCH}",
                count,
                lambda: bare_inserts(engine, count, batch=_BATCH),
            )
        async with installed(machine, "bench_apart", Path(folder)) as house:
            await _apart(house, count, bare_http, bare_rows)
        async with installed(machine, "bench_beside", Path(folder)) as house:
            await _beside(house, count, bare_http)
            await _steady(house, int(_STEADY * machine.seconds))
            await _burst(house)


async def _apart(house: House, count: int, bare_http: float, bare_rows: float) -> None:
    """The API with no worker, then the worker with no API, on what the API took in."""
    with house.running("serve", "--fd", str(house.sock.fileno())):
        await house.answers()
        sent = await house.deliver(events_of(count))
        acknowledged = count / sent["seconds"]
    say(f"events acknowledged, {_CONNECTIONS} connections", f"{acknowledged:,.0f} /s")
    ratio("  : bare HTTP answers", acknowledged / bare_http)
    with house.running("worker") as worker:
        await house.until_left(lambda left: left < count)
        begun, left = time.perf_counter(), await house.left()
        await house.until_left(lambda now: now == 0)
        processed = left / (time.perf_counter() - begun)
        say("events processed to committed ledger and status", f"{processed:,.0f} /s")
        ratio("  : bare rows", processed / bare_rows)
        say("  the worker's memory", f"{rss_mb(worker):,.0f} MB")


async def _beside(house: House, count: int, bare_http: float) -> None:
    """Both at once: from the first delivery to the last commit."""
    house.start("serve", "--fd", str(house.sock.fileno()))
    house.start("worker")
    await house.answers()
    quarter = count // 4
    for number in range(4):
        begun = time.perf_counter()
        events = events_of(quarter)
        used = house.cpu_seconds()
        begun = time.perf_counter()
        sent = await house.deliver(events)
        await house.until_left(lambda now: now == 0)
        used = {name: seconds - used[name] for name, seconds in house.cpu_seconds().items()}
        rate = quarter / (time.perf_counter() - begun)
        api, worker = house.processes
        name = f"events through API and worker together, part {number + 1}"
        say(name, f"{rate:,.0f} /s")
        say("  acknowledged", f"{quarter / sent['seconds']:,.0f} /s")
        micros = ", ".join(f"{name} {1e6 * seconds / quarter:,.0f}" for name, seconds in used.items())
        say("  processor time of an event", f"{micros} µs")
        say("  memory of API, worker", f"{rss_mb(api):,.0f}, {rss_mb(worker):,.0f} MB")
    ratio("  the last part : bare HTTP answers", rate / bare_http)


async def _steady(house: House, count: int) -> None:
    """From the moment of sending to the commit of the effects."""
    events = events_of(count)
    sent = await house.deliver(events, rate=_STEADY)
    await house.until_left(lambda now: now == 0)
    committed = await house.commit_times()
    waits = sorted(committed[event["id"]] - at for event, at in zip(events, sent["sent"], strict=True))
    for share in (0.5, 0.99):
        name = f"{_STEADY} a second: from sending to committed effects, p{share * 100:g}"
        say(name, f"{1000 * waits[int(share * len(waits))]:,.1f} ms")


async def _burst(house: House) -> None:
    begun = time.perf_counter()
    await house.deliver(events_of(_BURST), connections=4 * _CONNECTIONS)
    await house.until_left(lambda now: now == 0)
    say(
        f"a burst of {_BURST:,}: from the first delivery to the last effect",
        f"{time.perf_counter() - begun:,.1f} s",
    )


def events_of(count: int) -> list[Json]:
    """Events of payments that succeed, none told before, each filled up to the size that Stripe's have."""
    payments = -(-count // 4)
    events = story_of(payments, next(_stories) * 1_000_000).events[:count]
    for event in events:
        room = _EVENT_BYTES - len(orjson.dumps(event)) - len(',"padding":""')
        event["data"]["object"]["padding"] = "x" * max(0, room)
    return events


@dataclass
class House:
    """A database, a socket for the API, and processes on them."""

    postgres: EmbeddedPostgres
    engine: AsyncEngine
    sock: socket.socket
    environment: dict[str, str]
    folder: Path
    stack: ExitStack

    def __post_init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a process of Tallystick that ends with the house."""
        process = self.stack.enter_context(self.running(*command))
        self.processes.append(process)
        return process

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process of Tallystick, for the length of the block."""
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tallystick", *command],
                env=self.environment, stdout=log, stderr=log, pass_fds=(self.sock.fileno(),),
            )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()

    async def answers(self) -> None:
        """Until the API takes requests: the socket is there before it, so the first answer says so."""
        reader, writer = await asyncio.open_connection(*self.sock.getsockname())
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        assert b" 200 " in await reader.readline()
        writer.close()

    async def deliver(
        self, events: Sequence[Json], *, connections: int = _CONNECTIONS, rate: float = 0
    ) -> dict[str, Any]:
        """Deliver all, by a process of its own; what ``bench.webhooks`` prints."""
        return await deliver(self.sock.getsockname()[1], events, connections, rate)

    async def left(self) -> int:
        """Events that are not processed yet."""
        async with self.engine.connect() as connection:
            return int((await connection.execute(_LEFT)).scalar_one())

    async def until_left(self, enough: Any) -> None:
        """Until so many are left, looked at all few milliseconds.

        To count a long inbox takes a while itself, so the looks get rarer with it: what is measured has the
        processors for itself for all but a twentieth of the time.
        """
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                begun = time.perf_counter()
                if enough(await self.left()):
                    return
                await asyncio.sleep(max(0.02, 20 * (time.perf_counter() - begun)))

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time that each of the started processes, and PostgreSQL, have used."""
        api, worker = self.processes
        server = self.postgres.pid
        assert server is not None
        backends = sum(cpu_seconds(pid) for pid in [server, *children(server)])
        return {"API": cpu_seconds(api.pid), "worker": cpu_seconds(worker.pid), "PostgreSQL": backends}

    async def commit_times(self) -> dict[str, float]:
        """Seconds since 1970 at which each event's row was last committed."""
        async with self.engine.connect() as connection:
            return {row.id: row.at for row in await connection.execute(_COMMITTED)}


@asynccontextmanager
async def installed(machine: Machine, name: str, folder: Path) -> AsyncIterator[House]:
    """A fresh installation; its processes end with the block."""
    async with machine.database(name) as engine:
        with listen("127.0.0.1", 0) as sock, listen("127.0.0.1", 0) as silence, ExitStack() as stack:
            environment = {
                "PATH": os.environ["PATH"],
                "DATABASE_URL": machine.postgres.url(name, role=SERVICE),
                "REDIS_URL": machine.valkey.url(),
                "STRIPE_SECRET_KEY": "sk_test_bench",
                "STRIPE_WEBHOOK_SECRET": SECRET,
                "STRIPE_API_BASE": f"http://127.0.0.1:{silence.getsockname()[1]}",
                "TALLYSTICK_QUEUE_NAME": name,
                "TALLYSTICK_LOG_LEVEL": "warning",
            }
            yield House(machine.postgres, engine, sock, environment, folder, stack)


async def deliver(port: int, events: Sequence[Json], connections: int, rate: float) -> dict[str, Any]:
    """Deliver to a port, by a process of its own."""
    command = [sys.executable, "-m", "bench.webhooks", str(port), str(connections), str(rate)]
    sender = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    async with asyncio.timeout(_PATIENCE_S):
        printed, _ = await sender.communicate(b"\n".join(orjson.dumps(event) for event in events))
    result: dict[str, Any] = orjson.loads(printed)
    assert result["statuses"] == {"200": len(events)}, result["statuses"]
    return result


async def _bare_http(events: Sequence[Json]) -> float:
    """What uvicorn can answer here when there is nothing to do but to read the body."""
    with listen("127.0.0.1", 0) as sock:
        command = [sys.executable, "-m", "bench.bare_http", str(sock.fileno())]
        bare = await asyncio.create_subprocess_exec(*command, pass_fds=(sock.fileno(),))
        try:
            sent = await deliver(sock.getsockname()[1], events, _CONNECTIONS, 0)
        finally:
            bare.kill()
            await bare.wait()
    rate = len(events) / float(sent["seconds"])
    say(f"bare HTTP answers, {_CONNECTIONS} connections", f"{rate:,.0f} /s")
    return rate


async def _with_commit_times(machine: Machine) -> None:
    """Have PostgreSQL remember when each transaction was committed."""
    async with machine.database("bench_settings") as engine, engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text("ALTER SYSTEM SET track_commit_timestamp = on"))
    await asyncio.to_thread(machine.postgres.restart)


def rss_mb(process: subprocess.Popen[bytes]) -> float:
    """Memory that a process has in use."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Its child processes."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
