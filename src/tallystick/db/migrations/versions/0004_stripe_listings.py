"""How far Stripe's lists are read, and how an event was found.

Revision 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the column."""
    op.execute("""
        CREATE TABLE stripe_listings (
          name text NOT NULL CONSTRAINT pk_stripe_listings PRIMARY KEY,
          through timestamptz,
          since timestamptz,
          until timestamptz,
          cursor text COLLATE "C",
          seen bigint NOT NULL DEFAULT '0'::bigint,
          found bigint NOT NULL DEFAULT '0'::bigint,
          found_in_all bigint NOT NULL DEFAULT '0'::bigint,
          lease text,
          leased_until timestamptz,
          started_at timestamptz,
          finished_at timestamptz,
          CONSTRAINT ck_stripe_listings_window CHECK ((since IS NULL) = (until IS NULL))
        )
    """)
    op.add_column(
        "webhook_events", sa.Column("found_by", sa.Text(), nullable=False, server_default="delivery")
    )
    op.create_check_constraint("found_by", "webhook_events", "found_by IN ('delivery', 'gap_audit')")
