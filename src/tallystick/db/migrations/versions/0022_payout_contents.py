"""What went out with each payout, as Stripe lists it.

Revision 0022.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    now = sa.text("now()")
    op.create_table(
        "payout_listings",
        sa.Column("payout", sa.Text(collation="C"), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("cursor", sa.Text(collation="C"), nullable=True),
        sa.Column("transactions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("net", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'listed', 'not_automatic', 'unknown')",
            name=op.f("ck_payout_listings_status"),
        ),
        sa.PrimaryKeyConstraint("payout", name="pk_payout_listings"),
    )
    op.create_index(
        "ix_payout_listings_due_at",
        "payout_listings",
        ["due_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "payout_transactions",
        sa.Column("payout", sa.Text(collation="C"), nullable=False),
        sa.Column("balance_transaction", sa.Text(collation="C"), nullable=False),
        sa.ForeignKeyConstraint(["payout"], ["payout_listings.payout"], name="fk_payout_transactions_payout"),
        sa.PrimaryKeyConstraint("payout", "balance_transaction", name="pk_payout_transactions"),
    )
