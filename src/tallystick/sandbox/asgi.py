"""Reading requests and sending answers over ASGI, or ending the connection instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CUT: Final = "tallystick.cut"
"""The scope extension by which the server lets the application end the connection without an answer."""


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def send_json(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Answer with JSON bytes."""
    await send_bytes(send, status, body, b"application/json", headers)


async def send_bytes(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Answer with bytes of a content type."""
    start = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-cache, no-store"),
        *(headers or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def cut(scope: Scope, receive: Receive, send: Send) -> None:
    """End the connection without an answer; where the server cannot, with a broken one."""
    extension = scope.get("extensions", {}).get(CUT)
    if extension is not None:
        extension()
        await receive()  # until the server has noticed: it would send a 500 otherwise
        return
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]}
    await send(start)
