"""How far the contents of old notices have been removed.

Revision 0020.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and its one row."""
    op.create_table(
        "outbox_emptied",
        sa.Column("through_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("through_id", name="pk_outbox_emptied"),
    )
    op.execute("INSERT INTO outbox_emptied (through_id) VALUES (0)")
