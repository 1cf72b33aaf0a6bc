"""The position from which the books begin on an account that is in use.

Revision 0021.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, which holds one row at most and is append-only."""
    op.create_table(
        "ledger_openings",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("cut_over", sa.DateTime(timezone=True), nullable=False),
        sa.Column("balances", postgresql.JSONB(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name="pk_ledger_openings"),
        sa.CheckConstraint("singleton", name=op.f("ck_ledger_openings_singleton")),
    )
    op.execute("""
        CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_openings
          FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()
    """)
