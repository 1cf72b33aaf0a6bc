"""Lists of the inbox: every page is bounded, however rare what is looked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.pipeline.views import events
from tallystick.pipeline.views.events import StoredEvent, list_events
from tallystick.pipeline.views.selection import EventStatus, Selection

_ARCHIVE: Final = (
    "INSERT INTO event_archives (last_seq, events, offsets, body) VALUES (0, 1, '{2}', 'x') RETURNING id"
)
_FILL: Final = text("""
INSERT INTO webhook_events (
  id, type, api_version, livemode, status, created_at, received_at, ring_at, archive_id, archive_position
)
SELECT 'evt_' || lpad(n::text, 12, '0'),
       CASE WHEN n % :rare = 1 THEN 'climate.surprised' ELSE 'charge.succeeded' END,
       '2026-10-28.endive', false,
       CASE WHEN n % :rare = 1 THEN 'ignored' WHEN n = 7 THEN 'dead' ELSE 'processed' END,
       t, t, t, :archive, 1
  FROM (SELECT n, timestamptz '2026-01-01' + n * interval '6 seconds' AS t
          FROM generate_series(1, :rows) AS n) AS s
""")


async def fill(engine: AsyncEngine, rows: int, rare: int) -> None:
    """An inbox of so many events, of which the first and every ``rare``-th after it was ignored."""
    async with engine.begin() as connection:
        archive = (await connection.execute(text(_ARCHIVE))).scalar_one()
        await connection.execute(_FILL, {"rows": rows, "rare": rare, "archive": archive})


async def pages(connection: AsyncConnection, selection: Selection, limit: int) -> list[list[StoredEvent]]:
    """All pages of a list."""
    found = []
    cursor = None
    while True:
        page, cursor = await list_events(connection, selection, limit=limit, cursor=cursor)
        found.append(page)
        if cursor is None:
            return found


@pytest.mark.parametrize(
    "selection", [Selection(types=("climate.*",)), Selection(statuses=(EventStatus.IGNORED,))]
)
async def test_what_is_rare_is_found_over_pages_that_look_through_so_many(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, selection: Selection
) -> None:
    await fill(engine, rows=300, rare=70)
    monkeypatch.setattr(events, "SPAN", 50)
    async with engine.connect() as connection:
        found = await pages(connection, selection, limit=20)
    assert [[int(each.id[4:]) for each in page] for page in found] == [
        [281],
        [211],
        [],
        [141],
        [71],
        [1],
        [],
    ][:7]


async def test_a_page_that_is_full_goes_on_behind_its_last(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(engine, rows=60, rare=2)
    monkeypatch.setattr(events, "SPAN", 50)
    async with engine.connect() as connection:
        found = await pages(connection, Selection(types=("climate.*",)), limit=10)
        everything = await pages(connection, Selection(), limit=25)
        dead = await pages(connection, Selection(statuses=(EventStatus.DEAD,)), limit=10)
    numbers = [int(each.id[4:]) for page in found for each in page]
    assert numbers == list(range(59, 0, -2))
    assert [len(page) for page in everything] == [25, 25, 10]
    assert [[each.id for each in page] for page in dead] == [[]], "7 is odd, and so was ignored"


ROWS: Final = 1_000_000
MARCH: Final = datetime(2026, 3, 1, tzinfo=UTC)
FILTERS: Final = {
    "all": Selection(),
    "a rare type": Selection(types=("climate.*",)),
    "a type that none has": Selection(types=("no.such",)),
    "a status that few have": Selection(statuses=(EventStatus.IGNORED,)),
    "a status that none has": Selection(statuses=(EventStatus.DISCARDED,)),
    "dead": Selection(statuses=(EventStatus.DEAD,)),
    "pending": Selection(statuses=(EventStatus.PENDING,)),
    "created before all": Selection(created_before=datetime(2020, 1, 1, tzinfo=UTC)),
    "received before a time": Selection(received_before=MARCH),
    "an error that none has": Selection(error="no such error"),
}


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_no_list_of_events_reads_the_whole_inbox(engine: AsyncEngine) -> None:
    await fill(engine, rows=ROWS, rare=100_000)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE webhook_events"))
    for name, selection in FILTERS.items():
        for read in await rows_read(engine, selection):
            assert read <= events.SPAN + 100, f"{name} reads {read} rows"


async def rows_read(engine: AsyncEngine, selection: Selection) -> list[int]:
    """How many rows each statement of a page reads, those that do not fit too."""
    statements: list[tuple[str, Any]] = []

    def note(*args: Any) -> None:
        statements.append((args[2], args[3]))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    async with engine.connect() as connection:
        await list_events(connection, selection, limit=20)
        event.remove(engine.sync_engine, "before_cursor_execute", note)
        read = []
        for statement, parameters in statements:
            explained = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
            )
            told = explained.scalar_one()
            plan = (orjson.loads(told) if isinstance(told, str) else told)[0]["Plan"]
            read.append(max(_read(node) for node in _nodes(plan)))
    return read


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


def _read(node: dict[str, Any]) -> int:
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
    return int((node["Actual Rows"] + dropped) * node["Actual Loops"])
