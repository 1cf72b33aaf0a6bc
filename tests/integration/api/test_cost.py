"""What a request costs the database: round trips and commits are most of a payment's time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.api.conftest import Face

from tallystick.db.session import open_engine


@contextmanager
def counted(engine: AsyncEngine) -> Iterator[Counter[str]]:
    """Statements and commits of all connections of the engine meanwhile."""
    counts: Counter[str] = Counter()

    def statement(*_arguments: object) -> None:
        counts["statements"] += 1

    def commit(*_arguments: object) -> None:
        counts["commits"] += 1

    event.listen(engine.sync_engine, "before_cursor_execute", statement)
    event.listen(engine.sync_engine, "commit", commit)
    try:
        yield counts
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", statement)
        event.remove(engine.sync_engine, "commit", commit)


async def test_a_keyed_payment_is_eight_statements_and_two_commits(face: Face) -> None:
    await face.pay()  # the API key is remembered from here on
    with counted(face.app.engine) as counts:
        order = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
        answer = await face.post("/payments", order, key="once")
    assert answer.status_code == 201
    assert counts == {"statements": 8, "commits": 2}


async def test_a_key_is_read_once_for_all_that_come_with_it_at_one_moment(face: Face) -> None:
    other = {"Authorization": f"Bearer {await face.key('events:read')}"}
    with counted(face.app.engine) as counts:
        answers = await asyncio.gather(*(face.http.get("/refunds", headers=other) for _ in range(20)))
    assert {answer.json()["code"] for answer in answers} == {"insufficient_scope"}
    assert counts == {"statements": 2, "commits": 1}, "the key, and that it is used"


async def test_a_replay_is_two_statements(face: Face) -> None:
    order = {"amount": 1000, "currency": "usd"}
    first = await face.post("/payments", order, key="once")
    with counted(face.app.engine) as counts:
        again = await face.post("/payments", order, key="once")
    assert again.content == first.content
    assert counts == {"statements": 2}


async def test_connections_that_the_server_closed_are_replaced_unnoticed(face: Face) -> None:
    paid = await face.pay()
    engine = open_engine(face.app.settings)
    async with engine.connect() as other:
        ended = await other.execute(
            text(
                "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert ended.scalar_one() >= 1
    await engine.dispose()
    for _ in range(3):
        assert (await face.http.get(f"/payments/{paid['id']}")).status_code == 200
