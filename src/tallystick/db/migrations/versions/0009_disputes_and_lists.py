"""Disputes, and what lists of payments and refunds are narrowed by.

Revision 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the indexes."""
    op.create_table(
        "disputes",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("payment_id", sa.Text(collation="C"), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("state_order", sa.Text(collation="C"), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("network_reason_code", sa.Text(), nullable=True),
        sa.Column("evidence_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("has_evidence", sa.Boolean(), nullable=False),
        sa.Column("submission_count", sa.Integer(), nullable=False),
        sa.Column("charge_refundable", sa.Boolean(), nullable=False),
        sa.Column("stripe_payment_intent", sa.Text(collation="C"), nullable=True),
        sa.Column("stripe_charge", sa.Text(collation="C"), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_disputes_amount")),
        sa.PrimaryKeyConstraint("id", name="pk_disputes"),
    )
    op.create_index("ix_disputes_payment_id", "disputes", ["payment_id"])
    op.create_index("ix_disputes_created_at_id", "disputes", ["created_at", "id"])
    op.create_index("ix_refunds_created_at_id", "refunds", ["created_at", "id"])
    op.create_index("ix_payments_status_created_at_id", "payments", ["status", "created_at", "id"])
    op.create_index("ix_payments_currency_created_at_id", "payments", ["currency", "created_at", "id"])
    op.create_index(
        "ix_payments_customer_created_at_id",
        "payments",
        ["customer", "created_at", "id"],
        postgresql_where=sa.text("customer IS NOT NULL"),
    )
    op.create_index(
        "ix_payments_metadata",
        "payments",
        [sa.text("(metadata - 'tallystick_payment'::text) jsonb_path_ops")],
        postgresql_using="gin",
    )
