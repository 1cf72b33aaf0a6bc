"""Tallystick as processes on loopback, for tests that load it."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tallystick.embedded import EmbeddedValkey
from tallystick.embedded.stack import Stack, Urls

Install = Callable[..., AbstractAsyncContextManager[Urls]]


@pytest.fixture
def install(database_url: str, valkey: EmbeddedValkey, tmp_path: Path) -> Install:
    """Starts API, worker and sandbox on a fresh database; settings by their name in the environment."""

    @asynccontextmanager
    async def start(**settings: str) -> AsyncIterator[Urls]:
        environ = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey.url(),
            "TALLYSTICK_QUEUE_NAME": f"load:{secrets.token_hex(6)}",
            **settings,
        }
        stack = Stack(tmp_path / "data", port=0, environ=environ)
        try:
            yield await asyncio.to_thread(stack.start)
        finally:
            await asyncio.to_thread(stack.stop)

    return start


@asynccontextmanager
async def client(urls: Urls) -> AsyncIterator[aiohttp.ClientSession]:
    """A caller with a key and no limit on its connections."""
    async with aiohttp.ClientSession(
        urls.api,
        headers={"Authorization": f"Bearer {urls.api_key}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=500),
    ) as session:
        yield session
