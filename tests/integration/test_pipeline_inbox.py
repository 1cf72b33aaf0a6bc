"""The inbox: concurrent events share commits, and nobody hears "stored" of what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import Databases

from tallystick.db.session import open_engine
from tallystick.errors import DatabaseUnavailableError
from tallystick.pipeline import inbox as pipeline_inbox
from tallystick.pipeline.inbox import Inbox
from tallystick.pipeline.incoming import IncomingEvent
from tallystick.settings import load_settings


class Rings:
    """A bell that remembers."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []

    def __call__(self, events: Sequence[str]) -> None:
        self.groups.append(list(events))

    @property
    def events(self) -> list[str]:
        return [event for group in self.groups for event in group]


def inbox_on(engine: AsyncEngine, rings: Rings, *, timeout_s: float = 10) -> Inbox:
    return Inbox(engine, rings, ring_grace_s=5, timeout_s=timeout_s)


def incoming(ident: str, body: bytes = b'{"a" : 1}\n') -> IncomingEvent:
    return IncomingEvent(ident, "charge.succeeded", "2026-10-28.endive", False, datetime.now(UTC), body)


async def scalars(engine: AsyncEngine, query: str) -> list[object]:
    async with engine.connect() as connection:
        return list((await connection.execute(text(query))).scalars())


async def test_concurrent_events_share_commits(engine: AsyncEngine) -> None:
    """The first is written alone; what gathers meanwhile goes in as one, up to 500."""
    rings = Rings()
    inbox = inbox_on(engine, rings)
    idents = [f"evt_{number:04}" for number in range(700)]
    assert await asyncio.gather(*(inbox.receive(incoming(ident)) for ident in idents)) == [True] * 700
    commits = await scalars(engine, "SELECT count(*) FROM webhook_events GROUP BY xmin ORDER BY min(seq)")
    assert commits == [500, 200]
    assert [len(group) for group in rings.groups] == commits
    assert sorted(rings.events) == idents
    assert await inbox.receive(incoming("evt_later"))
    assert rings.groups[-1] == ["evt_later"]


async def test_what_comes_while_a_group_is_written_is_the_next_group(engine: AsyncEngine) -> None:
    rings = Rings()
    inbox = inbox_on(engine, rings)
    first = asyncio.create_task(inbox.receive(incoming("evt_0")))
    await asyncio.sleep(0)  # the writer begins with what is there
    await asyncio.sleep(0)
    others = [asyncio.create_task(inbox.receive(incoming(f"evt_{number}"))) for number in range(1, 50)]
    assert await first
    assert all(await asyncio.gather(*others))
    assert [len(group) for group in rings.groups] == [1, 49]


async def test_what_comes_shortly_after_a_group_shares_a_commit_unless_it_is_a_crowd(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_inbox, "_PACE_S", 0.5)
    rings = Rings()
    inbox = inbox_on(engine, rings)
    assert await inbox.receive(incoming("evt_0"))
    one = asyncio.create_task(inbox.receive(incoming("evt_1")))
    await asyncio.sleep(0.05)
    assert not one.done()
    assert all(await asyncio.gather(one, inbox.receive(incoming("evt_2"))))
    assert [len(group) for group in rings.groups] == [1, 2]
    monkeypatch.setattr(pipeline_inbox, "_PACE_S", 3600)
    assert await inbox.receive(incoming("evt_3"))
    assert all(await asyncio.gather(*(inbox.receive(incoming(f"evt_1{number}")) for number in range(20))))
    assert [len(group) for group in rings.groups] == [1, 2, 1, 20]


async def test_bodies_are_kept_byte_for_byte(engine: AsyncEngine) -> None:
    body = bytes(range(256)) * 3
    await inbox_on(engine, Rings()).receive(incoming("evt_1", body))
    assert await scalars(engine, "SELECT body FROM webhook_events") == [body]


async def test_duplicates_are_told_and_stored_once(engine: AsyncEngine) -> None:
    """Ten of each at once, through two inboxes as two API processes have; then again."""
    rings = Rings()
    inboxes = [inbox_on(engine, rings) for _ in range(2)]
    idents = [f"evt_{number}" for number in range(20)] * 10
    answers = await asyncio.gather(
        *(inboxes[number % 2].receive(incoming(ident)) for number, ident in enumerate(idents))
    )
    assert sum(answers) == 20
    assert sorted(rings.events) == sorted(set(idents)), "each rings once"
    again = await asyncio.gather(*(inboxes[0].receive(incoming(ident, b"other")) for ident in set(idents)))
    assert not any(again)
    assert await scalars(engine, "SELECT DISTINCT body FROM webhook_events") == [b'{"a" : 1}\n']
    assert await scalars(engine, "SELECT count(*) FROM webhook_events") == [20]


