"""What stood when the books were opened, and was taken back.

Revision 0025.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, which is append-only."""
    op.create_table(
        "superseded_effects",
        sa.Column("effect_key", sa.Text(collation="C"), nullable=False),
        sa.ForeignKeyConstraint(
            ["effect_key"], ["ledger_transactions.effect_key"], name="fk_superseded_effects_effect_key"
        ),
        sa.PrimaryKeyConstraint("effect_key", name="pk_superseded_effects"),
    )
    op.execute("""
        CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON superseded_effects
          FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()
    """)
