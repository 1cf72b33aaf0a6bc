"""The service's role can add to the ledger and do its work, and nothing else to what is append-only."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.road import Road, owner_engine

from tallystick.db.roles import ONLY_ADDED, changeable, grant_service
from tallystick.db.session import open_engine
from tallystick.embedded.cluster import SERVICE
from tallystick.errors import ConfigurationError
from tallystick.settings import load_settings

_DENIED = "42501"


async def refusal(engine: AsyncEngine, statement: str) -> str:
    with pytest.raises(DBAPIError) as refused:
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    return str(getattr(refused.value.orig, "sqlstate", ""))


@pytest.fixture
def service(database_url: str) -> AsyncEngine:
    return open_engine(load_settings({}, require=(), database_url=database_url))


async def test_the_road_of_an_event_needs_no_more_than_the_services_rights(service: AsyncEngine) -> None:
    story = StripeStory()
    story.succeed(story.intent(5000, ours="pay_" + "1" * 26))
    road = Road(service, story)
    await road.deliver(story.events)
    await road.finish()
    async with service.connect() as connection:
        posted = await connection.execute(text("SELECT count(*) FROM ledger_transactions"))
        assert posted.scalar_one() == 3
    await service.dispose()


@pytest.mark.parametrize("table", sorted(ONLY_ADDED))
async def test_what_is_append_only_cannot_be_changed_or_unguarded(service: AsyncEngine, table: str) -> None:
    for statement in (
        f"UPDATE {table} SET ctid = ctid",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"DROP TABLE {table} CASCADE",
    ):
        wanted = {_DENIED, "0A000"} if statement.startswith("UPDATE") else {_DENIED}
        assert await refusal(service, statement) in wanted, statement
    await service.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE TABLE mine (id int)",
        "UPDATE alembic_version SET version_num = '0001'",
        f"GRANT UPDATE ON ledger_entries TO {SERVICE}",
    ],
)
async def test_the_guards_themselves_are_out_of_reach(service: AsyncEngine, statement: str) -> None:
    if statement.startswith("GRANT"):  # PostgreSQL only warns of a grant that grants nothing
        async with service.begin() as connection:
            await connection.execute(text(statement))
            assert await changeable(connection) == []
    else:
        assert await refusal(service, statement) == _DENIED
    await service.dispose()


async def test_the_doctors_question_tells_the_two_roles_apart(
    service: AsyncEngine, engine: AsyncEngine
) -> None:
    async with service.connect() as connection:
        assert await changeable(connection) == []
    async with engine.begin() as connection:
        assert await changeable(connection) == sorted(ONLY_ADDED)
        await connection.execute(text(f"GRANT DELETE ON ledger_seals TO {SERVICE}"))
    async with service.connect() as connection:
        assert await changeable(connection) == ["ledger_seals"]
    async with engine.begin() as connection:
        await grant_service(connection, SERVICE)  # as the next migration does
    async with service.connect() as connection:
        assert await changeable(connection) == []
    await service.dispose()


async def test_a_service_that_does_not_exist(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(ConfigurationError, match="nobody_here"):
            await grant_service(connection, "nobody_here")


async def test_the_owner_of_a_service_url(database_url: str) -> None:
    async with owner_engine(database_url) as owner, owner.connect() as connection:
        assert (await connection.execute(text("SELECT current_user"))).scalar_one() == "tallystick"
