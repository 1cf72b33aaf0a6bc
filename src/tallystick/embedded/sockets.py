"""Listening sockets: made here, so that a server that is started again keeps its port."""

from __future__ import annotations

import socket

from tallystick.errors import ConfigurationError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on ``host``; port 0 picks a free one.

    Answers leave at once (TCP_NODELAY, which accepted connections inherit): asyncio sets it only on sockets
    whose protocol number says TCP, which those of ``socket.create_server`` do not. Raises ConfigurationError
    when the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
