"""Calls to Stripe that concern no payment are kept too, and whose API key asked.

Revision 0018.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Loosen, rename and add columns; no row changes."""
    op.alter_column("stripe_calls", "payment_id", nullable=True)
    op.alter_column("stripe_calls", "intent", new_column_name="target")
    op.add_column("stripe_calls", sa.Column("api_key_id", sa.Text(collation="C"), nullable=True))
    op.add_column("ended_calls", sa.Column("api_key_id", sa.Text(collation="C"), nullable=True))
