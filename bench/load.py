"""Load on an HTTP server: requests at a steady rate, or as many as a number of connections can make.

At a steady rate a request's time runs from the moment at which it was due, not from when a connection was
free for it: a server that falls behind cannot hide it by slowing the load down.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Request = Callable[[int], bytes]
"""The bytes of the request with this number."""


@dataclass(slots=True)
class Outcome:
    """Seconds of each request, statuses, and the rate at which answers came.

    ``added`` are a request's seconds without those that the API says it waited for Stripe.
    """

    seconds: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    elapsed_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.elapsed_s

    def count(self, status: int, seconds: float, at_stripe_s: float) -> None:
        """Note an answer."""
        self.seconds.append(seconds)
        self.added.append(seconds - at_stripe_s)
        self.statuses[status] += 1


def quantile_ms(seconds: list[float], share: float) -> float:
    """The time below which ``share`` of the requests were answered, in milliseconds."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def http_post(url: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A request as it goes over a connection that stays open."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Connections:
    """Connections that stay open, as many as requests are under way."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, request: bytes) -> tuple[int, float]:
        """Send, read the whole answer, return its status and the seconds that it waited for Stripe."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        await reader.readexactly(int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        self._idle.append((reader, writer))
        at_stripe = lower.partition(b"server-timing: stripe;dur=")[2].partition(b"\r\n")[0]
        return int(head[9:12]), float(at_stripe or 0) / 1000

    async def close(self) -> None:
        """Close those that are idle."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


async def steady(url: str, request: Request, *, rate: float, seconds: float) -> Outcome:
    """Requests at ``rate`` a second, whatever becomes of them."""
    outcome, connections = Outcome(), Connections(url)
    begun = time.perf_counter()

    async def one(number: int) -> None:
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status, at_stripe_s = await connections.send(request(number))
        outcome.count(status, time.perf_counter() - due, at_stripe_s)

    await asyncio.gather(*(one(number) for number in range(int(rate * seconds))))
    outcome.elapsed_s = time.perf_counter() - begun
    await connections.close()
    return outcome


async def at_most(url: str, request: Request, *, connections: int, seconds: float) -> Outcome:
    """Each connection sends its next request when it has the answer to its last."""
    outcome, pool = Outcome(), Connections(url)
    begun = time.perf_counter()
    numbers = iter(range(10**9))

    async def connection() -> None:
        while (sent := time.perf_counter()) < begun + seconds:
            status, at_stripe_s = await pool.send(request(next(numbers)))
            outcome.count(status, time.perf_counter() - sent, at_stripe_s)

    await asyncio.gather(*(connection() for _ in range(connections)))
    outcome.elapsed_s = time.perf_counter() - begun
    await pool.close()
    return outcome
