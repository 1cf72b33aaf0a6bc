"""What timelines of payments are read from: whose payment an event is about, and how calls ended.

Revision 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, the table and their indexes."""
    op.add_column("webhook_events", sa.Column("about", sa.Text(collation="C"), nullable=True))
    op.create_index(
        "ix_webhook_events_about",
        "webhook_events",
        ["about"],
        postgresql_where=sa.text("about IS NOT NULL"),
    )
    op.create_table(
        "ended_calls",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("payment_id", sa.Text(collation="C"), nullable=False),
        sa.Column("refund_id", sa.Text(collation="C"), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ended_calls"),
    )
    op.create_index("ix_ended_calls_payment_id", "ended_calls", ["payment_id"])
