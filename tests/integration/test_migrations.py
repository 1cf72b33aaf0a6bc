"""Databases of earlier versions with data in them, brought to this one: nothing is lost, all is filled.

The rows are those that a worker writes today, copied into the older schema as far as it has their columns.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests import billing_builders as billing
from tests.builders import StripeStory
from tests.conftest import Databases
from tests.road import Road, picture

from tallystick.db import migrate
from tallystick.db.session import open_engine
from tallystick.ledger import seals
from tallystick.ledger.balances import list_accounts, sums_at
from tallystick.ledger.verification import verify
from tallystick.pipeline.rebuild.check import check
from tallystick.settings import load_settings

FIRST: Final = "0001"
ORDER: Final = (
    "api_keys", "webhook_events", "event_attempts", "balance_transactions", "fetched_objects",
    "ledger_accounts", "ledger_transactions", "ledger_entries", "effect_dates", "account_balances",
    "payments", "refunds", "outbox", "idempotency_keys",
    "ledger_seals", "ledger_sums", "entry_spans", "transaction_spans",
)  # fmt: skip
"""Tables whose rows are copied, if the older schema has them; those that others name come first."""
OURS = "pay_" + "0" * 26


@asynccontextmanager
async def database_at(databases: Databases, revision: str) -> AsyncIterator[AsyncEngine]:
    """A database with the schema of a revision."""
    url = databases.postgres.url(f"migrated_{secrets.token_hex(4)}")
    engine = open_engine(load_settings({}, require=(), database_url=url))
    try:
        await migrate_to(engine, revision)
        yield engine
    finally:
        await engine.dispose()
        await databases.drop(url)


async def migrate_to(engine: AsyncEngine, revision: str) -> None:
    """As ``migrate.upgrade``, but no further than a revision."""

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrate._MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    async with engine.begin() as connection:
        await connection.run_sync(upgrade)


async def columns_of(connection: AsyncConnection, table: str) -> set[str]:
    """Those that can be written to; the database transaction's id is its own."""
    query = text("""
        SELECT column_name FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = :table AND is_generated = 'NEVER'
    """)
    return set((await connection.execute(query, {"table": table})).scalars()) - {"xact"}


async def copied(source: AsyncEngine, target: AsyncEngine) -> None:
    """Every row of ``ORDER`` that the older schema has a table for."""
    async with source.connect() as old, target.begin() as new:
        inserts: dict[str, str] = {}
        values: dict[str, str] = {}
        for table in ORDER:
            columns = sorted(await columns_of(old, table) & await columns_of(new, table))
            if not columns:
                continue
            rows = (await old.execute(text(f"SELECT jsonb_agg(to_jsonb(t)) FROM {table} t"))).scalar_one()
            names = ", ".join(f'"{column}"' for column in columns)
            values[table] = orjson.dumps(rows or []).decode()
            inserts[table] = (
                f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names}"
                f" FROM jsonb_populate_recordset(CAST(NULL AS {table}), CAST(:{table} AS jsonb))"
            )
            if table == "ledger_entries":
                both = "WITH headers AS ({ledger_transactions}), entries AS ({ledger_entries}) SELECT"
                await new.execute(text(both.format(**inserts)), values)
            elif table != "ledger_transactions":
                await new.execute(text(inserts[table]), values)
        numbered = """
            SELECT table_name, column_name FROM information_schema.columns
             WHERE table_schema = 'public' AND is_identity = 'YES'
        """
        for table, column in (await new.execute(text(numbered))).all():
            await new.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) FROM {table}"
            )


