"""How short commands reach the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import database_is_away, open_engine
from tallystick.errors import ConfigurationError, DatabaseUnavailableError
from tallystick.settings import Settings, load_settings

T = TypeVar("T")
_UNDEFINED_TABLE = "42P01"


def with_engine(work: Callable[[AsyncEngine], Awaitable[T]], settings: Settings | None = None) -> T:
    """Run ``work`` with an engine on DATABASE_URL.

    Raises DatabaseUnavailableError or ConfigurationError (not migrated) instead of a driver's traceback.
    """

    async def run() -> T:
        engine = open_engine(settings or load_settings(require=("database_url",)))
        try:
            return await work(engine)
        except Exception as error:
            if database_is_away(error):
                raise DatabaseUnavailableError(str(getattr(error, "orig", error))) from error
            if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") == _UNDEFINED_TABLE:
                raise ConfigurationError(
                    "The database has no schema yet: run 'tallystick migrate'."
                ) from error
            raise
        finally:
            await engine.dispose()

    return asyncio.run(run())
