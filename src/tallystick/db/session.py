"""Connections to PostgreSQL: one engine a process, and what counts as the database being away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

_AWAY: Final = (
    "57P01", "57P02", "57P03", "57P05", "53", "08", "25006", "25P03", "55P03", "57014", "40001", "40P01",
)  # fmt: skip
"""SQLSTATEs (or their class) of a server that stops, starts, lacks resources, is a read-only standby, made us
wait longer than we allow, or took our transaction back in favour of another: all of it passes."""

_LIMITS: Final = {
    # What a worker that vanished holds is let go after this, not after the kernel's two hours.
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""No statement, lock or open transaction waits for ever."""


def open_engine(settings: Settings, *, owner: bool = False, patient: bool = False) -> AsyncEngine:
    """The engine of this process; nothing is connected yet.

    A connection that the server has closed is replaced before use, so that a restart of PostgreSQL is not
    noticed by the first caller; to see it costs no question to the server, as ``pool_pre_ping`` would.
    That of the ``owner`` of the tables has no limits on waiting, since an index built by a migration may
    take an hour; nor has a ``patient`` one, for a command that goes through the whole ledger.

    Raises ConfigurationError when the URL cannot be read.
    """
    url = _read_url(settings, owner=owner)
    limited = not (owner or patient)
    query = dict(url.query)
    if "sslmode" in query:  # libpq's name, which most hosts write into their URLs; asyncpg's is ssl
        query["ssl"] = query.pop("sslmode")
    engine = create_async_engine(
        url.set(drivername="postgresql+asyncpg", query=query),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_wait_s,
        hide_parameters=True,  # errors go to logs and dead letters, where client secrets must not
        connect_args={
            "timeout": settings.database_timeout_s,
            # seconds; a server that froze says nothing of its own limits
            "command_timeout": 90 if limited else None,
            "server_settings": {
                "application_name": "tallystick",
                "timezone": "UTC",
                **(_LIMITS if limited else {}),
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _read_url(settings: Settings, *, owner: bool) -> URL:
    name = "DATABASE_OWNER_URL" if owner and settings.database_owner_url else "DATABASE_URL"
    try:
        url = make_url((owner and settings.database_owner_url) or settings.database_url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"{name} is not a database URL.") from error
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(f"{name} is not the URL of a PostgreSQL database.")
    return url


def service_role(settings: Settings) -> str | None:
    """The user of DATABASE_URL where the tables belong to another one; None where they are the same."""
    if not settings.database_owner_url:
        return None
    service = _read_url(settings, owner=False).username
    return service if service != _read_url(settings, owner=True).username else None


def autocommit(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """A connection on which each statement is a transaction of its own: one round trip instead of three."""
    return engine.execution_options(isolation_level="AUTOCOMMIT").connect()


@asynccontextmanager
async def snapshot(engine: AsyncEngine, shared: str | None = None) -> AsyncIterator[AsyncConnection]:
    """A connection on which all that is read was committed at one moment, and that cannot write.

    ``shared`` names the snapshot of another connection (``pg_export_snapshot()``): the same moment.
    """
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        if shared is not None:
            await connection.execute(text(f"SET TRANSACTION SNAPSHOT '{shared}'"))
        yield connection


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Where one connection was closed, those beside it were: the pool opens all of them anew."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("The server has closed the connection.")


def database_is_away(error: BaseException) -> bool:
    """Whether an error says that PostgreSQL is down, restarting or full, rather than that data is bad."""
    if isinstance(error, PoolTimeoutError | OSError | TimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    if sqlstate:
        return sqlstate.startswith(_AWAY)
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
