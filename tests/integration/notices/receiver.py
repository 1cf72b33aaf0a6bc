"""A merchant's own server: takes notices, keeps them, and answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from standardwebhooks import Webhook

from tallystick.embedded.sockets import listen

Json = dict[str, Any]
Answer = Callable[["Message"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Message:
    """A notice as it came in; ``number`` counts the messages from 1."""

    number: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Json:
        found: Json = orjson.loads(self.raw)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def about(self) -> Any:
        """The number that the tests put into a notice."""
        return self.body["data"]["n"]

    def verify(self, secret: str) -> None:
        """Raises WebhookVerificationError: the library's own check."""
        Webhook(secret).verify(self.raw, self.headers)


async def taken(_message: Message) -> web.StreamResponse:
    return web.Response(text="thanks")


def status(code: int, **options: Any) -> Answer:
    async def answer(_message: Message) -> web.StreamResponse:
        return web.Response(status=code, **options)

    return answer


@dataclass
class Receiver:
    """The server; ``answer`` says how it answers the next messages."""

    url: str
    answer: Answer = taken
    messages: list[Message] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        message = Message(len(self.messages) + 1, headers, await request.read())
        self.messages.append(message)
        async with self._changed:
            self._changed.notify_all()
        return await self.answer(message)

    async def count(self, messages: int) -> None:
        """Wait until so many messages have come."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= messages)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A server on a free port of the loopback."""
    sock = listen("127.0.0.1", 0)
    receiver = Receiver(f"http://127.0.0.1:{sock.getsockname()[1]}/hook")
    application = web.Application()
    application.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    try:
        yield receiver
    finally:
        await runner.cleanup()
        sock.close()
