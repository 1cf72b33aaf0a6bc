"""Killed at each step of a batch: held there by a lock on the table that the step writes to."""

from __future__ import annotations

from functools import partial

from sqlalchemy import text
from tests.conftest import Databases
from tests.faults.burst import deliveries, tell_burst
from tests.faults.comparison import assert_as_if_nothing_happened, undisturbed
from tests.faults.conftest import Install
from tests.faults.installation import Installation, note, until
from tests.faults.sender import Sender
from tests.road import picture

SEED = 77
STEPS = {
    "ledger_entries": "INTO ledger_entries",
    "payments": "INTO payments",
    "account_balances": "INTO account_balances",
    "webhook_events": "finished_at = now()",
}
"""Tables that a batch writes to, and what the statement says by which it does. Reads pass the lock."""

_WAITING = text("""
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock' AND position(:part IN query) > 0""")

_BUSY = text("""
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'""")


async def waits(installation: Installation, part: str) -> bool:
    """Whether a statement with this part waits for a lock."""
    async with installation.engine.connect() as connection:
        return bool((await connection.execute(_WAITING, {"part": part})).scalar_one())


async def is_quiet(installation: Installation) -> bool:
    """Whether PostgreSQL has noticed that the worker is dead."""
    async with installation.engine.connect() as connection:
        return not (await connection.execute(_BUSY)).scalar_one()


async def kill_at(installation: Installation, table: str) -> None:
    """Start a worker, and kill it while the batch in hand waits to write to the table."""
    async with installation.engine.connect() as connection:
        await connection.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))
        worker = installation.start_worker()
        await until(partial(waits, installation, STEPS[table]))
        await installation.kill(worker)
        await connection.rollback()
    await until(partial(is_quiet, installation))


async def test_a_batch_leaves_nothing_of_itself_wherever_it_is_killed(
    install: Install, databases: Databases
) -> None:
    story = tell_burst(100, SEED)
    expected = await undisturbed(databases, story)
    async with install(story) as (installation, stripe):
        await installation.start_api()
        async with Sender(installation.api_url, stripe) as sender:
            await sender.deliver(deliveries(story, SEED))
        stripe.hang()  # so that only the batch writes
        before = await picture(installation.engine)
        for table in STEPS:
            await kill_at(installation, table)
            note(f"killed while it waited to write to {table}")
            assert await picture(installation.engine) == before
            assert (await installation.progress()).half_done == 0
        stripe.answer()
        worker = installation.start_worker()
        await assert_as_if_nothing_happened(installation, story, expected)
        assert await installation.stop(worker) == 0
