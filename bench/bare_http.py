"""An HTTP server that reads the body and says yes, run as the API is: the machine's limit.

python -m bench.bare_http FD
"""

from __future__ import annotations

import socket
import sys

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from tallystick.cli.serve import server_config


async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
    """200, in the size of ours."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"17")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"received":true}'})


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        uvloop.run(uvicorn.Server(server_config(answer)).serve(sockets=[sock]))
