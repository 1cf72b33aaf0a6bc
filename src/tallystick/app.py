"""The only wiring: what a process of Tallystick holds open. No global state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.credentials import CredentialSource
from tallystick.db.door import Door
from tallystick.db.migrate import is_behind
from tallystick.db.session import autocommit, database_is_away, open_engine
from tallystick.errors import ConfigurationError, DatabaseUnavailableError
from tallystick.exposition.scrape import Scrape
from tallystick.pipeline import account_maps
from tallystick.pipeline.bell import Bell
from tallystick.pipeline.inbox import Inbox
from tallystick.pipeline.notices.webhook_client import WebhookClient
from tallystick.pipeline.queue import EventQueue
from tallystick.settings import Settings, unknown_variables
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.keyring import Credentials, Keyring

log = structlog.get_logger(__name__)

_NEWEST: Final = text("""
SELECT (SELECT livemode FROM webhook_events ORDER BY seq DESC LIMIT 1),
       (SELECT livemode FROM payments ORDER BY created_at DESC, id DESC LIMIT 1)
""")
_CLUSTER: Final = "+cluster://"


@dataclass(frozen=True)
class App:
    """What the API and the worker are built on; made by ``open_app``."""

    settings: Settings
    engine: AsyncEngine
    door: Door
    redis: Redis | RedisCluster
    queue: EventQueue
    bell: Bell
    inbox: Inbox
    keyring: Keyring
    stripe: StripeGateway
    webhooks: WebhookClient
    scrape: Scrape


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Open everything lazily (a server that is away is met by the first use) and close it at the end.

    Secrets that can change while the process runs are read first, and looked at again every few seconds.
    Raises ConfigurationError when a URL or a master key cannot be read, or live and test keys are mixed.
    """
    engine = open_engine(settings)
    door = Door(
        max(1, settings.database_pool_size // 2),
        wait_s=settings.request_wait_s,
        still_s=settings.database_wait_s,
    )
    redis = open_redis(settings)
    keyring = Keyring(Credentials.of(settings))
    source = CredentialSource(settings, engine, keyring)
    stripe = StripeGateway(settings, keyring)
    queue = EventQueue(
        redis, name=settings.queue_name, streams=settings.queue_streams, length=settings.queue_length
    )
    bell = Bell(queue)
    inbox = Inbox(
        engine, bell.ring, ring_grace_s=settings.ring_grace_s, timeout_s=2 * settings.database_timeout_s
    )
    webhooks = WebhookClient(settings)
    looking: asyncio.Task[None] | None = None
    try:
        if source.changeable:
            await source.refresh()
            looking = asyncio.create_task(source.run(), name="credentials")
        scrape = Scrape(engine, queue, stripe, door, inbox)
        yield App(settings, engine, door, redis, queue, bell, inbox, keyring, stripe, webhooks, scrape)
    finally:
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await webhooks.close()
        await stripe.close()
        await bell.close()
        await redis.aclose()
        await engine.dispose()


def open_redis(settings: Settings) -> Redis | RedisCluster:
    """A cluster is named by its scheme, ``redis+cluster://host:port,host:port`` (any of its nodes).

    One retry on a fresh connection covers a restart of Redis; more would only delay the caller. A cluster
    gets a few, since each one asks anew where the slots are. Raises ConfigurationError.
    """
    url = settings.redis_url
    options: dict[str, Any] = {
        "socket_connect_timeout": 1.0, "socket_timeout": 5.0, "health_check_interval": 30,
    }  # fmt: skip
    try:
        if _CLUSTER not in url:
            return Redis.from_url(url, retry=Retry(NoBackoff(), 1), **options)
        scheme, _, address = url.partition(_CLUSTER)
        first, *others = address.split(",")
        nodes = [urlsplit(f"{scheme}://{other}") for other in others]
        return RedisCluster.from_url(
            f"{scheme}://{first}",
            startup_nodes=[ClusterNode(node.hostname or "", node.port or 6379) for node in nodes],
            retry=Retry(ConstantBackoff(0.2), 3),
            **options,
        )
    except (ValueError, RedisError) as error:
        raise ConfigurationError("REDIS_URL is not a Redis URL.") from error


async def check_start(app: App) -> None:
    """What a process should be told of before it works.

    Raises ConfigurationError when the database lacks migrations of this version, when there is no Stripe key,
    when the key is of the other mode (live or test) than what the database holds, or when the map of accounts
    cannot be read. A database that is away is waited for by the loops, not here, unless there is a map to put
    in force: DatabaseUnavailableError.
    """
    for name in unknown_variables():
        log.warning("unknown_setting", variable=name, consequence="it has no effect")
    try:
        behind = await is_behind(app.engine)
        modes = set() if behind else await _modes(app.engine)
    except Exception as error:
        if not database_is_away(error):
            raise
        if app.settings.accounts:
            raise DatabaseUnavailableError("The map of accounts cannot be put in force.") from error
        log.warning("database_unavailable", error=type(error).__name__)
        return
    if behind:
        raise ConfigurationError("The database lacks migrations of this version: run 'tallystick migrate'.")
    livemode = app.keyring.current.livemode
    if livemode is None:
        raise ConfigurationError(
            "There is no Stripe key: set STRIPE_SECRET_KEY, or 'tallystick secrets set stripe_secret_key'."
        )
    if modes - {livemode}:
        key, rows = ("live", "test") if livemode else ("test", "live")
        raise ConfigurationError(
            f"STRIPE_SECRET_KEY is a {key} key, and the database holds {rows} payments: use one database for"
            " each mode."
        )
    if app.settings.accounts:
        await account_maps.enter(app.engine, app.settings.accounts)


async def _modes(engine: AsyncEngine) -> set[bool]:
    """Whether the newest event and the newest payment are live."""
    async with autocommit(engine) as connection:
        row = (await connection.execute(_NEWEST)).one()
    return {mode for mode in row if mode is not None}
