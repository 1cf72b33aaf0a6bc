"""The models and the migrations build the same database, triggers and functions included."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import Databases

from tallystick.db import migrate
from tallystick.db.audit_guards import AUDIT_TABLES
from tallystick.db.ledger_guards import APPEND_ONLY
from tallystick.db.session import open_engine
from tallystick.db.tables import metadata
from tallystick.embedded import EmbeddedPostgres
from tallystick.embedded.cluster import SERVICE
from tallystick.settings import load_settings

Build = Callable[[AsyncEngine], Awaitable[None]]

_NOISE = re.compile(r"--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*|\s*")
"""What pg_dump writes about itself: comments, its session's settings, a random word against injection."""


def engine_on(url: str) -> AsyncEngine:
    return open_engine(load_settings({}, require=(), database_url=url))


async def build_from_models(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)


@asynccontextmanager
async def empty_database(databases: Databases) -> AsyncIterator[str]:
    url = databases.postgres.url(f"schema_{secrets.token_hex(4)}")
    try:
        yield url
    finally:
        await databases.drop(url)


async def schema_built_by(databases: Databases, build: Build, *then: str) -> list[str]:
    """The lines of the schema that ``build``, and then some statements, make of an empty database."""
    async with empty_database(databases) as url:
        engine = engine_on(url)
        try:
            await build(engine)
            async with engine.begin() as connection:
                for statement in then:
                    await connection.execute(text(statement))
        finally:
            await engine.dispose()
        return await schema_of(databases.postgres, url)


async def schema_of(postgres: EmbeddedPostgres, url: str) -> list[str]:
    command = [
        str(postgres.programs / "pg_dump"), "--schema-only", "--exclude-table=alembic_version",
        f"--dbname={url}",
    ]  # fmt: skip
    dump = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await dump.communicate()
    assert dump.returncode == 0, err.decode()
    return [line for line in out.decode().splitlines() if not _NOISE.fullmatch(line)]


async def test_models_and_migrations_build_the_same_database(databases: Databases) -> None:
    models = await schema_built_by(databases, build_from_models)
    migrations = await schema_built_by(databases, migrate.upgrade)
    assert migrations == models

    dump = "\n".join(models)
    for table in metadata.tables:
        assert f"CREATE TABLE public.{table} (" in dump
    for table in (*APPEND_ONLY, *AUDIT_TABLES):
        trigger = f"CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.{table} "
        assert trigger in dump
    for function in ("refuse_change", "take_xid", "check_headers", "check_entries"):
        assert f"CREATE FUNCTION public.ledger_{function}() RETURNS trigger" in dump
    for trigger in ("take_xid", "check_headers", "check_entries"):
        assert f"CREATE TRIGGER {trigger} " in dump
    assert "does not balance" in dump, "the functions' bodies are compared too"


@pytest.mark.parametrize(
    "change",
    [
        "DROP TRIGGER check_entries ON ledger_entries",
        "ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_amount",
        "ALTER FUNCTION ledger_refuse_change() SECURITY DEFINER",
        "DROP INDEX ix_webhook_events_ring_at",
        "ALTER TABLE payments ALTER COLUMN amount TYPE integer",
        "ALTER TABLE ledger_entries DISABLE TRIGGER refuse_change",
    ],
)
async def test_the_comparison_sees_a_difference(databases: Databases, change: str) -> None:
    changed = await schema_built_by(databases, migrate.upgrade, change)
    assert changed != await schema_of(databases.postgres, databases.postgres.url("template_tests"))


async def test_upgrading_again_and_from_several_processes_at_once_is_safe(databases: Databases) -> None:
    expected = await schema_of(databases.postgres, databases.postgres.url("template_tests"))
    async with empty_database(databases) as url:
        engines = [engine_on(url) for _ in range(4)]
        try:
            assert not await migrate.is_current(engines[0])
            await asyncio.gather(*(migrate.upgrade(engine, service=SERVICE) for engine in engines))
            assert await migrate.is_current(engines[0])
            await migrate.upgrade(engines[1], service=SERVICE)
            assert await migrate.is_current(engines[1])
            assert await advisory_locks(engines[2]) == 0
        finally:
            for engine in engines:
                await engine.dispose()
        assert await schema_of(databases.postgres, url) == expected


async def test_an_upgrade_that_fails_lets_the_next_one_in(databases: Databases) -> None:
    async with empty_database(databases) as url:
        engine = engine_on(url)
        try:
            async with engine.begin() as connection:
                await connection.execute(text("CREATE TABLE outbox (in_the_way int)"))
            with pytest.raises(Exception, match='relation "outbox" already exists'):
                await migrate.upgrade(engine)
            async with engine.begin() as connection:
                tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
                assert (await connection.execute(text(tables))).scalar_one() == 1, "half a schema was left"
                await connection.execute(text("DROP TABLE outbox"))
            await migrate.upgrade(engine)
            assert await migrate.is_current(engine)
        finally:
            await engine.dispose()


def test_the_head_is_known_without_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate._MIGRATIONS).replace("%", "%%"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.head()]


def test_the_api_starts_without_alembic() -> None:
    """It takes a sixth of a second to import, and only an upgrade has a use for it."""
    code = "import sys, tallystick.api.server; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def advisory_locks(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        return int((await connection.execute(query)).scalar_one())
