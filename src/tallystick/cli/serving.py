"""``tallystick serve``, ``worker`` and ``sandbox``: the long-running processes."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
import uvloop

from tallystick.api.server import create_app
from tallystick.app import open_app
from tallystick.cli.output import out
from tallystick.errors import ConfigurationError
from tallystick.monitoring import logging
from tallystick.sandbox import server as sandbox_server
from tallystick.settings import Settings, load_settings
from tallystick.worker import Worker

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Fd = Annotated[int | None, typer.Option(help="Listen on this inherited socket instead.")]


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    fd: Fd = None,
) -> None:
    """Serve the HTTP API."""
    settings = _configured()
    sock = _listen(host, port, fd)
    if fd is None:
        out.print(f"The API listens on http://{host}:{sock.getsockname()[1]}")
    uvloop.run(_serve(settings, sock))


async def _serve(settings: Settings, sock: socket.socket) -> None:
    async with open_app(settings) as app:
        config = uvicorn.Config(
            create_app(app),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=20,
        )
        await uvicorn.Server(config).serve(sockets=[sock])


def worker() -> None:
    """Process events, pull settlements. Any number of workers may run."""
    uvloop.run(_work(_configured()))


async def _work(settings: Settings) -> None:
    async with open_app(settings) as app:
        worker = Worker(app)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()


def sandbox(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 12111,
    fd: Fd = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep state here; otherwise in memory only.")] = None,
    seed: Annotated[int | None, typer.Option(help="Make a run repeatable.")] = None,
) -> None:
    """Run the Stripe sandbox alone."""
    logging.configure()
    sock = _listen(host, port, fd)
    config = sandbox_server.SandboxConfig(data_dir=data_dir, seed=seed)

    def ready(url: str) -> None:
        if fd is None:
            out.print(f"The sandbox speaks Stripe's API on {url} (any sk_test_… key)")

    uvloop.run(sandbox_server.serve(config, sock=sock, ready=ready))


def _configured() -> Settings:
    settings = load_settings()
    logging.configure(level=settings.log_level, form=settings.log_format)
    return settings


def _listen(host: str, port: int, fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
