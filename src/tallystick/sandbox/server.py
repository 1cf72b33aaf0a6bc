"""Running the sandbox: the ASGI application, a server that owns the process, one inside a test's loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tallystick.sandbox import (
    billing_portal,
    checkout_page,
    control,
    families,
    invoice_page,
    pages,
    payment_links,
)
from tallystick.sandbox.asgi import CUT, Receive, Scope, Send
from tallystick.sandbox.config import SandboxConfig
from tallystick.sandbox.http import Api
from tallystick.sandbox.routing import Router
from tallystick.sandbox.state import Sandbox

__all__ = ["Application", "RunningSandbox", "SandboxConfig", "create_app", "running_sandbox", "serve"]


_PAGES: Final = ("/3d_secure/", "/receipts/", checkout_page.PATH, billing_portal.PATH, payment_links.PATH)


class Application:
    """The ASGI application: the API, the control API, the customer's pages, and the lifespan."""

    def __init__(self, config: SandboxConfig) -> None:
        self.sandbox = Sandbox(config, families.tables(), families.actions(), families.listeners())
        self._api = Api(self.sandbox, Router(families.routes()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(control.PREFIX):
                await control.answer(self.sandbox, scope, receive, send)
            elif path.startswith(invoice_page.PATHS):
                await invoice_page.answer(self.sandbox, scope, receive, send)
            elif path.startswith(_PAGES):
                await pages.answer(self.sandbox, scope, receive, send)
            else:
                await self._api(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.sandbox.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.sandbox.stop()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(config: SandboxConfig | None = None) -> Application:
    """The ASGI application; its lifespan loads the state and starts timers and deliveries."""
    return Application(config or SandboxConfig())


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, lending the application the power to cut the connection (for faults)."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {CUT: self.transport.abort}
        self.scope["extensions"] = extensions


def _server(app: Application, sock: socket.socket) -> tuple[uvicorn.Server, list[socket.socket]]:
    # Connections inherit it. asyncio would set it only on sockets made with an explicit protocol, and
    # without it every answer waits 40 ms for a delayed ACK.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config), [sock]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.setblocking(False)
    return sock


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"http://{host}:{port}"


async def serve(
    config: SandboxConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sock: socket.socket | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or cancellation. ``ready`` is called with the URL once it listens."""
    bound = sock or _listen(host, port)
    server, sockets = _server(create_app(config), bound)
    running = asyncio.ensure_future(server.serve(sockets=sockets))
    try:
        await _started(server, running)
        if ready is not None:
            ready(_url(bound))
        await asyncio.shield(running)
    finally:
        server.should_exit = True
        await running


async def _started(server: uvicorn.Server, running: asyncio.Future[Any]) -> None:
    """Return once it listens; raises what stopped it from doing so."""
    while not server.started:
        if running.done():
            running.result()
            raise RuntimeError("The sandbox did not start; its log says why.")
        await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that serves in this event loop."""

    url: str
    sandbox: Sandbox


@contextlib.asynccontextmanager
async def running_sandbox(
    config: SandboxConfig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sock: socket.socket | None = None,
) -> AsyncIterator[RunningSandbox]:
    """Serve in this event loop for the length of the block; signals are left to the caller."""
    app = create_app(config)
    bound = sock or _listen(host, port)
    server, sockets = _server(app, bound)
    running = asyncio.ensure_future(server._serve(sockets=sockets))  # noqa: SLF001 - serve() takes the signals
    try:
        await _started(server, running)
        yield RunningSandbox(_url(bound), app.sandbox)
    finally:
        server.should_exit = True
        await running
        bound.close()
