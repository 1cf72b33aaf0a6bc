"""Operators' journal entries, and what a second person decided of them.

Revision 0014.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two tables, append-only as all that operators did."""
    now = sa.text("now()")
    op.create_table(
        "journal_entries",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("payment_id", sa.Text(collation="C"), nullable=True),
        sa.Column("reverses", sa.Text(collation="C"), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("author_key", sa.Text(collation="C"), nullable=True),
        sa.Column("needs_approval", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal_entries"),
        sa.ForeignKeyConstraint(["reverses"], ["journal_entries.id"], name="fk_journal_entries_reverses"),
    )
    op.create_index(
        "ix_journal_entries_reverses",
        "journal_entries",
        ["reverses"],
        postgresql_where=sa.text("reverses IS NOT NULL"),
    )
    op.create_table(
        "journal_decisions",
        sa.Column("entry_id", sa.Text(collation="C"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_by_key", sa.Text(collation="C"), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_journal_decisions"),
        sa.ForeignKeyConstraint(["entry_id"], ["journal_entries.id"], name="fk_journal_decisions_entry_id"),
        sa.CheckConstraint("outcome IN ('approved', 'rejected')", name=op.f("ck_journal_decisions_outcome")),
    )
    for table in ("journal_entries", "journal_decisions"):
        op.execute(f"""
            CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
              FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()
        """)
