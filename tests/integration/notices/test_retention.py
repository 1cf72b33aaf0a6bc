"""What is over is removed in batches: deliveries, and what a notice said; that it was told is remembered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.integration.notices.conftest import Json, Post

from tallystick.pipeline.notices import retention
from tallystick.pipeline.notices.retention import prune

MONTH = timedelta(days=30)


async def kept(post: Post) -> tuple[list[int], list[Json]]:
    """The notices that still have a delivery, and what each notice says."""
    async with post.face.app.engine.connect() as connection:
        deliveries = await connection.execute(text("SELECT notice_id FROM notice_deliveries ORDER BY 1"))
        notices = await connection.execute(text("SELECT data FROM outbox ORDER BY id"))
        return list(deliveries.scalars()), list(notices.scalars())


async def age(post: Post, *notices: int) -> None:
    """Make these notices, and what came of them, older than a month."""
    for table, column, key in (
        ("outbox", "created_at", "id"),
        ("notice_deliveries", "finished_at", "notice_id"),
    ):
        statement = f"UPDATE {table} SET {column} = {column} - interval '40 days'"
        await post.execute(f"{statement} WHERE {key} = ANY(CAST(:ids AS bigint[]))", ids=list(notices))


async def test_what_is_older_than_a_month_goes(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    await post.endpoint()
    await post.tell(1, 2, 3, 4, 5)
    async with post.sending():
        await post.until_none_waits()
    await age(post, 1, 2, 3)
    await prune(post.face.app.engine, MONTH)
    assert await kept(post) == ([4, 5], [{}, {}, {}, {"n": 4}, {"n": 5}])
    assert await _attempts(post) == 2
    await prune(post.face.app.engine, MONTH)
    assert (await kept(post))[0] == [4, 5]
    await post.tell(1, 4)
    async with post.sending():
        await post.until_none_waits()
    assert len(post.receiver.messages) == 5, "nothing is told twice"


async def test_what_no_endpoint_wanted_goes_too(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    await post.tell(1, 2, 3)
    await age(post, 1, 2)
    await prune(post.face.app.engine, MONTH)
    assert await kept(post) == ([], [{}, {}, {"n": 3}])
    await age(post, 3)
    await prune(post.face.app.engine, MONTH)
    assert await kept(post) == ([], [{}, {}, {}])


async def test_what_can_be_sent_again_keeps_what_it_says(post: Post) -> None:
    endpoint = await post.endpoint()
    await post.tell(1, 2)
    await post.change(endpoint, "/disable")
    async with post.sending():
        await post.until_none_waits()
    await post.execute("UPDATE outbox SET created_at = created_at - interval '40 days'")
    await prune(post.face.app.engine, MONTH)
    assert await kept(post) == ([1, 2], [{"n": 1}, {"n": 2}]), "its deliveries ended a moment ago"
    await age(post, 1)
    await prune(post.face.app.engine, MONTH)
    assert await kept(post) == ([2], [{}, {"n": 2}])


async def _attempts(post: Post) -> int:
    async with post.face.app.engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM notice_attempts"))).scalar_one())
