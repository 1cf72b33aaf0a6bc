"""How uvicorn is set up."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from tallystick.cli.serve import server_config


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
