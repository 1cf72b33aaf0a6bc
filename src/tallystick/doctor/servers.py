"""PostgreSQL and Redis: there, new enough, allowed, and set up for the work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.app import open_redis
from tallystick.db.migrate import head, is_behind, is_current
from tallystick.db.roles import ONLY_ADDED, changeable
from tallystick.db.session import open_engine
from tallystick.db.tables import metadata
from tallystick.doctor.findings import Finding, failed, ok, skipped, warning
from tallystick.errors import ConfigurationError
from tallystick.ledger.revenue_map import RevenueMap
from tallystick.pipeline.account_maps import account_maps
from tallystick.settings import Settings

_OLDEST_POSTGRES: Final = 140000
_OLDEST_REDIS: Final = (6, 2)
_PATIENCE_S: Final = 10.0
_LARGEST_SKEW_S: Final = 5.0

_SERVER: Final = text("""
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
       current_setting('max_connections')::int AS connections, pg_is_in_recovery() AS standby,
       clock_timestamp() AS clock
""")

_PRIVILEGES: Final = text("""
SELECT t.name FROM unnest(CAST(:tables AS text[])) AS t (name)
 WHERE to_regclass(t.name) IS NOT NULL
   AND NOT (has_table_privilege(t.name, 'SELECT') AND has_table_privilege(t.name, 'INSERT')
            AND (t.name = ANY(CAST(:only_added AS text[])) OR has_table_privilege(t.name, 'UPDATE')))
""")


async def examine_database(settings: Settings) -> list[Finding]:
    """Reachable, version, clock, migrations, privileges, room for our connections."""
    if not settings.database_url:
        return [skipped("database", "DATABASE_URL is not set")]
    try:
        engine = open_engine(settings)
    except ConfigurationError as error:
        return [failed("database", error.detail, "mend DATABASE_URL")]
    try:
        async with asyncio.timeout(_PATIENCE_S), engine.connect() as connection:
            found = await _server(connection, settings)
            privileges = await _privileges(connection)
        migrations = await _migrations(engine)
        return [*found, migrations, privileges, *await _accounts(engine, settings)]
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        said = str(getattr(error, "orig", None) or error or type(error).__name__).splitlines()
        return [
            failed("database", said[0] if said else type(error).__name__, "check DATABASE_URL and the server")
        ]
    finally:
        await engine.dispose()


async def _accounts(engine: AsyncEngine, settings: Settings) -> list[Finding]:
    """The map of accounts in force; nothing without any."""
    if await is_behind(engine):
        return []
    async with engine.connect() as connection:
        maps = await account_maps(connection)
    try:
        RevenueMap.read(settings.accounts)
    except ConfigurationError as error:
        return [failed("accounts", error.detail, "mend the file: docs/ledger.md")]
    if not maps:
        advice = "start the worker, which puts the map in force"
        return [warning("accounts", "the map is not in force yet", advice)] if settings.accounts else []
    latest = maps[-1]
    since = f"{latest.since:%Y-%m-%d %H:%M} UTC"
    shown = f"map {latest.version} with {len(latest.rules.rules)} rules, in force since {since}"
    if settings.accounts and settings.accounts != latest.body:
        advice = "give every process the same file; a start puts it in force"
        return [warning("accounts", f"{shown}; the file here is another", advice)]
    return [ok("accounts", shown)]


async def _server(connection: AsyncConnection, settings: Settings) -> list[Finding]:
    row = (await connection.execute(_SERVER)).one()
    shown = f"PostgreSQL {row.version}"
    if row.number < _OLDEST_POSTGRES:
        found = [failed("database", f"{shown} is too old", "upgrade to PostgreSQL 14 or later")]
    elif row.standby:
        found = [failed("database", f"{shown}, a read-only standby", "name the primary in DATABASE_URL")]
    elif row.connections < 2 * settings.database_pool_size:
        found = [
            warning(
                "database",
                f"{shown} takes {row.connections} connections, a process keeps {settings.database_pool_size}",
                "raise max_connections or lower TALLYSTICK_DATABASE_POOL_SIZE",
            )
        ]
    else:
        found = [ok("database", shown)]
    skew_s = abs((datetime.now(UTC) - row.clock).total_seconds())
    if skew_s > _LARGEST_SKEW_S:
        found.append(
            warning("database clock", f"{skew_s:.0f} s away from ours", "synchronise both clocks (NTP)")
        )
    else:
        found.append(ok("database clock", "agrees with ours"))
    return found


async def _migrations(engine: AsyncEngine) -> Finding:
    if await is_current(engine):
        return ok("migrations", f"at {head()}")
    if await is_behind(engine):
        return failed("migrations", f"the schema is not at {head()}", "run 'tallystick migrate'")
    return warning("migrations", f"the schema is later than {head()}", "install the version it belongs to")


async def _privileges(connection: AsyncConnection) -> Finding:
    parameters = {"tables": sorted(metadata.tables), "only_added": sorted(ONLY_ADDED)}
    missing = list((await connection.execute(_PRIVILEGES, parameters)).scalars())
    if missing:
        return failed(
            "privileges",
            f"the user may not read and write {', '.join(missing)}",
            "run 'tallystick migrate' with the owner's DATABASE_OWNER_URL, which grants them",
        )
    if too_much := await changeable(connection):
        return warning(
            "privileges",
            f"the user could switch off what protects {', '.join(too_much)}",
            "let another role own the tables: see 'Two roles' in docs/operations.md",
        )
    return ok("privileges", "the user may read and write all tables, and only add to the ledger")


async def examine_redis(settings: Settings) -> list[Finding]:
    """Reachable, version, and whether it may throw away what the stream holds."""
    if not settings.redis_url:
        return [skipped("redis", "REDIS_URL is not set")]
    try:
        redis = open_redis(settings)
    except ConfigurationError as error:
        return [failed("redis", error.detail, "mend REDIS_URL")]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            server, memory = _one(await redis.info("server")), _one(await redis.info("memory"))
    except Exception as error:  # the driver's errors are not ours to name here
        return [
            failed("redis", f"it does not answer ({type(error).__name__})", "check REDIS_URL and the server")
        ]
    finally:
        await redis.aclose()
    return [_version(server), _eviction(memory)]


def _one(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """INFO of one node: a cluster's client answers with one for each."""
    first = next(iter(info.values()), None)
    return first if isinstance(first, Mapping) else info


def _version(server: Mapping[str, Any]) -> Finding:
    version = str(server.get("redis_version", "0"))
    name = f"{'Valkey' if 'valkey_version' in server else 'Redis'} {server.get('valkey_version', version)}"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_REDIS:
        return failed("redis", f"{name} is too old", "upgrade to Redis 6.2 or later, or Valkey")
    return ok("redis", name)


def _eviction(memory: Mapping[str, Any]) -> Finding:
    policy, limit = str(memory.get("maxmemory_policy", "noeviction")), int(memory.get("maxmemory", 0))
    if limit and policy.startswith("allkeys"):
        return warning(
            "redis eviction",
            f"maxmemory-policy is {policy}: the stream can be thrown away; events then wait for the sweep",
            "set maxmemory-policy to noeviction or volatile-lru, or give it a Redis of its own",
        )
    return ok("redis eviction", f"maxmemory-policy is {policy}")
