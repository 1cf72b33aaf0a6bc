"""Servers of the fault tests alone, and installations on them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
from tests.builders import StripeStory
from tests.faults.fake_stripe import FakeStripe, running_fake_stripe
from tests.faults.installation import Installation, Servers

from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey


class Install(Protocol):
    """Makes an installation, and the Stripe that knows a story."""

    def __call__(
        self, story: StripeStory, *, redis_url: str | None = None
    ) -> AbstractAsyncContextManager[tuple[Installation, FakeStripe]]: ...


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Valkey that tests here may stop and kill."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-faults-"))
    folder.chmod(0o711)
    made = Servers(EmbeddedPostgres(folder), EmbeddedValkey(folder))
    try:
        made.postgres.start()
        made.valkey.start()
        yield made
    finally:
        made.valkey.stop()
        made.postgres.erase()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def install(servers: Servers, tmp_path: Path) -> Install:
    """Makes an installation, and the Stripe that knows a story; everything ends with the block."""

    @asynccontextmanager
    async def make(
        story: StripeStory, *, redis_url: str | None = None
    ) -> AsyncIterator[tuple[Installation, FakeStripe]]:
        for server in (servers.postgres, servers.valkey):  # a test that failed may have left one down
            server.start()
        async with running_fake_stripe(story) as stripe:
            installation = Installation(servers, tmp_path, stripe.url, redis_url)
            await installation.open()
            try:
                yield installation, stripe
            finally:
                await installation.close()

    return make
