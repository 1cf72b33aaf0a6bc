"""A real browser at a real server: the console over HTTP, with a dead letter of each kind behind it."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from tests.conftest import Databases
from tests.dead import Dead, bury
from tests.integration.api.conftest import Face, open_face

from tallystick.api.server import create_app
from tallystick.cli.serve import server_config
from tallystick.console.server import create_console
from tallystick.embedded import EmbeddedValkey

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM: Final = next(filter(None, map(shutil.which, _NAMES)), None)


@dataclass
class Site:
    """Where the console is, and what is behind it."""

    url: str
    face: Face
    dead: Dead


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, or whichever is on PATH; playwright's own is not downloaded."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
async def site(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Site]:
    """A server on a free port."""
    database = await databases.create()
    async with open_face(database, valkey) as face:
        with pytest.MonkeyPatch.context() as patch:
            dead = await bury(face.app.engine, patch)
        async with _served(face) as url:
            yield Site(url, face, dead)
    await databases.drop(database)


@asynccontextmanager
async def _served(face: Face) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(server_config(create_app(face.app, create_console(face.app))))
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A browser with no cookies."""
    made = await chromium.new_context()
    yield made
    await made.close()


@pytest.fixture
async def page(context: BrowserContext, site: Site) -> Page:
    """A page of somebody who has signed in."""
    opened = await context.new_page()
    await opened.goto(f"{site.url}/console/dead-letters")
    await opened.get_by_label("API key").fill(await site.face.key("admin"))
    await opened.get_by_role("button", name="Sign in").click()
    await opened.wait_for_url(f"{site.url}/console/dead-letters")
    return opened
