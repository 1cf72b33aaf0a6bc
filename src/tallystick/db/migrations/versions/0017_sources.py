"""What each balance transaction was booked for, to be looked up by.

Revision 0017.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and fill it from the bodies that are stored."""
    op.add_column("balance_transactions", sa.Column("source", sa.Text(collation="C"), nullable=True))
    op.execute(r"""
        UPDATE balance_transactions
           SET source = CASE json_typeof(convert_from(body, 'UTF8')::json -> 'source')
                          WHEN 'object' THEN convert_from(body, 'UTF8')::json #>> '{source,id}'
                          ELSE convert_from(body, 'UTF8')::json ->> 'source' END
         WHERE body IS NOT NULL AND position('\\u0000'::bytea IN body) = 0
    """)
    op.create_index(
        "ix_balance_transactions_source",
        "balance_transactions",
        ["source"],
        postgresql_where=sa.text("source IS NOT NULL"),
    )
