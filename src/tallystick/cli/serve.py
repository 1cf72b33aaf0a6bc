"""``tallystick serve``."""

from __future__ import annotations

import gc
import socket
from typing import Annotated

import typer
import uvicorn
import uvloop
from starlette.types import ASGIApp

from tallystick.api.server import create_app
from tallystick.app import check_start, open_app
from tallystick.cli.listening import Fd, Host, socket_for
from tallystick.cli.output import out
from tallystick.console.server import create_console
from tallystick.monitoring import logging
from tallystick.settings import Settings, load_settings


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    fd: Fd = None,
) -> None:
    """Serve the HTTP API and the console."""
    settings = load_settings()
    logging.configure(level=settings.log_level, form=settings.log_format)
    with socket_for(host, port, fd) as sock:
        if fd is None:
            shown = f"[{host}]" if ":" in host else host
            out.print(f"The API listens on http://{shown}:{sock.getsockname()[1]}", markup=False)
        uvloop.run(_serve(settings, sock))


async def _serve(settings: Settings, sock: socket.socket) -> None:
    async with open_app(settings) as app:
        await check_start(app)
        server = uvicorn.Server(server_config(create_app(app, create_console(app))))
        gc.collect()
        gc.freeze()  # what is there now stays: to look through it again would hold up all requests
        await server.serve(sockets=[sock])


def server_config(asgi: ASGIApp) -> uvicorn.Config:
    """How uvicorn serves the API. X-Forwarded-* is not believed: anybody on this machine can send it."""
    return uvicorn.Config(
        asgi,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=20,
        # longer than the idle minute of common load balancers, which else send into a connection just closed
        timeout_keep_alive=75,
    )
