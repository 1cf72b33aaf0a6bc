"""A sandbox, clients and a webhook receiver for each test, all over real HTTP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import stripe
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[3]))  # so that helpers import as mypy names them: tests.…

from tests.integration.sandbox.support import Raw, Receiver, Sdk
from tests.integration.sandbox.world import World, new_world

from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox

stripe.enable_telemetry = False

# Time does not pass by itself here: tests call /_control/settle.
STILL = SandboxConfig(settlement_delay=600, refund_delay=600, retry_schedule=(0.05, 0.1, 0.2), seed=7)


@pytest.fixture(scope="session")
async def _running() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(STILL) as running:
        yield running


@pytest.fixture
def box(_running: RunningSandbox) -> RunningSandbox:
    """An empty sandbox: one server for all tests, since a server takes 0.2 s to stop."""
    _running.sandbox.reset()
    return _running


@pytest.fixture
async def raw(box: RunningSandbox) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(box.url, session)


_OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in ("requests", "httpx")]


@pytest.fixture(params=["aiohttp", *_OTHERS])
async def sdk(box: RunningSandbox, request: pytest.FixtureRequest) -> AsyncIterator[Sdk]:
    """The official SDK; in the long form every test runs on each of its transports."""
    client = Sdk(box.url, request.param)
    yield client
    await client.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that no endpoint points to yet."""
    taker = Receiver()
    app = web.Application()
    app.router.add_post("/hook", taker.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taker.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield taker
    await runner.cleanup()
    taker.check()


@pytest.fixture
async def hooked(sdk: Sdk, receiver: Receiver) -> Receiver:
    """A receiver that hears everything."""
    await sdk("webhook_endpoints.create", {"url": receiver.url, "enabled_events": ["*"]})
    return receiver


@pytest.fixture
async def world(sdk: Sdk, raw: Raw) -> World:
    """A customer on a test clock."""
    return await new_world(sdk, raw)
