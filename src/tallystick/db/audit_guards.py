"""Triggers by which PostgreSQL itself keeps the record of what operators did append-only."""

from __future__ import annotations

from typing import Final

AUDIT_TABLES: Final = (
    "replays",
    "replay_results",
    "discards",
    "erasures",
    "journal_entries",
    "journal_decisions",
    "account_maps",
    "ledger_openings",
    "superseded_effects",
)

AUDIT_GUARDS: Final = (
    """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$
""",
    *(
        f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
        for table in AUDIT_TABLES
    ),
)
"""All statements, in order; each is one statement, as asyncpg wants them."""
