"""Stripe's side of the webhook endpoint, lean enough to leave the processors to what is measured.

    python -m bench.webhooks PORT CONNECTIONS RATE < FILE

Sends each line of FILE (an event's JSON) as a signed delivery; RATE 0: as fast as the connections are
answered. Prints one line of JSON: ``seconds``, ``statuses``, and ``sent``: seconds since 1970 at which each
event was sent, by its place in the file.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, cast

import orjson
import uvloop

from tallystick.stripe_gateway.signature import sign

SECRET: Final = "whsec_bench"


class Delivery(asyncio.Protocol):
    """One connection that stays open; ``done`` is called with the status of each answer."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._deliveries.idle(self)

    def send(self, request: bytes) -> None:
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, found, body = self._heard.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._heard = b""
            self._deliveries.answered(int(head[9:12]))
            self._deliveries.idle(self)


class Deliveries:
    """All requests, each sent once."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        self.statuses: Counter[int] = Counter()
        self.sent: list[float] = []
        self._requests = requests
        self._due: Iterator[bytes] = iter(requests)
        self._rate = rate
        self._idle: asyncio.LifoQueue[Delivery] = asyncio.LifoQueue()
        self.finished = asyncio.Event()

    def idle(self, connection: Delivery) -> None:
        if self._rate:
            self._idle.put_nowait(connection)
        else:
            self._send_next(connection)

    async def at_rate(self) -> None:
        begun = time.perf_counter()
        for number in range(len(self._requests)):
            await asyncio.sleep(max(0.0, begun + number / self._rate - time.perf_counter()))
            self._send_next(await self._idle.get())

    def answered(self, status: int) -> None:
        self.statuses[status] += 1
        if self.statuses.total() == len(self._requests):
            self.finished.set()

    def _send_next(self, connection: Delivery) -> None:
        request = next(self._due, None)
        if request is not None:
            self.sent.append(time.time())
            connection.send(request)


def request_of(body: bytes, now: int) -> bytes:
    """A signed delivery as it goes over the wire."""
    head = (
        "POST /webhooks/stripe HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Stripe-Signature: {sign(body, SECRET, now)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def main(bodies: list[bytes], port: int, connections: int, rate: float) -> None:
    """Deliver, and print what came of it."""
    now = int(time.time())
    deliveries = Deliveries([request_of(body, now) for body in bodies], rate)
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: Delivery(deliveries), "127.0.0.1", port)
    if rate:
        await deliveries.at_rate()
    await deliveries.finished.wait()
    seconds = time.perf_counter() - begun
    result = {"seconds": seconds, "statuses": deliveries.statuses, "sent": deliveries.sent}
    sys.stdout.write(orjson.dumps(result, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")


if __name__ == "__main__":
    uvloop.run(
        main(sys.stdin.buffer.read().splitlines(), int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    )
