"""A server goes away in the middle of a burst: senders hear it, nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from tests.conftest import Databases
from tests.faults.burst import deliveries, tell_burst
from tests.faults.comparison import assert_as_if_nothing_happened, undisturbed
from tests.faults.conftest import Install
from tests.faults.installation import Installation, Progress, note, until
from tests.faults.sender import Sender

SEED = 4242


@dataclass
class Scene:
    """An installation in the middle of a burst."""

    installation: Installation
    sender: Sender
    send_more: Callable[[], None]
    """To be called by the fault once its server is away: the burst goes on."""

    async def until_more_is_done(self, count: int) -> Progress:
        before = await self.installation.progress()
        await self.installation.until_done(before.done + count)
        return await self.installation.progress()

    async def until_refused(self, count: int) -> None:
        """Until so many more deliveries were answered 503."""
        before = self.sender.answers[503]

        async def heard() -> bool:
            return self.sender.answers[503] >= before + count

        await until(heard)


async def valkey_flushed(scene: Scene) -> None:
    """FLUSHALL: stream and group are gone, with the rings of all that waits."""
    await scene.installation.flush_valkey()
    scene.send_more()


async def valkey_killed(scene: Scene) -> None:
    """SIGKILL. Without the doorbell events are taken and processed all the same; then it comes back empty."""
    valkey = scene.installation.servers.valkey
    await asyncio.to_thread(valkey.kill)
    scene.send_more()
    acknowledged = len(scene.sender.acknowledged)
    await scene.until_more_is_done(30)
    assert len(scene.sender.acknowledged) > acknowledged, "webhooks are acknowledged without Valkey"
    await asyncio.to_thread(valkey.restart)


async def postgres_stopped(scene: Scene) -> None:
    """A fast shutdown, as for an upgrade; senders are told to come again."""
    postgres = scene.installation.servers.postgres
    await asyncio.to_thread(postgres.stop)
    scene.send_more()
    await scene.until_refused(20)
    await asyncio.to_thread(postgres.start)


async def postgres_killed(scene: Scene) -> None:
    """SIGKILL of the server: it recovers from its log, with all that was acknowledged."""
    postgres = scene.installation.servers.postgres
    await asyncio.to_thread(postgres.kill)
    scene.send_more()
    acknowledged = set(scene.sender.acknowledged)
    await scene.until_refused(20)
    await asyncio.to_thread(postgres.restart)
    stored = await scene.installation.scalar("SELECT array_agg(id) FROM webhook_events")
    assert acknowledged <= set(stored)


Fault = Callable[[Scene], Awaitable[None]]
FAULTS: dict[str, list[Fault]] = {
    "Valkey": [valkey_flushed, valkey_killed],
    "PostgreSQL": [postgres_stopped, postgres_killed],
}


@pytest.mark.parametrize("server", FAULTS)
@pytest.mark.parametrize(
    "events", [pytest.param(300, id="short"), pytest.param(2000, id="long", marks=pytest.mark.long)]
)
@pytest.mark.timeout(300)
async def test_a_server_away_in_the_middle_of_a_burst(
    install: Install, databases: Databases, server: str, events: int
) -> None:
    faults = FAULTS[server]
    story = tell_burst(events, SEED)
    expected = await undisturbed(databases, story)
    note(f"seed {SEED}, {len(story.events)} events")
    sending = deliveries(story, SEED)
    share = -(-len(sending) // len(faults))
    async with install(story) as (installation, stripe):
        await installation.start_api()
        worker = installation.start_worker()
        async with Sender(installation.api_url, stripe) as sender:
            for number, fault in enumerate(faults):
                await strike(installation, sender, fault, sending[number * share : (number + 1) * share])
        note(f"answers {dict(sender.answers)}")
        assert set(sender.answers) == ({200, 503} if server == "PostgreSQL" else {200})
        assert sender.without_retry_after == 0
        await assert_as_if_nothing_happened(installation, story, expected)
        assert await installation.stop(worker) == 0


async def strike(
    installation: Installation, sender: Sender, fault: Fault, portion: list[dict[str, object]]
) -> None:
    """Let the fault strike when a half of the portion is sent and a part of that processed.

    A quarter is under way as it strikes; the last quarter is sent when the server is away.
    """
    quarter = len(portion) // 4
    before = await installation.progress()
    async with asyncio.TaskGroup() as group:

        def send(events: list[dict[str, object]]) -> None:
            group.create_task(sender.deliver(events))

        send(portion[: 2 * quarter])
        await installation.until_done(before.done + 1)
        struck = await installation.progress()
        left = len(portion) - (struck.done - before.done)
        note(f"{fault.__name__}: {struck.done - before.done} of the portion done, {left} left")
        assert left > quarter, "it strikes in the middle of the burst"
        send(portion[2 * quarter : 3 * quarter])
        await fault(Scene(installation, sender, lambda: send(portion[3 * quarter :])))
