"""Looks into the inbox, the ledger and the locks, for tests of the pipeline."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


async def book_balances(engine: AsyncEngine) -> dict[tuple[str, str], int]:
    """Debits less credits of every account, by name and currency."""
    query = text("""
        SELECT a.name, a.currency, b.debits - b.credits AS balance
          FROM account_balances b JOIN ledger_accounts a ON a.id = b.account_id""")
    async with engine.connect() as connection:
        return {(row.name, row.currency): row.balance for row in await connection.execute(query)}


async def event_states(engine: AsyncEngine) -> dict[str, tuple[str, int]]:
    """Status and counted attempts of every event in the inbox."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT id, status, attempts FROM webhook_events"))
        return {row.id: (row.status, row.attempts) for row in rows}


async def attempts_of(engine: AsyncEngine, event: str) -> list[Any]:
    """The recorded attempts of an event, first to last."""
    query = text("SELECT * FROM event_attempts WHERE event_id = :id ORDER BY attempt")
    async with engine.connect() as connection:
        return list((await connection.execute(query, {"id": event})).all())


async def effect_keys(engine: AsyncEngine) -> set[str]:
    """The effect keys that stand in the ledger."""
    async with engine.connect() as connection:
        return set((await connection.execute(text("SELECT effect_key FROM ledger_transactions"))).scalars())


async def wait_until_blocked(engine: AsyncEngine, task: asyncio.Task[Any]) -> None:
    """Until ``task`` has ended, or a statement in this database waits for a lock."""
    query = text("""
        SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'""")
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        while not (await autocommit.execute(query)).scalar_one():
            if (await asyncio.wait([task], timeout=0.01))[0]:
                return
