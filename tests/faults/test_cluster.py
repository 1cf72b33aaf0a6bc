"""The doorbell on a Valkey Cluster that loses a primary in the middle of a burst."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.conftest import Databases
from tests.faults.burst import deliveries, tell_burst
from tests.faults.cluster import Cluster, running_cluster
from tests.faults.comparison import assert_as_if_nothing_happened, undisturbed
from tests.faults.conftest import Install
from tests.faults.installation import Installation, note, until
from tests.faults.sender import Sender

from tallystick.api import rate_limits
from tallystick.api.keys import ApiKey
from tallystick.app import open_app
from tallystick.settings import load_settings

SEED = 31


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three primaries with a replica each."""
    with running_cluster(tmp_path) as running:
        yield running


async def entries_read(installation: Installation, cluster: Cluster) -> dict[int, int]:
    """By the port of each primary: how many rings have been handed out of its streams."""
    nodes = [ClusterNode("127.0.0.1", port) for port in cluster.primaries_now()]
    client = RedisCluster(startup_nodes=nodes)
    try:
        await client.initialize()
        read: dict[int, int] = {}
        for number in range(4):
            stream = f"{installation.name}:{{{number}}}"
            node = client.get_node_from_key(stream)
            assert node is not None
            groups = await client.xinfo_groups(stream)
            port = int(node.port)
            read[port] = read.get(port, 0) + sum(group["entries-read"] or 0 for group in groups)
        return read
    finally:
        await client.aclose()


async def eventually_read(installation: Installation, cluster: Cluster) -> dict[int, int]:
    """As soon as every node that is asked has heard of the failover."""
    while True:
        try:
            return await entries_read(installation, cluster)
        except RedisConnectionError:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "events", [pytest.param(300, id="short"), pytest.param(2000, id="long", marks=pytest.mark.long)]
)
@pytest.mark.timeout(300)
async def test_a_primary_killed_in_the_middle_of_a_burst(
    install: Install, databases: Databases, cluster: Cluster, events: int
) -> None:
    story = tell_burst(events, SEED)
    expected = await undisturbed(databases, story)
    sending = deliveries(story, SEED)
    third = len(sending) // 3
    async with install(story, redis_url=cluster.url) as (installation, stripe):
        await installation.start_api()
        worker = installation.start_worker()
        async with Sender(installation.api_url, stripe) as sender:
            await sender.deliver(sending[:third])
            await installation.until_done(third // 2)
            spread = await entries_read(installation, cluster)
            assert set(spread) == cluster.primaries_now(), "every primary holds a stream that is read"
            async with asyncio.TaskGroup() as group:
                group.create_task(sender.deliver(sending[third : 2 * third]))
                victim = cluster.primaries[0]
                await asyncio.to_thread(victim.kill)

                async def failed_over() -> bool:
                    return len(await asyncio.to_thread(cluster.primaries_now)) == len(cluster.primaries)

                await until(failed_over)
            before = await eventually_read(installation, cluster)
            await sender.deliver(sending[2 * third :])

            async def read_everywhere() -> bool:
                now = await entries_read(installation, cluster)
                return all(now[port] > before[port] for port in cluster.primaries_now())

            await until(read_everywhere)
        note(f"before {spread}, after the failover {before}, answers {dict(sender.answers)}")
        assert set(sender.answers) == {200}
        assert victim.port not in before
        await assert_as_if_nothing_happened(installation, story, expected)
        assert await installation.stop(worker) == 0


async def test_requests_of_a_key_are_counted_on_a_cluster(
    cluster: Cluster, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "_PATIENCE_S", 30.0)  # a slow machine is no Redis that is away
    given = {"redis_url": cluster.url, "database_url": database_url, "stripe_secret_key": "sk_test_x"}
    key = ApiKey("key_1", "n", "h", frozenset(), datetime.now(UTC), None, None, None, rate_limit="2/hour")
    async with open_app(load_settings({}, require=(), **given)) as app:
        limits = rate_limits.RateLimits(app)
        left = [await limits.spend(key) for _ in range(2)]
        assert [each.remaining for each in left if each is not None] == [1, 0]
        with pytest.raises(rate_limits.KeyLimitedError):
            await limits.spend(key)
