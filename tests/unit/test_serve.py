"""How uvicorn is set up."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from tallystick.cli.serve import server_config


def test_an_idle_connection_outlives_the_minute_of_a_load_balancer() -> None:
    """Else it sends a request into a connection that was just closed, and its caller sees a 502."""

    async def asgi(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    assert server_config(asgi).timeout_keep_alive > 60


async def test_forwarded_headers_are_not_believed() -> None:
    seen: list[Any] = []

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["client"], scope["scheme"]))

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    config = server_config(asgi)
    config.load()
    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": ("127.0.0.1", 4711), "scheme": "http", "headers": headers}
    await config.loaded_app(scope, nothing, nothing)
    assert seen == [(("127.0.0.1", 4711), "http")]
