"""How the servers of the command line get their socket."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from tallystick.embedded.sockets import listen

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Fd = Annotated[int | None, typer.Option(help="Listen on this inherited socket instead.")]


def socket_for(host: str, port: int, fd: int | None) -> socket.socket:
    """The inherited socket, else a new one. Raises ConfigurationError when the address cannot be had."""
    return socket.socket(fileno=fd) if fd is not None else listen(host, port)
