"""Two roles: the owner of the tables, who migrates, and the service, which can only add to the ledger.

Triggers refuse changes to the ledger, and whoever owns a table can switch its triggers off. So the API and
the worker run as a role that owns nothing and has no right to change or empty what is append-only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.audit_guards import AUDIT_TABLES
from tallystick.db.ledger_guards import APPEND_ONLY
from tallystick.db.tables import metadata
from tallystick.errors import ConfigurationError

ONLY_ADDED: Final = frozenset((*APPEND_ONLY, *AUDIT_TABLES))
"""Tables whose rows are never changed, by nobody."""

_EXISTS: Final = text("SELECT true FROM pg_roles WHERE rolname = :role")

# What an owner, a superuser or a grant by hand makes possible, whatever we granted.
_CAN_CHANGE: Final = text("""
SELECT t.name FROM unnest(CAST(:tables AS text[])) AS t (name)
 WHERE to_regclass(t.name) IS NOT NULL
   AND (has_table_privilege(t.name, 'UPDATE, DELETE, TRUNCATE')
        OR (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = to_regclass(t.name)))
 ORDER BY t.name
""")


async def grant_service(connection: AsyncConnection, role: str) -> None:
    """Give ``role`` exactly what the service needs; run by the owner after every migration.

    Raises ConfigurationError when there is no such role.
    """
    if (await connection.execute(_EXISTS, {"role": role})).first() is None:
        raise ConfigurationError(
            f"DATABASE_URL names the user {role!r}, which does not exist: CREATE ROLE … LOGIN PASSWORD …"
        )
    for statement in _grants(connection.dialect.identifier_preparer.quote(role)):
        await connection.execute(text(statement))


def _grants(role: str) -> Iterator[str]:
    others = sorted(metadata.tables.keys() - ONLY_ADDED)
    yield f"REVOKE ALL ON {', '.join(sorted(metadata.tables))} FROM {role}"
    yield f"GRANT SELECT, INSERT ON {', '.join(sorted(ONLY_ADDED))} TO {role}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(others)} TO {role}"
    yield f"GRANT SELECT ON alembic_version TO {role}"
    yield f"""DO $$ BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema());
  -- a rebuild of the ledger is laid into temporary tables
  EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {role}', current_database());
END $$"""


async def changeable(connection: AsyncConnection) -> list[str]:
    """The append-only tables that the present role could change or empty: none, in a good installation."""
    return list((await connection.execute(_CAN_CHANGE, {"tables": sorted(ONLY_ADDED)})).scalars())
