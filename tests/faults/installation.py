"""Tallystick as it runs: PostgreSQL, Valkey, an API and a worker, each a process that can be killed."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.faults import kill_points

from tallystick.db import migrate
from tallystick.db.session import open_engine
from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey
from tallystick.embedded.cluster import SERVICE
from tallystick.embedded.processes import spawn
from tallystick.embedded.sockets import listen
from tallystick.settings import load_settings

WEBHOOK_SECRET = "whsec_faults"
BATCH = 10
PATIENCE_S = 60.0
Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the inbox is worked off, and what is in the ledger of events that are not finished."""

    pending: int
    done: int
    dead: int
    half_done: int
    movements_open: int

    @property
    def total(self) -> int:
        return self.pending + self.done + self.dead


_PROGRESS = text("""
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status IN ('processed', 'ignored')) AS done,
       count(*) FILTER (WHERE status = 'dead') AS dead,
       (SELECT count(*) FROM ledger_transactions t JOIN webhook_events w ON w.id = t.source
         WHERE w.status = 'pending'
           AND t.kind NOT IN ('charge_captured', 'refund', 'refund_reversed')) AS half_done,
       (SELECT count(*) FROM balance_transactions WHERE status <> 'posted') AS movements_open
  FROM webhook_events""")
# A movement may stand while its event waits for Stripe's answer, but nothing that goes with a sale of ours.


