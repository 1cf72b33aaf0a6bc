"""How the installation stands, read from the database; reading it costs the same, however much there is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.integration.test_list_plans import nodes
from tests.large_ledger import fill, vacuum
from tests.road import Road

from tallystick.db.session import autocommit
from tallystick.ledger.seals import horizon, seal
from tallystick.pipeline.views import state
from tallystick.pipeline.views.state import Backlog, EndpointStates, State, read_state

NOTHING: Final = Backlog(0, None)
LARGE: Final = {
    "webhook_events", "balance_transactions", "notice_deliveries", "outbox", "ledger_transactions",
    "ledger_entries", "event_attempts",
}  # fmt: skip


async def standing(engine: AsyncEngine) -> State:
    """The state as a process reads it."""
    async with autocommit(engine) as connection:
        return await read_state(connection)


async def run(engine: AsyncEngine, *statements: str) -> None:
    """Do something to the rows by hand."""
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


def ages(found: State, *since: Any) -> list[int]:
    """Whole hours."""
    return [round(found.age(each) / timedelta(hours=1)) for each in since]


async def test_an_empty_installation_has_nothing_waiting(engine: AsyncEngine) -> None:
    found = await standing(engine)
    assert found.pending_events == found.unposted_balance_transactions == found.pending_notices == NOTHING
    assert found.unfinished_stripe_calls == NOTHING
    assert (found.retried_events, found.seal_blocks) == (0, 0)
    assert found.events_overdue_since is None
    assert found.unsealed_since is None
    assert (found.dead_letters, found.listings) == ((), ())
    assert found.endpoints == EndpointStates(0, 0, 0, 0, None)
    assert (dict(found.suspense), dict(found.unapplied)) == ({}, {})


async def test_what_waits_and_since_when(engine: AsyncEngine) -> None:
    story = StripeStory()
    for number in range(3):
        story.succeed(story.intent(1000 + number, ours=f"pay_{number:026d}"))
    road = Road(engine, story)
    await road.deliver(story.events)
    await run(
        engine,
        "UPDATE webhook_events SET status = 'pending', received_at = now() - interval '5 hours'"
        " WHERE seq IN (1, 2)",
        "UPDATE webhook_events SET ring_at = now() - interval '2 hours' WHERE seq = 1",
        "UPDATE webhook_events SET ring_at = now() + interval '2 hours', attempts = 3,"
        " received_at = now() - interval '9 hours' WHERE seq = 2",
        "UPDATE webhook_events SET status = 'dead', finished_at = now() - interval '7 hours' WHERE seq = 3",
        "UPDATE webhook_events SET status = 'dead', finished_at = now() - interval '6 hours' WHERE seq = 4",
        "INSERT INTO event_attempts (event_id, attempt, error_code, error, traceback)"
        " SELECT id, 1, 'unexpected', 'e', 't' FROM webhook_events WHERE seq IN (3, 4)",
        "INSERT INTO event_attempts (event_id, attempt, error_code, error, traceback)"
        " SELECT id, 2, 'effect_differs', 'e', 't' FROM webhook_events WHERE seq = 4",
        "INSERT INTO balance_transactions (id, status, seen_at, dead_at) VALUES"
        " ('txn_lost', 'missing', now(), now() - interval '3 hours'),"
        " ('txn_next', 'wanted', now() - interval '4 hours', NULL)",
        "INSERT INTO stripe_calls (id, action, params, created_at)"
        " VALUES ('call', 'refund', '{}', now() - interval '8 hours')",
        "INSERT INTO stripe_listings (name, through, finished_at, found_in_all)"
        " VALUES ('events', now() - interval '1 hour', now(), 2), ('other', now(), '-infinity', 0)",
        "INSERT INTO notice_endpoints (id, channel, url, event_types, status, disabled_reason, failing_since)"
        " VALUES ('a', 'webhook', '', '{*}', 'enabled', NULL, now() - interval '10 hours'),"
        " ('b', 'webhook', '', '{*}', 'disabled', 'by_hand', NULL),"
        " ('c', 'webhook', '', '{*}', 'disabled', 'gone', now() - interval '11 hours'),"
        " ('d', 'webhook', '', '{*}', 'deleted', NULL, NULL)",
    )
    found = await standing(engine)
    assert found.pending_events.count == 2
    assert found.retried_events == 1
    assert ages(found, found.pending_events.oldest_at, found.events_overdue_since) == [9, 2]
    letters = {(each.kind, each.code): each for each in found.dead_letters}
    assert {key: each.count for key, each in letters.items()} == {
        ("event", "unexpected"): 1, ("event", "effect_differs"): 1, ("balance_transaction", "unexpected"): 1,
    }  # fmt: skip
    assert ages(found, *(each.oldest_at for each in letters.values())) == [3, 6, 7]
    assert ages(found, found.unposted_balance_transactions.oldest_at) == [4]
    assert ages(found, found.unfinished_stripe_calls.oldest_at) == [8]
    audit, never = found.listing("events"), found.listing("other")
    assert audit is not None
    assert never is not None
    assert (audit.found_in_all, never.finished_at) == (2, None)
    assert ages(found, audit.read_through) == [1]
    assert found.pending_notices.count == 3  # payments that succeeded, which no fan-out has seen
    assert found.endpoints.failing_since is not None
    assert ages(found, found.endpoints.failing_since) == [10]
    assert found.endpoints == EndpointStates(1, 1, 1, 1, found.endpoints.failing_since)


async def test_the_ledger_shows_what_has_no_place_and_what_is_not_sealed(engine: AsyncEngine) -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(1000))  # not ours: what it was for is not known
    story.balance_transaction("a_reason_of_tomorrow", charge, 250, 0, None)
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.settlement.pull()
    found = await standing(engine)
    assert dict(found.suspense) == {"usd": -250}
    assert found.unsealed_since is not None
    await seal(engine, await horizon(engine))
    found = await standing(engine)
    assert found.unsealed_since is None
    assert found.seal_blocks == 1


async def test_more_than_is_looked_at_is_counted_all_the_same(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MOST_READ", 2)
    await run(
        engine,
        "INSERT INTO webhook_events (id, type, livemode, body, status, created_at, ring_at, finished_at)"
        " SELECT 'evt_' || n, 'charge.updated', false, '{}', CASE WHEN n <= 5 THEN 'dead' ELSE 'pending' END,"
        " now(), now(), now() - n * interval '1 hour' FROM generate_series(1, 9) n",
    )
    found = await standing(engine)
    assert found.pending_events.count == 2
    dead = {each.code: each for each in found.dead_letters}
    assert {code: each.count for code, each in dead.items()} == {"unexpected": 2, state.OTHER: 3}
    assert ages(found, dead["unexpected"].oldest_at) == [5]


@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.long)])
async def test_reading_it_reads_no_large_table(engine: AsyncEngine, rows: int) -> None:
    await run(
        engine,
        "INSERT INTO webhook_events (id, type, livemode, body, status, created_at, ring_at, finished_at)"
        " SELECT 'evt_' || lpad(n::text, 24, '0'), 'charge.updated', false, '{}',"
        " CASE WHEN n % 5000 = 0 THEN 'dead' WHEN n % 5000 = 1 THEN 'pending' ELSE 'processed' END,"
        f" now(), now(), now() FROM generate_series(1, {rows}) n",
        "INSERT INTO event_attempts (event_id, attempt, error_code, error, traceback)"
        " SELECT id, 1, 'unexpected', 'e', 't' FROM webhook_events WHERE seq % 10 = 0",
        "INSERT INTO balance_transactions (id, status, body, dead_at)"
        " SELECT 'txn_' || n, CASE WHEN n % 5000 = 0 THEN 'dead' WHEN n % 5000 = 1 THEN 'fetched'"
        f" ELSE 'posted' END, '{{}}', now() FROM generate_series(1, {rows}) n",
        "INSERT INTO notice_endpoints (id, channel, url, event_types) VALUES ('a', 'webhook', '', '{*}')",
        "INSERT INTO outbox (notice_key, type, data) SELECT n, 't', '{}'"
        f" FROM generate_series(1, {rows}) n",
        "INSERT INTO notice_deliveries (endpoint_id, notice_id, status)"
        " SELECT 'a', id, CASE WHEN id % 5000 = 0 THEN 'pending' ELSE 'delivered' END FROM outbox",
    )
    await fill(engine, rows // 10)
    await seal(engine, await horizon(engine))
    await fill(engine, rows // 10 + 5, first=rows // 10)
    await vacuum(engine)
    statements: list[tuple[str, Any]] = []

    def note(*args: Any) -> None:
        statements.append((args[2], args[3]))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    async with engine.connect() as connection:
        await read_state(connection)
        event.remove(engine.sync_engine, "before_cursor_execute", note)
        assert len(statements) > 8
        for statement, parameters in statements:
            explained = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
            )
            told = explained.scalar_one()
            plan = (orjson.loads(told) if isinstance(told, str) else told)[0]["Plan"]
            for node in nodes(plan):
                assert node["Node Type"] != "Seq Scan" or node["Relation Name"] not in LARGE, statement
                assert node["Actual Rows"] * node["Actual Loops"] <= rows // 500, statement
