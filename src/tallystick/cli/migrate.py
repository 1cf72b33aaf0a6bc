"""``tallystick migrate``."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import database_settings, with_engine
from tallystick.cli.output import out
from tallystick.db.migrate import upgrade
from tallystick.db.session import service_role


def migrate() -> None:
    """Bring the database to the schema of this version.

    As the user of DATABASE_OWNER_URL, if that is set: then the user of DATABASE_URL is given its rights.
    """
    service = service_role(database_settings())

    async def work(engine: AsyncEngine) -> None:
        await upgrade(engine, service=service)

    with_engine(work, owner=True)
    out.print("The database is up to date.")