async def lived_through(engine: AsyncEngine) -> StripeStory:
    """Payments of every kind, heard by a worker; some dates are heard late."""
    story = StripeStory(settlement="usd")
    charge = story.succeed(story.intent(5000, "eur", ours=OURS))
    failed = story.refund(charge, 700, ours=True)
    story.update_refund(charge, failed, "failed")
    intent = story.intent(9000, "eur")
    story.capture(intent, story.authorise(intent), 4000)
    story.dispute(story.succeed(story.intent(3000)), ["needs_response", "lost"])
    of = billing.invoice(story, 1000)
    intent = story.intent(1000)
    row = billing.attach(story, of, intent, 1000)
    story.succeed(intent)
    billing.paid(story, row)
    story.payout(900, "usd", ["in_transit", "paid", "failed"])
    road = Road(engine, story)
    for event in reversed(story.events):  # the latest first, so that earlier times are heard later
        await road.deliver([event])
    await road.finish()
    async with engine.connect() as connection:
        late = text("SELECT count(*) FROM effect_dates")
        assert (await connection.execute(late)).scalar_one() > 0
    return story


async def rows_of(engine: AsyncEngine, query: str, **values: Any) -> list[Any]:
    async with engine.connect() as connection:
        return list((await connection.execute(text(query), values)).all())


async def sealed(engine: AsyncEngine) -> None:
    """All that stands is sealed, and found as it was sealed."""
    await seals.seal(engine, await seals.horizon(engine))
    found = await verify(engine)
    assert found.sound, found
    [unsealed] = await rows_of(
        engine,
        "SELECT count(*) AS n FROM ledger_transactions WHERE id > (SELECT max(last_id) FROM ledger_seals)",
    )
    assert unsealed.n == 0


async def test_a_database_of_the_first_release_comes_to_this_version_with_all_that_is_in_it(
    databases: Databases, engine: AsyncEngine
) -> None:
    story = await lived_through(engine)
    seen = await picture(engine)
    async with database_at(databases, FIRST) as old:
        await copied(engine, old)
        await migrate.upgrade(old)
        assert await migrate.is_current(old)
        now = await picture(old)
        for part in ("ledger", "balances", "events"):
            assert now[part] == seen[part], part
        for part, key in (("payments", "id"), ("refunds", "id"), ("notices", "notice_key")):
            assert [row[key] for row in now[part]] == [row[key] for row in seen[part]], part
        await sealed(old)
        again = await check(old)
        assert again.equal, again
        story.refund(next(iter(story.charges.values())), 100)
        road = Road(old, story)
        await road.deliver(story.events[-2:])
        await road.finish()
        await sealed(old)
        assert (await check(old)).ledger_transactions > len(seen["ledger"])


async def test_what_was_sealed_in_an_earlier_form_is_sealed_anew(
    databases: Databases, engine: AsyncEngine
) -> None:
    """Sums and spans too: balances at an instant and statements rest on them."""
    await lived_through(engine)
    await sealed(engine)
    async with database_at(databases, "0022") as old:
        await copied(engine, old)
        tables = ("ledger_seals", "ledger_sums", "entry_spans", "transaction_spans")
        for table in tables:
            assert await rows_of(old, f"SELECT 1 FROM {table} LIMIT 1"), table
        await migrate.upgrade(old)
        for table in tables:
            assert not await rows_of(old, f"SELECT 1 FROM {table} LIMIT 1"), table
        at = (await rows_of(old, "SELECT max(occurred_at) AS at FROM ledger_transactions"))[0].at
        for instant in (at - timedelta(hours=1), at):
            unsealed = await balances(old, instant)
            assert unsealed == await balances(engine, instant)
        await sealed(old)
        for table in tables[1:]:
            query = f"SELECT to_jsonb(t) AS row FROM {table} t ORDER BY to_jsonb(t)::text"
            assert await rows_of(old, query) == await rows_of(engine, query), table
        assert await balances(old, at) == unsealed


async def balances(engine: AsyncEngine, at: datetime) -> dict[tuple[str, str], tuple[int, int]]:
    """Debits and credits of every account up to an instant."""
    async with engine.connect() as connection:
        accounts = await list_accounts(connection)
        sums = await sums_at(connection, [(account, at) for account in accounts])
    return {(each.name, each.currency): found for each, found in zip(accounts, sums, strict=True)}


SPANS = {
    table: f"SELECT to_jsonb(t) AS row FROM {table} t ORDER BY to_jsonb(t)::text"
    for table in ("entry_spans", "transaction_spans")
}


