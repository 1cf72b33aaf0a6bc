"""Calls to Stripe whose outcome is open; leases of idempotency keys, and their age.

Revision 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stripe_calls",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(collation="C"), nullable=False),
        sa.Column("refund_id", sa.Text(collation="C"), nullable=True),
        sa.Column("intent", sa.Text(collation="C"), nullable=True),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("state_order", sa.Text(collation="C"), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stripe_calls"),
    )
    op.create_index("ix_stripe_calls_due_at", "stripe_calls", ["due_at"], unique=False)
    op.add_column(
        "idempotency_keys",
        sa.Column(
            "leased_until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
