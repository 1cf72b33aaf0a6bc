"""Servers for the tests: one real PostgreSQL and Valkey a session, a fresh migrated database a test."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import hypothesis
import pytest
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db import migrate
from tallystick.db.session import open_engine
from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey
from tallystick.embedded.cluster import SERVICE
from tallystick.settings import load_settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell makes what runs in its background deaf to Ctrl-C, and so would be what tests start and end so.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tables are as wide as the terminal of whoever imports the command line first: here, always the same.
os.environ["COLUMNS"] = "160"

pytest_plugins = ("tests.sandbox_speech",)

# How long an example takes says something of the machine, which may be busy, not of the code.
hypothesis.settings.register_profile(
    "tallystick", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tallystick")

# As the real set-up does: structlog's own default draws every local of every frame, for seconds a traceback.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@dataclass
class Databases:
    """Makes databases as copies of a migrated template, which takes a moment instead of a migration."""

    postgres: EmbeddedPostgres
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def prepare(self) -> None:
        """Migrate the template."""
        engine = open_engine(load_settings({}, require=(), database_url=self.postgres.url("template_tests")))
        await migrate.upgrade(engine, service=SERVICE)
        await engine.dispose()

    async def create(self) -> str:
        """The URL of a fresh database with the schema, as the service: it can only add to the ledger."""
        name = f"test_{next(self._numbers)}"
        await self._admin(f"CREATE DATABASE {name} TEMPLATE template_tests")
        return self.postgres.url(name, role=SERVICE)

    async def drop(self, url: str) -> None:
        """Remove a database that ``create`` made, whoever is still connected."""
        name = _name_in(url)
        await self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    async def _admin(self, statement: str) -> None:
        connection = await asyncpg.connect(self.postgres.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def _name_in(url: str) -> str:
    return url.split("?", 1)[0].rsplit("/", 1)[1]


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """A folder that an unprivileged PostgreSQL can enter; pytest's own is closed to it when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(servers_dir: Path) -> Iterator[EmbeddedPostgres]:
    """PostgreSQL for the session."""
    server = EmbeddedPostgres(servers_dir)
    server.start()
    yield server
    server.erase()


@pytest.fixture(scope="session")
def valkey(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """Valkey for the session."""
    server = EmbeddedValkey(servers_dir)
    server.start()
    yield server
    server.erase()


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Databases:
    """Where fresh databases come from."""
    made = Databases(postgres)
    asyncio.run(made.prepare())
    return made


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A fresh database with the schema, as the service's user."""
    url = await databases.create()
    yield url
    await databases.drop(url)


@pytest.fixture
async def engine(database_url: str, postgres: EmbeddedPostgres) -> AsyncIterator[AsyncEngine]:
    """An engine on the fresh database, as a superuser: the test's own hand."""
    url = postgres.url(_name_in(database_url))
    made = open_engine(load_settings({}, require=(), database_url=url))
    yield made
    await made.dispose()