async def test_spans_are_filled_from_what_is_sealed_as_the_sealer_makes_them(
    databases: Databases, engine: AsyncEngine
) -> None:
    """0015. What came after the last seal, dates too, is left to the sealer."""
    story = StripeStory(settlement="usd")
    charges = [story.succeed(story.intent(5000 + n, "eur", ours=f"pay_{n:026d}")) for n in range(30)]
    road = Road(engine, story)
    for event in [each for each in story.events if each["type"] == "charge.updated"]:
        await road.deliver([event])
    await road.finish()
    async with engine.begin() as connection:  # some of them were heard of earlier, before the seal
        await connection.execute(
            text("""
                INSERT INTO effect_dates (transaction_id, occurred_at, source)
                SELECT id, occurred_at - interval '3 hours', 'evt_9' FROM ledger_transactions WHERE id % 3 = 0
            """)
        )
    await sealed(engine)
    expected = {table: await rows_of(engine, query) for table, query in SPANS.items()}
    assert all(len(rows) > 3 for rows in expected.values())
    for charge in charges[:5]:
        story.refund(charge, 100)
    await road.deliver(story.events[-10:])
    await road.deliver([each for each in story.events if each["type"] == "charge.succeeded"])
    await road.finish()
    async with engine.connect() as connection:
        late = "SELECT count(*) FROM effect_dates WHERE id > (SELECT max(last_date_id) FROM ledger_seals)"
        assert (await connection.execute(text(late))).scalar_one() > 0
    async with database_at(databases, "0014") as old:
        await copied(engine, old)
        await migrate_to(old, "0015")
        for table, query in SPANS.items():
            assert await rows_of(old, query) == expected[table], table


async def test_each_balance_transaction_is_given_its_source(databases: Databases) -> None:
    """0017. The source is listed expanded or not, is missing, or cannot be read by PostgreSQL at all."""
    bodies = {
        "txn_bare": rb'{"id": "txn_bare", "source": "ch_1"}',
        "txn_expanded": rb'{"id": "txn_expanded", "source": {"id": "re_1", "object": "refund"}}',
        "txn_none": rb'{"id": "txn_none", "source": null}',
        "txn_absent": rb'{"id": "txn_absent"}',
        "txn_wanted": None,
        "txn_zero": rb'{"id": "txn_zero", "description": "\u0000", "source": "ch_2"}',
        "txn_accented": '{"description": "Café ☕", "source": "po_1"}'.encode(),
    }
    async with database_at(databases, "0016") as old:
        async with old.begin() as connection:
            for ident, body in bodies.items():
                row = {"id": ident, "body": body, "status": "posted" if body else "wanted"}
                await connection.execute(
                    text("INSERT INTO balance_transactions (id, status, body) VALUES (:id, :status, :body)"),
                    row,
                )
        await migrate.upgrade(old)
        rows = await rows_of(old, "SELECT id, source FROM balance_transactions")
    assert {row.id: row.source for row in rows if row.source} == {
        "txn_bare": "ch_1",
        "txn_expanded": "re_1",
        "txn_accented": "po_1",
    }
    assert len(rows) == len(bodies)


async def test_when_a_balance_transaction_was_given_up_is_taken_from_when_it_was_due(
    databases: Databases,
) -> None:
    """0002."""
    async with database_at(databases, FIRST) as old:
        async with old.begin() as connection:
            for status in ("wanted", "fetched", "posted", "missing", "dead"):
                body = b"{}" if status in ("fetched", "posted", "dead") else None
                await connection.execute(
                    text("INSERT INTO balance_transactions (id, status, body) VALUES (:id, :status, :body)"),
                    {"id": f"txn_{status}", "status": status, "body": body},
                )
        await migrate.upgrade(old)
        rows = await rows_of(old, "SELECT status, dead_at, due_at FROM balance_transactions")
    assert {row.status: row.dead_at for row in rows} == {
        row.status: row.due_at if row.status in ("dead", "missing") else None for row in rows
    }
