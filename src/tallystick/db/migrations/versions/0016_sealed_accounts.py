"""Accounts are sealed as rows of their own, and rows in PostgreSQL's binary form, which is quicker to make.

The blocks that were sealed in the earlier form are removed: the worker seals the ledger anew.

Revision 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and let the sealer begin again."""
    op.execute("ALTER TABLE ledger_seals DISABLE TRIGGER refuse_change")
    op.execute("DELETE FROM ledger_seals")
    op.execute("ALTER TABLE ledger_seals ENABLE TRIGGER refuse_change")
    for folded in ("ledger_sums", "entry_spans", "transaction_spans"):
        op.execute(f"DELETE FROM {folded}")
    for name in ("after_account_id", "last_account_id"):
        op.add_column("ledger_seals", sa.Column(name, sa.BigInteger(), nullable=False))
    op.add_column("ledger_seals", sa.Column("account_leaves", sa.LargeBinary(), nullable=False))
    op.execute("""
        CREATE TRIGGER take_xid BEFORE INSERT ON ledger_accounts
          FOR EACH STATEMENT EXECUTE FUNCTION ledger_take_xid()
    """)
