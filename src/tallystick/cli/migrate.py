"""``tallystick migrate``."""

from __future__ import annotations

from tallystick.cli.database import with_engine
from tallystick.cli.output import out
from tallystick.db.migrate import upgrade


def migrate() -> None:
    """Bring the database at DATABASE_URL to the schema of this version."""
    with_engine(upgrade, patient=True)
    out.print("The database is up to date.")
