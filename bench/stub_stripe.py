"""As little of Stripe as creating a payment needs, from memory: the least that the other side can cost.

python -m bench.stub_stripe FD LATENCY_MS
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import time
from email.utils import formatdate
from typing import Final, cast
from urllib.parse import parse_qs

import httptools
import orjson
import uvloop

_NOTHING: Final = b'{"object":"list","data":[],"has_more":false}'


class StubStripe(asyncio.Protocol):
    """One connection. Every POST makes a PaymentIntent that succeeded; every GET lists nothing."""

    _numbers = itertools.count(1)

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is none by inheritance
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"POST":
            answer = orjson.dumps(self._intent())
            self._loop.call_later(self._latency_s, self._send, answer)
        else:
            self._send(_NOTHING)

    def _send(self, body: bytes) -> None:
        head = (
            f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)

    def _intent(self) -> dict[str, object]:
        form = {name: values[0] for name, values in parse_qs(self._body.decode()).items()}
        number = next(self._numbers)
        amount = int(form["amount"])
        return {
            "id": f"pi_{number:024d}",
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": amount,
            "automatic_payment_methods": {"allow_redirects": "never", "enabled": True},
            "cancellation_reason": None,
            "capture_method": form.get("capture_method", "automatic_async"),
            "client_secret": f"pi_{number:024d}_secret_{number:024d}",
            "created": int(time.time()),
            "currency": form["currency"],
            "customer": None,
            "description": None,
            "last_payment_error": None,
            "latest_charge": f"ch_{number:024d}",
            "livemode": False,
            "metadata": {
                name[len("metadata[") : -1]: value
                for name, value in form.items()
                if name.startswith("metadata[")
            },
            "next_action": None,
            "payment_method": form.get("payment_method"),
            "payment_method_types": ["card"],
            "status": "succeeded",
        }


async def serve(sock: socket.socket, latency_s: float) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: StubStripe(latency_s), sock=sock, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]) / 1000))
