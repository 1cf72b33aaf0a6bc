"""POST /payments with an idempotency key, all parts of an installation on this machine.

What Tallystick adds is the time of a request without Stripe's part of it. The stub takes exactly as long as
it is told to, so all else is ours. The sandbox has work of its own to do, on the same cores: there each
answer says how long its request waited for Stripe (``Server-Timing``), and all else is ours.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import httpx
import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.load import Outcome, Request, at_most, http_post, quantile_ms, steady
from bench.machine import Machine, bare_table, gathered, measured, ratio, say
from tallystick.db.session import autocommit
from tallystick.embedded.cluster import SERVICE
from tallystick.embedded.sockets import listen
from tallystick.embedded.stack import Stack, Urls

_STRIPE_MS: Final = 200
_BODY: Final = orjson.dumps(
    {"amount": 1999, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
)


async def run(machine: Machine) -> None:
    """The stub first: what is ours alone. Then the sandbox, its events and the worker on top."""
    limit = await _commits(machine)
    with stub_stripe(0) as url:
        async with installation(machine, "bench_most", url) as urls:
            await _warm_up(urls)
            most = await at_most(urls.api, keyed(urls), connections=32, seconds=machine.seconds)
            _say("stub Stripe, 32 connections", most, most.seconds)
            ratio("payments : bare rows", most.rate / limit)
    with stub_stripe(_STRIPE_MS) as url:
        async with installation(machine, "bench_stub", url) as urls:
            await _warm_up(urls)
            for rate in (100, 200):
                outcome = await steady(urls.api, keyed(urls), rate=rate, seconds=machine.seconds)
                ours = [each - _STRIPE_MS / 1000 for each in outcome.seconds]
                _say(f"stub Stripe in {_STRIPE_MS} ms, {rate} a second", outcome, ours)
    async with installation(machine, "bench_sandbox", None) as urls:
        assert urls.sandbox is not None
        async with httpx.AsyncClient(base_url=urls.sandbox, trust_env=False) as sandbox:
            settings = {"latency_ms": [_STRIPE_MS, _STRIPE_MS]}
            (await sandbox.post("/_control/settings", json=settings)).raise_for_status()
        await _warm_up(urls)
        outcome = await steady(urls.api, keyed(urls), rate=100, seconds=machine.seconds)
        _say(f"sandbox in {_STRIPE_MS} ms, its events worked off, 100 a second", outcome, outcome.added)


async def _commits(machine: Machine) -> float:
    """The machine's limit: rows that are each committed alone, on as many connections as the API has."""
    count, connections = 3000, 10
    insert = text("INSERT INTO bench_bare VALUES (:id, 'x')")
    numbers = iter(range(count))

    async def connection(engine: AsyncEngine) -> None:
        async with autocommit(engine) as open_one:
            for number in numbers:
                await open_one.execute(insert, {"id": number})

    async with machine.database("bench_commits", pool=connections) as engine:
        await bare_table(engine)
        return await measured(
            f"bare rows, each committed alone ({connections} connections)",
            count,
            lambda: gathered(connection(engine) for _ in range(connections)),
        )


async def _warm_up(urls: Urls) -> None:
    await at_most(urls.api, keyed(urls), connections=8, seconds=2.0)


def keyed(urls: Urls) -> Request:
    """Requests for a payment that is confirmed at once, each under a key of its own."""
    run_of = secrets.token_hex(4)

    def request(number: int) -> bytes:
        headers = {
            "Authorization": f"Bearer {urls.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"{run_of}-{number}",
        }
        return http_post(urls.api, "/payments", headers, _BODY)

    return request


def _say(name: str, outcome: Outcome, ours: list[float]) -> None:
    say(f"{name}: answers", f"{outcome.rate:,.0f} /s")
    for share in (0.5, 0.99):
        say(f"  added by us, p{share * 100:g}", f"{quantile_ms(ours, share):,.1f} ms")
    if refused := {status: count for status, count in outcome.statuses.items() if status != 201}:
        say("  not answered with 201", str(refused))


@contextmanager
def stub_stripe(latency_ms: int) -> Iterator[str]:
    """The stub as a process of its own; its URL."""
    with listen("127.0.0.1", 0) as sock:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.stub_stripe", str(sock.fileno()), str(latency_ms)],
            pass_fds=(sock.fileno(),),
        )
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def installation(machine: Machine, name: str, stripe_url: str | None) -> AsyncIterator[Urls]:
    """API and worker on a fresh database, and the sandbox where there is no other Stripe."""
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": machine.postgres.url(name, role=SERVICE),
        "DATABASE_OWNER_URL": machine.postgres.url(name),
        "REDIS_URL": machine.valkey.url(),
        "TALLYSTICK_QUEUE_NAME": name,
    }
    if stripe_url is not None:
        environ |= {
            "STRIPE_SECRET_KEY": "sk_test_bench",
            "STRIPE_WEBHOOK_SECRET": "whsec_bench",
            "STRIPE_API_BASE": stripe_url,
        }
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        stack = Stack(Path(folder), port=0, environ=environ)
        try:
            yield await asyncio.to_thread(stack.start)
        finally:
            await asyncio.to_thread(stack.stop)
