"""Secrets, encrypted.

Revision 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=True),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "name IN ('stripe_secret_key', 'stripe_webhook_secret')", name=op.f("ck_secrets_name")
        ),
        sa.CheckConstraint(
            "(removed_at IS NULL) = (ciphertext IS NOT NULL) AND (nonce IS NULL) = (ciphertext IS NULL)",
            name=op.f("ck_secrets_removed"),
        ),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_secrets")),
    )
