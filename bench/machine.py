"""What every area of the benchmarks is given, and how a figure is printed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db import migrate
from tallystick.db.session import open_engine
from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey
from tallystick.embedded.cluster import SERVICE
from tallystick.settings import load_settings

_NAME_WIDTH: Final = 62


@dataclass(frozen=True, slots=True)
class Machine:
    """The servers of a run and its sizes; ``seconds`` is the length of each load, ``events`` of an inbox.

    ``rows`` are stored beside them where growth is measured.
    """

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    events: int
    seconds: float
    rows: int
    pgledger: Path | None = None
    """A file with pgledger's SQL, to be measured beside ours."""

    @asynccontextmanager
    async def database(self, name: str, *, pool: int = 20) -> AsyncIterator[AsyncEngine]:
        """An engine on a fresh, migrated database."""
        url = self.postgres.url(name)
        engine = open_engine(load_settings({}, require=(), database_url=url, database_pool_size=pool))
        try:
            await migrate.upgrade(engine, service=SERVICE)
            yield engine
        finally:
            await engine.dispose()


def say(name: str, figure: str) -> None:
    """One line of the result."""
    print(f"{name:<{_NAME_WIDTH}} {figure:>14}", flush=True)


def ratio(name: str, value: float) -> None:
    """A figure that can be compared from run to run and machine to machine."""
    say(name, f"{value:,.3f}    ")


async def measured(name: str, count: int, work: Callable[[], Awaitable[None]]) -> float:
    """Run once, print the rate, return it."""
    started = time.perf_counter()
    await work()
    rate = count / (time.perf_counter() - started)
    say(name, f"{rate:,.0f} /s")
    return rate


async def gathered(works: Iterable[Coroutine[None, None, None]]) -> None:
    """All of them at once."""
    await asyncio.gather(*works)


async def bare_table(engine: AsyncEngine) -> None:
    """A table of two columns, for what the machine can do at best."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE bench_bare (id bigint PRIMARY KEY, body text)"))


async def bare_inserts(engine: AsyncEngine, count: int, *, batch: int) -> None:
    """The machine's limit: rows of two columns, inserted and committed by ``batch``."""
    await bare_table(engine)
    insert = text("INSERT INTO bench_bare SELECT i, 'x' FROM unnest(CAST(:ids AS bigint[])) AS i")
    for start in range(0, count, batch):
        async with engine.begin() as connection:
            await connection.execute(insert, {"ids": list(range(start, min(start + batch, count)))})
