"""How the servers of the command line get their socket."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from tallystick.errors import ConfigurationError

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Fd = Annotated[int | None, typer.Option(help="Listen on this inherited socket instead.")]


def listen(host: str, port: int, fd: int | None = None) -> socket.socket:
    """A listening socket, or the inherited one. Raises ConfigurationError when the address is taken."""
    if fd is not None:
        return socket.socket(fileno=fd)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