@dataclass
class Servers:
    """PostgreSQL and Valkey of the fault tests alone."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey


@dataclass
class Installation:
    """One installation on a fresh database. ``close`` ends every process of it."""

    servers: Servers
    folder: Path
    stripe_url: str
    redis_url: str | None = None
    """None: the servers' Valkey."""
    settings: dict[str, str] = field(default_factory=dict)
    """Of all its processes, by their names in the environment."""
    name: str = field(default_factory=lambda: f"faults_{secrets.token_hex(4)}")
    _processes: list[Process] = field(default_factory=list)

    async def open(self) -> None:
        """Make the database, and the socket that outlives the API's processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        postgres = self.servers.postgres
        owner_url = await asyncio.to_thread(postgres.url, self.name)
        self._sock: socket.socket = listen("127.0.0.1", 0)
        self.api_url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self.engine: AsyncEngine = open_engine(load_settings({}, require=(), database_url=owner_url))
        await migrate.upgrade(self.engine, service=SERVICE)
        self._environment = {
            "PATH": os.defpath,
            "DATABASE_URL": postgres.url(self.name, role=SERVICE),
            "REDIS_URL": self.redis_url or self.servers.valkey.url(),
            "STRIPE_SECRET_KEY": "sk_test_faults",
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_API_BASE": self.stripe_url,
            "TALLYSTICK_QUEUE_NAME": self.name,
            "TALLYSTICK_BATCH_SIZE": str(BATCH),
            "TALLYSTICK_RING_GRACE_S": "0.5",
            "TALLYSTICK_SWEEP_INTERVAL_S": "0.1",
            "TALLYSTICK_SETTLEMENT_INTERVAL_S": "1",
            "TALLYSTICK_DATABASE_TIMEOUT_S": "2",
            "TALLYSTICK_STRIPE_MAX_RETRIES": "0",
            "TALLYSTICK_STRIPE_LOOKUPS_PER_SECOND": "0",
            "TALLYSTICK_LOG_FORMAT": "json",
            **self.settings,
        }

    async def close(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            process.kill()
            await asyncio.to_thread(process.wait)
        self._sock.close()
        await self.engine.dispose()

    async def start_api(self, *, dying: tuple[str, str] | None = None) -> Process:
        """Start an API process on the socket; returns when it answers.

        ``dying``: the step and when it dies, see ``kill_points``.
        """
        program = ["-m", "tallystick"] if dying is None else [kill_points.__file__, *dying]
        process = self._spawn("api", *program, "serve", "--fd", str(self._sock.fileno()))
        async with aiohttp.ClientSession() as session:

            async def answers() -> bool:
                assert process.poll() is None, self.log("api")[-5:]
                try:
                    async with session.get(f"{self.api_url}/healthz", timeout=_ONE_SECOND) as answer:
                        return answer.status == 200
                except (aiohttp.ClientError, TimeoutError):
                    return False

            await until(answers)
        return process

    def start_worker(self, *, unknown_types: Sequence[str] = ()) -> Process:
        """Start a worker process; its work shows when it has come up.

        With ``unknown_types`` it is one of an older version, which had no rules for them.
        """
        if not unknown_types:
            return self._spawn("worker", "-m", "tallystick", "worker")
        program = (
            "import sys; from tallystick.events.catalog import EVENTS; from tallystick.cli import main\n"
            f"for name in {list(unknown_types)!r}: del EVENTS[name]\n"
            "sys.argv[1:] = ['worker']; main()"
        )
        return self._spawn("worker", "-c", program)

    async def stop(self, process: Process) -> int:
        """SIGTERM; the exit code."""
        process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.to_thread(process.wait)

    async def kill(self, process: Process) -> None:
        """SIGKILL; it must have been running."""
        assert process.poll() is None, "it had ended by itself"
        process.kill()
        assert await asyncio.to_thread(process.wait) == -signal.SIGKILL

    async def progress(self) -> Progress:
        """As the database has it now."""
        async with self.engine.connect() as connection:
            row = (await connection.execute(_PROGRESS)).one()
        return Progress(**row._mapping)

    async def until_done(self, count: int) -> None:
        """Until so many events are finished."""

        async def reached() -> bool:
            return (await self.progress()).done >= count

        await until(reached)

    async def settled(self, events: int) -> Progress:
        """Until nothing is pending of so many events, and every movement is posted."""

        async def finished() -> bool:
            now = await self.progress()
            return now.total == events and now.pending == 0 and now.movements_open == 0

        try:
            await until(finished)
        except TimeoutError:
            raise AssertionError(f"{await self.progress()} of {events}; {self.log('worker')[-5:]}") from None
        return await self.progress()

    async def unacknowledged_rings(self) -> int:
        """Rings that a worker took and did not acknowledge."""
        redis = Redis.from_url(self.servers.valkey.url())
        try:
            streams = [stream async for stream in redis.scan_iter(f"{self.name}:*")]
            return sum([int((await redis.xpending(stream, "workers"))["pending"]) for stream in streams])
        finally:
            await redis.aclose()

    async def flush_valkey(self) -> None:
        """FLUSHALL, as an operator's slip."""
        redis = Redis.from_url(self.servers.valkey.url())
        try:
            await redis.flushall()
        finally:
            await redis.aclose()

    async def scalar(self, query: str) -> Any:
        """The one value of a query."""
        async with self.engine.connect() as connection:
            return (await connection.execute(text(query))).scalar_one()

    def log(self, name: str) -> list[dict[str, Any]]:
        """The log lines of all processes of that name."""
        lines = (self.folder / f"{name}.log").read_bytes().splitlines()
        return [orjson.loads(line) if line.startswith(b"{") else {"event": line.decode()} for line in lines]

    def _spawn(self, name: str, *arguments: str) -> Process:
        log = os.open(self.folder / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            process = spawn(
                [sys.executable, *arguments],
                death_signal=signal.SIGKILL,
                account=None,
                cwd=self.folder,
                log=log,
                environment=self._environment,
                pass_fds=(self._sock.fileno(),),
            )
        finally:
            os.close(log)
        self._processes.append(process)
        return process


def note(line: str) -> None:
    """Shown with -s, and by a test that fails."""
    sys.stdout.write(f"{line}\n")


_ONE_SECOND = aiohttp.ClientTimeout(total=1.0)


async def until(condition: Callable[[], Awaitable[bool]], *, patience_s: float = PATIENCE_S) -> None:
    """Until the condition holds, looked at every few milliseconds. Raises TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not await condition():  # noqa: ASYNC110  other processes set no event of ours
            await asyncio.sleep(0.005)
