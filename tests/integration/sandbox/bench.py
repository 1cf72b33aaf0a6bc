"""How many payments a second: ``python -m tests.integration.sandbox.bench [payments] [at once] [data dir]``.

The sandbox, this client and the webhook receiver are three processes; every payment is a create-and-confirm
with an idempotency key and draws four webhooks, all of which must have been taken before the clock stops.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import uvloop

SANDBOX = """
import sys, uvloop
from pathlib import Path
from tallystick.sandbox.server import SandboxConfig, serve
data = Path(sys.argv[1]) if len(sys.argv) > 1 else None
uvloop.run(serve(SandboxConfig(data_dir=data), ready=lambda url: print(url, flush=True)))
"""
_RECEIVER = r"""
import asyncio, uvloop
class Taker(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.held = transport, b""
    def data_received(self, data):
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            length = int(self.held[:end].lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.held) < end + 4 + length:
                return
            self.held = self.held[end + 4 + length:]
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
async def main():
    server = await asyncio.get_running_loop().create_server(Taker, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""
PAY = {
    "amount": "2000",
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": "true",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}


async def process(code: str, *arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout is not None
    return running, (await running.stdout.readline()).decode().strip()


async def _measure(session: aiohttp.ClientSession, payments: int, at_once: int) -> None:
    numbers = iter(range(payments))
    taken: list[float] = []

    async def pay() -> None:
        for number in numbers:
            start = time.perf_counter()
            headers = {"Idempotency-Key": f"bench-{number}"}
            async with session.post("/v1/payment_intents", data=PAY, headers=headers) as answer:
                await answer.read()
                assert answer.status == 200
            taken.append((time.perf_counter() - start) * 1000)

    start = time.perf_counter()
    await asyncio.gather(*(pay() for _ in range(at_once)))
    answered = time.perf_counter() - start
    while True:
        async with session.get("/_control/state") as answer:
            state = await answer.json()
        if state["objects"]["event"] >= 4 * payments and not state["deliveries_pending"]:
            break
        await asyncio.sleep(0.02)
    delivered = time.perf_counter() - start
    taken.sort()
    rates = f"{payments / answered:.0f} payments/s answered, {payments / delivered:.0f}/s with all webhooks"
    middle, slow = taken[payments // 2], taken[payments * 99 // 100]
    sys.stdout.write(f"{rates}; p50 {middle:.1f} ms, p99 {slow:.1f} ms\n")


async def main(payments: int, at_once: int, data_dir: str | None = None) -> None:
    """Measure, and say so."""
    sandbox, url = await process(SANDBOX, *([data_dir] if data_dir else []))
    receiver, hook = await process(_RECEIVER)
    try:
        headers = {"Authorization": "Bearer sk_test_bench"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            data = {"url": hook, "enabled_events[]": "*"}
            async with session.post("/v1/webhook_endpoints", data=data) as answer:
                assert answer.status == 200
            await _measure(session, payments, at_once)
    finally:
        for running in (sandbox, receiver):
            running.terminate()
            await running.wait()


if __name__ == "__main__":
    given = sys.argv[1:] + ["3000", "16"][len(sys.argv) - 1 :]
    uvloop.run(main(int(given[0]), int(given[1]), *given[2:3]))
