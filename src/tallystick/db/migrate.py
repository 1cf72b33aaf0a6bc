"""Brings a database to the schema of this version.

Alembic is imported only to upgrade: the API, which asks whether the schema is current, starts without it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.roles import grant_service

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 8_224_951_070
"""Advisory lock key: two processes that start at once migrate one after the other."""

_STAMPED: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_REVISIONS: Final = text("SELECT version_num FROM alembic_version")


async def upgrade(engine: AsyncEngine, *, service: str | None = None) -> None:
    """Run all migrations that are missing; safe to call from several processes at once.

    ``engine`` is of the owner of the tables. Where the service runs as another role, that one is given its
    rights; raises ConfigurationError when there is no such role.
    """
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        await connection.commit()
        try:
            await connection.run_sync(_upgrade)
            if service is not None:
                await grant_service(connection, service)
            await connection.commit()
        finally:
            await connection.rollback()
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            await connection.commit()


async def is_current(engine: AsyncEngine) -> bool:
    """Whether the database has the schema of this version."""
    async with engine.connect() as connection:
        if not (await connection.execute(_STAMPED)).scalar_one():
            return False
        return list((await connection.execute(_REVISIONS)).scalars()) == [head()]


async def is_behind(engine: AsyncEngine) -> bool:
    """Whether migrations of this version are missing. One of a later version is not: it may be upgrading."""
    async with engine.connect() as connection:
        if not (await connection.execute(_STAMPED)).scalar_one():
            return True
        return max((await connection.execute(_REVISIONS)).scalars(), default="") < head()


@cache
def head() -> str:
    """The revision of this version: the number that the last migration's file name begins with."""
    return max(path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
