"""What a burst must come to, whatever happened in the middle of it."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from tests.builders import StripeStory
from tests.conftest import Databases
from tests.faults.installation import Installation
from tests.road import Road, picture

from tallystick.db.session import open_engine
from tallystick.settings import load_settings


async def undisturbed(databases: Databases, story: StripeStory) -> dict[str, list[Any]]:
    """What the story comes to when nothing happens: in order, in one process, in another database."""
    url = await databases.create()
    engine = open_engine(load_settings({}, require=(), database_url=url))
    try:
        road = Road(engine, story)
        for start in range(0, len(story.events), 100):
            await road.deliver(story.events[start : start + 100])
        await road.finish()
        return await picture(engine)
    finally:
        await engine.dispose()
        await databases.drop(url)


async def assert_as_if_nothing_happened(
    installation: Installation, story: StripeStory, expected: dict[str, list[Any]]
) -> None:
    """Every event is processed once, at its first attempt; all books and rows equal the undisturbed ones."""
    end = await installation.settled(len(story.events))
    assert (end.pending, end.dead, end.half_done) == (0, 0, 0)
    actual = await picture(installation.engine)
    for name, rows in expected.items():
        different = [pair for pair in zip_longest(actual[name], rows) if pair[0] != pair[1]]
        assert not different, f"{len(different)} {name} differ from the undisturbed run: {different[0]}"
    clearing = [row for row in actual["balances"] if row[0] == "assets:stripe:clearing"]
    assert clearing
    assert all(debits == credits_ for _, _, debits, credits_ in clearing), "clearing is drained"
    assert await installation.scalar("SELECT count(*) FROM event_attempts") == 0
    failed = [line for line in installation.log("worker") if line["event"] == "loop_failed"]
    assert failed == [], failed[0]["exception"]
