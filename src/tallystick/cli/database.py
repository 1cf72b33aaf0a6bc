"""How short commands reach the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import database_is_away, open_engine
from tallystick.errors import ConfigurationError, DatabaseUnavailableError
from tallystick.settings import Settings, load_settings

T = TypeVar("T")

_PROBLEMS: Final = {
    "42P01": "The database has no schema yet: run 'tallystick migrate'.",
    "3D000": "DATABASE_URL names a database that does not exist.",
    "28000": "PostgreSQL does not let this user in (DATABASE_URL).",
    "28P01": "PostgreSQL does not take this password (DATABASE_URL).",
    "42501": "The user of DATABASE_URL may not do this; migrations are for that of DATABASE_OWNER_URL.",
}
"""What to say for an SQLSTATE that is somebody's configuration rather than a fault of ours."""


def with_engine(
    work: Callable[[AsyncEngine], Awaitable[T]], *, owner: bool = False, patient: bool = False
) -> T:
    """Run ``work`` with an engine on DATABASE_URL (for ``owner`` and ``patient`` see ``open_engine``).

    Raises DatabaseUnavailableError or ConfigurationError instead of a driver's traceback.
    """

    async def run() -> T:
        engine = open_engine(database_settings(), owner=owner, patient=patient)
        try:
            return await work(engine)
        except Exception as error:
            if database_is_away(error):
                raise DatabaseUnavailableError(str(getattr(error, "orig", error))) from error
            if problem := _PROBLEMS.get(_sqlstate(error)):
                raise ConfigurationError(problem) from error
            raise
        finally:
            await engine.dispose()

    return asyncio.run(run())


def database_settings() -> Settings:
    """The settings of a command that needs the database alone. Raises ConfigurationError."""
    try:
        return load_settings(require=("database_url",))
    except ConfigurationError as error:
        hint = "'tallystick up' prints that of its own database."
        raise ConfigurationError(f"{error.detail} ({hint})") from None


def _sqlstate(error: BaseException) -> str:
    """Of an error from SQLAlchemy, or from asyncpg while it connects."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""
