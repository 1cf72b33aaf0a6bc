"""The streams on real servers: Valkey, a Valkey Cluster, and the distribution's Redis where there is one."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.cluster import running_cluster
from tests.faults.installation import until

from tallystick.app import App, open_app
from tallystick.embedded import EmbeddedValkey
from tallystick.pipeline.queue import EventQueue, QueueUnavailableError, Ring
from tallystick.settings import Settings, load_settings

WAIT_MS = 2000


@contextmanager
def distribution_redis(folder: Path) -> Iterator[str]:
    """Debian's redis-server on a Unix socket."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server on this machine: Valkey stands for it")
    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(str(path))
                    break
                except OSError:
                    assert process.poll() is None
            yield f"unix://{path}"
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module", params=["valkey", "valkey cluster", "redis"])
def redis_url(
    request: pytest.FixtureRequest, valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "valkey":
        yield valkey.url()
    elif request.param == "redis":
        with distribution_redis(tmp_path_factory.mktemp("redis")) as url:
            yield url
    else:
        with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
            yield cluster.url


def settings_of(redis_url: str) -> Settings:
    """Streams of their own, and no database."""
    return load_settings(
        {},
        require=(),
        database_url="postgresql://nobody@localhost/none",
        redis_url=redis_url,
        stripe_secret_key="sk_test_queue",
        stripe_webhook_secrets="whsec_queue",
        queue_name=f"test:{secrets.token_hex(6)}",
    )


@pytest.fixture
async def app(redis_url: str) -> AsyncIterator[App]:
    async with open_app(settings_of(redis_url)) as opened:
        yield opened


async def claim_all(queue: EventQueue, consumer: str, count: int) -> list[Ring]:
    """One read of each stream, again and again, as a worker does, until so many are there."""
    rings: list[Ring] = []

    async def enough() -> bool:
        for stream in queue.streams:
            rings.extend(await queue.claim(stream, consumer, 100, 1))
        return len(rings) >= count

    await until(enough)
    return rings


async def test_every_ring_is_taken_once_by_all_workers_together(app: App) -> None:
    queue = app.queue
    idents = [f"evt_{number}" for number in range(300)]
    for start in range(0, 300, 10):
        await queue.ring(idents[start : start + 10])
    assert await queue.waiting() == 300
    assert await asyncio.gather(*(queue.claim(stream, "a", 1, 1) for stream in queue.streams)) == [[]] * 4
    first = [ring for stream in queue.streams for ring in await queue.claim(stream, "a", 20, WAIT_MS)]
    assert len(first) == 80, "all streams are in use"
    rest = await claim_all(queue, "b", 220)
    assert sorted(ring.event for ring in first + rest) == sorted(idents)
    assert await queue.waiting() == 0
    await queue.ack(first + rest)
    assert await queue.reclaim("c", 100, 0) == []


async def test_what_waits_is_rung_before_a_process_ends_and_leaves_no_connection(
    valkey: EmbeddedValkey,
) -> None:
    """A ring that came after the connections to Redis are closed would open one that nobody closes."""
    settings = settings_of(valkey.url())
    async with open_app(settings) as observer:
        before = {client["id"] for client in await observer.redis.client_list()}
        async with open_app(settings) as ending:
            ending.bell.ring(["evt_last"])
        ending.bell.ring(["evt_after"])
        await asyncio.sleep(0)
        assert await observer.queue.waiting() == 1
        assert {client["id"] for client in await observer.redis.client_list()} <= before


async def test_a_waiting_reader_hears_a_ring_at_once(app: App) -> None:
    queue = app.queue
    await asyncio.gather(*(queue.claim(stream, "a", 1, 1) for stream in queue.streams))
    readers = [asyncio.create_task(queue.claim(stream, "a", 10, 60_000)) for stream in queue.streams]
    await asyncio.sleep(0)
    await queue.ring(["evt_1"])
    done, waiting = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED, timeout=4)
    assert [ring.event for reader in done for ring in reader.result()] == ["evt_1"]
    for reader in waiting:
        reader.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_flush_costs_the_rings_and_nothing_else(app: App) -> None:
    queue = app.queue
    await queue.ring(["evt_lost"])
    await claim_all(queue, "a", 1)
    for stream in queue.streams:
        await app.redis.delete(stream)
    assert await queue.waiting() == 0
    assert await queue.reclaim("b", 10, 0) == []
    await queue.ack([Ring(queue.streams[0], "1-1", "evt_lost")])
    await queue.ring(["evt_next"])
    assert await queue.waiting() == 1
    assert [ring.event for ring in await claim_all(queue, "a", 1)] == ["evt_next"]


async def test_what_a_dead_worker_held_is_taken_over_and_its_name_forgotten(app: App) -> None:
    queue = app.queue
    await queue.ring(["evt_1", "evt_2"])
    held = await claim_all(queue, "dead", 2)
    await queue.forget_idle(0)
    known = {stream for stream in queue.streams if await app.redis.xinfo_consumers(stream, "workers")}
    assert known == {ring.stream for ring in held}, "only the streams where it holds something know it still"
    assert await queue.reclaim("alive", 10, 3_600_000) == []
    taken = await queue.reclaim("alive", 10, 0)
    assert sorted(taken, key=str) == sorted(held, key=str)
    await queue.leave("alive")
    assert len(await queue.reclaim("other", 10, 0)) == 2, "one that holds something is not taken off"
    await queue.ack(taken)
    await queue.leave("other")
    await queue.forget_idle(0)
    for stream in queue.streams:
        assert await app.redis.xinfo_consumers(stream, "workers") == []


async def test_streams_are_bounded(app: App) -> None:
    queue = EventQueue(app.redis, name=f"test:{secrets.token_hex(6)}", streams=2, length=2000)
    for _ in range(8):
        await queue.ring([f"evt_{number}" for number in range(1000)])
    assert 2000 <= await queue.waiting() < 3000, "about the length is kept of 8,000"


async def test_a_redis_that_is_away_is_said_to_be(app: App) -> None:
    settings = app.settings.model_copy(update={"redis_url": "redis+cluster://127.0.0.1:1,127.0.0.1:2"})
    for url in ("redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1,127.0.0.1:2"):
        async with open_app(settings.model_copy(update={"redis_url": url})) as away:
            with pytest.raises(QueueUnavailableError):
                await away.queue.ring(["evt_1"])
            with pytest.raises(QueueUnavailableError):
                await away.queue.waiting()
