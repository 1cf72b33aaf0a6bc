"""``tallystick events`` and ``tallystick dead-letters`` on a real database."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.dead import Dead, bury
from tests.integration.cli.test_commands import answered, tallystick
from tests.pipeline_support import event_states
from tests.road import Road, picture

from tallystick.db.session import open_engine
from tallystick.settings import load_settings

WHY = ("--reason", "the rule is mended")


@pytest.fixture
async def dead(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> Dead:
    return await bury(engine, monkeypatch)


@contextmanager
def a_worker(url: str, dead: Dead) -> Iterator[None]:
    """A worker in another thread, since a command has its own event loop."""
    done = threading.Event()

    async def work() -> None:
        engine = open_engine(load_settings({}, require=(), database_url=url))
        road = Road(engine, dead.story, dead.stripe, retry_limit=2, retry_base_s=1e-6)
        try:
            while not done.is_set():
                async with engine.connect() as connection:
                    query = text(
                        "SELECT id FROM webhook_events WHERE status = 'pending' AND ring_at <= now()"
                    )
                    pending = list((await connection.execute(query)).scalars())
                if pending:
                    await road.process(pending)
                await asyncio.sleep(0.02)
        finally:
            await engine.dispose()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_dead_letters_are_listed_shown_replayed_and_discarded(database_url: str, dead: Dead) -> None:
    env = {"DATABASE_URL": database_url}
    listed = answered("dead-letters", "list", **env)
    assert {each["id"] for each in listed["data"]} == {dead.event, dead.balance_transaction}
    [only] = answered("dead-letters", "list", "--type", "charge.*", "--dead-after", "1h", **env)["data"]
    assert only["id"] == dead.event
    assert answered("dead-letters", "list", "--dead-before", "1h", **env)["data"] == []
    for words in (tallystick("dead-letters", "list", **env).stdout,):
        assert dead.event in words
        assert "ZeroDivisionError: a bug" in words
    shown = tallystick("dead-letters", "show", dead.event, **env).stdout
    assert "Traceback (most recent call last)" in shown
    assert "Attempt 2" in shown
    assert "VerySecret" not in shown + json.dumps(answered("dead-letters", "show", dead.event, **env))
    replayed = answered("dead-letters", "replay", dead.balance_transaction, "--by", "me", *WHY, **env)
    assert [(each["actor"], each["reason"]) for each in replayed["data"]] == [("me", WHY[1])]
    discarded = answered("dead-letters", "discard", dead.event, "--by", "me", *WHY, **env)
    assert discarded["data"][0]["status"] == "discarded"
    assert discarded["data"][0]["discards"][0]["actor"] == "me"
    assert tallystick("dead-letters", "list", **env).stdout == "Dead letters: none.\n"
    assert "Discarded" in tallystick("dead-letters", "show", dead.event, **env).stdout


def test_of_several_letters_all_or_none_are_replayed(database_url: str, dead: Dead) -> None:
    ended = tallystick("dead-letters", "replay", dead.event, "evt_nowhere", *WHY, DATABASE_URL=database_url)
    assert (ended.returncode, "evt_nowhere" in ended.stderr) == (1, True)
    assert len(answered("dead-letters", "list", DATABASE_URL=database_url)["data"]) == 2
    assert answered("events", "replays", "list", DATABASE_URL=database_url)["data"] == []


@pytest.mark.parametrize(
    "command",
    [
        ("dead-letters", "replay", "evt_1"),
        ("dead-letters", "discard", "evt_1", "--reason", " "),
        ("events", "replay", "evt_1"),
        ("events", "replay", *WHY),
        ("events", "replay", "evt_1", "--all", *WHY),
        ("events", "replay", "--created-after", "yesterday", *WHY),
    ],
)
def test_what_is_not_said_in_full_is_not_done(database_url: str, command: tuple[str, ...]) -> None:
    ended = tallystick(*command, DATABASE_URL=database_url)
    assert ended.returncode == 2, ended.stdout
    assert ended.stderr


def test_an_event_is_shown_with_its_effects(database_url: str, dead: Dead) -> None:
    event = next(each["id"] for each in dead.story.events if each["type"] == "charge.succeeded")
    found = answered("events", "show", event, DATABASE_URL=database_url)
    assert f"charge:{dead.charge}:captured" in {each["key"] for each in found["effects"]}
    shown = tallystick("events", "show", event, DATABASE_URL=database_url).stdout
    assert f"charge:{dead.charge}:captured" in shown
    assert "there" in shown
    assert '"type": "charge.succeeded"' in shown
    assert tallystick("events", "show", "evt_nowhere", DATABASE_URL=database_url).returncode == 1


def test_a_dry_run_shows_what_would_change_and_a_replay_does_it(
    database_url: str, dead: Dead, engine: AsyncEngine
) -> None:
    env = {"DATABASE_URL": database_url}
    seen = answered("events", "replay", "--all", "--dry-run", **env)
    assert seen["events"] == {"processed": len(dead.story.events) - 1, "failed": 1}
    [failure] = seen["failures"]
    assert (failure["event"], "VerySecret" in failure["error"]) == (dead.event, False)
    dead.mend()
    command = ("events", "replay", "--status", "dead", "--error", "a BUG")
    mended = answered(*command, "--dry-run", **env)
    assert mended["events"] == {"processed": 1}
    assert set(mended["effects"]["ledger_transaction"]) == {"there"}, "others told of the capture"
    assert "Nothing was changed." in tallystick(*command, "--dry-run", **env).stdout
    assert answered("events", "replays", "list", **env)["data"] == []
    with a_worker(database_url, dead):
        found = answered(*command, "--by", "me", *WHY, **env)
    assert found["counts"] == {"put_back": 1, "processed": 1}
    assert found["selection"] == {"statuses": ["dead"], "error": "a BUG"}
    [kept] = answered("events", "replays", "list", **env)["data"]
    assert kept == found
    table = tallystick("events", "replays", "list", **env).stdout
    assert WHY[1] in table
    assert "processed: 1" in table


def test_replaying_everything_at_a_rate_changes_nothing(
    database_url: str, dead: Dead, engine: AsyncEngine
) -> None:
    dead.mend()
    env = {"DATABASE_URL": database_url}
    with a_worker(database_url, dead):
        answered("events", "replay", "--status", "dead", *WHY, **env)
        before = _picture(database_url)
        found: Any = tallystick("events", "replay", "--all", "--rate", "1000", *WHY, **env)
    assert found.returncode == 0, found.stderr
    assert f"put_back: {len(dead.story.events)}" in " ".join(found.stdout.split())
    assert _picture(database_url) == before


def _picture(url: str) -> dict[str, list[Any]]:
    async def look() -> dict[str, list[Any]]:
        engine = open_engine(load_settings({}, require=(), database_url=url))
        try:
            return await picture(engine)
        finally:
            await engine.dispose()

    return asyncio.run(look())


def test_an_event_that_waits_for_its_next_attempt_goes_on_at_once(
    database_url: str, dead: Dead, engine: AsyncEngine
) -> None:
    env = {"DATABASE_URL": database_url}
    _execute(
        database_url,
        "UPDATE webhook_events SET status = 'pending', attempts = 1, ring_at = now() + interval '1 day'"
        f" WHERE id = '{dead.event}'",
    )
    [waiting] = answered("events", "list", "--status", "pending", **env)["data"]
    assert waiting["next_attempt_at"] is not None
    dead.mend()
    with a_worker(database_url, dead):
        found = answered("events", "replay", dead.event, *WHY, **env)
    assert found["counts"] == {"put_back": 1, "processed": 1}
    assert asyncio.run(_states(database_url))[dead.event] == ("processed", 0)


async def _states(url: str) -> dict[str, tuple[str, int]]:
    engine = open_engine(load_settings({}, require=(), database_url=url))
    try:
        return await event_states(engine)
    finally:
        await engine.dispose()


def _execute(url: str, statement: str) -> None:
    async def run() -> None:
        engine = open_engine(load_settings({}, require=(), database_url=url))
        try:
            async with engine.begin() as connection:
                await connection.execute(text(statement))
        finally:
            await engine.dispose()

    asyncio.run(run())
