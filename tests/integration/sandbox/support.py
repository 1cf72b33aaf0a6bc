"""A webhook receiver, and Stripe clients of which every answer is held against Stripe's spec."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import aiohttp
import stripe
from aiohttp import web
from tests.integration.sandbox.spec import problems

from tallystick.sandbox import versions

TRANSPORTS = ("requests", "httpx", "aiohttp")


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as it came in."""

    body: bytes
    signature: str
    at: float

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass
class Receiver:
    """Takes webhooks; ``answer`` says with which status, by how many have come before."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Callable[[int], int] = lambda _count: 200
    pause: float = 0.0
    about: str = ""
    """What it listens for: a delivery to ``url?about=`` something else is late, and not taken."""

    async def take(self, request: web.Request) -> web.Response:
        if request.query.get("about", "") != self.about:
            return web.Response(status=410)
        body = await request.read()
        count = len(self.received)
        self.received.append(Received(body, request.headers["Stripe-Signature"], time.time()))
        if self.pause:
            await asyncio.sleep(self.pause)
        return web.Response(status=self.answer(count))

    @property
    def types(self) -> list[str]:
        return [item.event["type"] for item in self.received]

    def of(self, kind: str) -> dict[str, Any]:
        """The newest event of a type."""
        return next(item.event for item in reversed(self.received) if item.event["type"] == kind)

    async def until(self, *kinds: str, seconds: float = 5.0) -> None:
        """Wait until these types have all come (each as often as named)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            types = self.types
            if all(types.count(kind) >= kinds.count(kind) for kind in kinds):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"Of {kinds} only {self.types} came.")

    def check(self) -> None:
        """Hold every event against Stripe's spec."""
        found = [text for item in self.received for text in problems(item.event)]
        assert not found, found


@contextlib.asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[None]:
    """A receiver that serves for one block."""
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield
    finally:
        await runner.cleanup()


_SERVE = """
import asyncio, sys
from pathlib import Path
from tallystick.sandbox.server import SandboxConfig, serve
config = SandboxConfig(data_dir=Path(sys.argv[1]), settlement_delay=float(sys.argv[2]), seed=3,
                       retry_schedule=(0.3,) * 20)
asyncio.run(serve(config, ready=lambda url: print(url, flush=True)))
"""


@contextlib.asynccontextmanager
async def sandbox_process(
    data_dir: Path, *, settlement_delay: float, end: signal.Signals = signal.SIGKILL
) -> AsyncIterator[str]:
    """A sandbox in a process of its own, ended by a signal; its URL."""
    arguments = ("-c", _SERVE, str(data_dir), str(settlement_delay))
    running = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert running.stdout is not None
    url = (await running.stdout.readline()).decode().strip()
    try:
        yield url
    finally:
        running.send_signal(end)
        await running.wait()


stripe.HTTPClient.INITIAL_DELAY = 0.01  # the SDK's own pause before a retry is half a second


def _checked(answer: tuple[Any, int, Any]) -> tuple[Any, int, Any]:
    found = problems(json.loads(answer[0]))
    assert not found, found
    return answer


class _Requests(stripe.RequestsClient):
    def request(self, *args: Any, **kwargs: Any) -> Any:
        return _checked(super().request(*args, **kwargs))


class _Httpx(stripe.HTTPXClient):
    async def request_async(self, *args: Any, **kwargs: Any) -> Any:
        return _checked(await super().request_async(*args, **kwargs))


class _Aiohttp(stripe.AIOHTTPClient):
    async def request_async(self, *args: Any, **kwargs: Any) -> Any:
        return _checked(await super().request_async(*args, **kwargs))


class Sdk:
    """The official SDK over one of its transports, always called from a coroutine."""

    def __init__(self, url: str, transport: str = "aiohttp", **options: Any) -> None:
        self._sync = transport == "requests"
        self._http: Any = {"requests": _Requests, "httpx": _Httpx, "aiohttp": _Aiohttp}[transport]()
        self.client = stripe.StripeClient(
            "sk_test_sandbox", base_addresses={"api": url}, http_client=self._http, **options
        )

    async def __call__(self, name: str, *args: Any, **options: Any) -> Any:
        """``sdk("payment_intents.create", {...})``; ``options`` are the request's (idempotency_key, …)."""
        service, _, method = name.rpartition(".")
        space = self.client if service.startswith("v2.") else self.client.v1
        bound = getattr(attrgetter(service)(space), method if self._sync else f"{method}_async")
        given = {"options": options} if options else {}
        return await asyncio.to_thread(bound, *args, **given) if self._sync else await bound(*args, **given)

    async def everything(self, name: str, params: dict[str, Any]) -> list[Any]:
        """All pages of a list."""
        first = await self(name, params)
        if self._sync:
            return await asyncio.to_thread(lambda: list(first.auto_paging_iter()))
        return [item async for item in first.auto_paging_iter()]

    async def close(self) -> None:
        if self._sync:
            self._http.close()
        else:
            await self._http.close_async()


class Raw:
    """Bare HTTP, for what the SDK does not show or would not send; in the SDK's version."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def __call__(
        self, method: str, path: str, data: Any = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON and headers (lower case). ``data`` is a form, or raw."""
        own = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": versions.NEWEST}
        sent = {**own, **(headers or {})}
        async with self._session.request(method, self.url + path, data=data, headers=sent) as answer:
            body = await answer.json()
            if path.startswith(("/v1/", "/v2/")):
                found = problems(body)
                assert not found, found
            return answer.status, body, {key.lower(): value for key, value in answer.headers.items()}

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A control call that must succeed."""
        async with self._session.request(method, f"{self.url}/_control/{path}", json=body) as answer:
            shown = await answer.json()
            assert answer.status == 200, shown
            return shown