async def test_while_the_database_is_away_every_caller_is_told(databases: Databases) -> None:
    url = await databases.create()
    engine = open_engine(load_settings({}, require=(), database_url=url))
    rings = Rings()
    inbox = inbox_on(engine, rings)
    try:
        assert await inbox.receive(incoming("evt_0"))
        await databases.drop(url)
        answers = await asyncio.gather(
            *(inbox.receive(incoming(f"evt_{number}")) for number in range(1, 20)), return_exceptions=True
        )
    finally:
        await engine.dispose()
    assert all(isinstance(answer, DatabaseUnavailableError) for answer in answers), answers
    assert {answer.retry_after for answer in answers if isinstance(answer, DatabaseUnavailableError)} == {5}
    assert rings.events == ["evt_0"]


async def test_nobody_waits_longer_than_the_limit_and_the_inbox_works_on(engine: AsyncEngine) -> None:
    """A lock on the table stands for a disk that does not answer."""
    rings = Rings()
    inbox = inbox_on(engine, rings, timeout_s=0.2)
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE"))
        answers = await asyncio.gather(
            *(inbox.receive(incoming(f"evt_{number}")) for number in range(20)), return_exceptions=True
        )
        assert all(isinstance(answer, DatabaseUnavailableError) for answer in answers), answers
    assert await scalars(engine, "SELECT id FROM webhook_events") == []
    assert await inbox.receive(incoming("evt_1"))
    assert rings.events == ["evt_1"]


async def test_one_that_cannot_be_stored_does_not_refuse_the_others(engine: AsyncEngine) -> None:
    """The route lets no NUL through; should anything else be wrong with one, the others are stored."""
    rings = Rings()
    inbox = inbox_on(engine, rings)
    events = [incoming(f"evt_{number}") for number in range(20)]
    events[7] = replace(events[7], type="nul\0")
    answers = await asyncio.gather(*(inbox.receive(event) for event in events), return_exceptions=True)
    assert isinstance(answers.pop(7), DatabaseUnavailableError)
    assert answers == [True] * 19
    assert len(rings.events) == 19


async def test_a_caller_that_went_away_does_not_disturb_the_others(engine: AsyncEngine) -> None:
    rings = Rings()
    inbox = inbox_on(engine, rings)
    tasks = [asyncio.create_task(inbox.receive(incoming(f"evt_{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert answers == [True] * 19


@pytest.mark.parametrize("grace_s", [5.0, 30.0])
async def test_the_sweep_rings_only_after_the_grace(engine: AsyncEngine, grace_s: float) -> None:
    inbox = Inbox(engine, Rings(), ring_grace_s=grace_s, timeout_s=5)
    await inbox.receive(incoming("evt_1"))
    query = "SELECT CAST(extract(epoch FROM ring_at - received_at) AS float8) FROM webhook_events"
    (wait,) = await scalars(engine, query)
    assert isinstance(wait, float)
    assert grace_s - 1 < wait < grace_s + 1


async def test_what_waits_for_a_slow_database_is_bounded(engine: AsyncEngine) -> None:
    """By number and by size; and as soon as the database keeps up again, events are taken again."""
    inbox = inbox_on(engine, Rings(), timeout_s=60)
    async with engine.connect() as blocking:
        await blocking.execute(text("LOCK TABLE webhook_events"))
        first = asyncio.create_task(inbox.receive(incoming("evt_first")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        body = b"x" * 1024 * 1024
        large = [asyncio.create_task(inbox.receive(incoming(f"evt_{n}", body))) for n in range(66)]
        await asyncio.wait(large, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
        refused = {task for task in large if task.done()}
        assert 0 < len(refused) <= 3
        for task in refused:
            with pytest.raises(DatabaseUnavailableError):
                await task
        await blocking.rollback()
    assert await first
    assert await asyncio.gather(*(set(large) - refused)) == [True] * (66 - len(refused))
    assert await inbox.receive(incoming("evt_after", body))
