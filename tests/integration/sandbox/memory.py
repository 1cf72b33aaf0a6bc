"""Memory by payment: ``python -m tests.integration.sandbox.memory [payments] [data dir]``.

The sandbox and this client are two processes; every payment is a create-and-confirm with an idempotency key,
settled later. Shows the sandbox's resident memory along the way, and how long lists and a restart take.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import aiohttp
import uvloop
from tests.integration.sandbox.bench import PAY, SANDBOX, process

_AT_ONCE = 16


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("No VmRSS.")


async def timed(session: aiohttp.ClientSession, url: str) -> str:
    start = time.perf_counter()
    async with session.get(url) as answer:
        await answer.read()
    return f"{(time.perf_counter() - start) * 1000:.1f} ms"


async def main(payments: int, *arguments: str) -> None:
    running, url = await process(SANDBOX, *arguments)
    start = resident(running.pid)
    headers = {"Authorization": "Bearer sk_test_memory"}
    async with aiohttp.ClientSession(headers=headers) as session:
        numbers = iter(range(payments))

        async def pay() -> None:
            for number in numbers:
                own = {"Idempotency-Key": f"key-{number}"}
                async with session.post(f"{url}/v1/payment_intents", data=PAY, headers=own) as answer:
                    await answer.read()
                if number % (payments // 4) == 0 and number:
                    print(f"{number:>9,} {resident(running.pid) / 2**20:,.0f} MiB")  # noqa: T201

        began = time.perf_counter()
        await asyncio.gather(*(pay() for _ in range(_AT_ONCE)))
        seconds = time.perf_counter() - began
        await asyncio.sleep(2)
        used = resident(running.pid) - start
        print(f"{payments:,} payments in {seconds:.0f} s; {used / payments / 1024:.1f} KiB each")  # noqa: T201
        for path in ("payment_intents?limit=100", "events?limit=100", "events?delivery_success=false"):
            print(f"GET /v1/{path}: {await timed(session, f'{url}/v1/{path}')}")  # noqa: T201
    running.terminate()
    await running.wait()
    if arguments:
        began = time.perf_counter()
        running, url = await process(SANDBOX, *arguments)
        print(f"restart in {time.perf_counter() - began:.1f} s, {resident(running.pid) / 2**20:,.0f} MiB")  # noqa: T201
        running.kill()
        await running.wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, *sys.argv[2:]))
