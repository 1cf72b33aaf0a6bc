"""Seals of the ledger, and sums for balances at an instant.

Revision 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Number the effect dates, and add the tables."""
    op.execute("""
        ALTER TABLE effect_dates ADD COLUMN id bigint NOT NULL GENERATED ALWAYS AS IDENTITY (CACHE 1),
          ADD CONSTRAINT uq_effect_dates_id UNIQUE (id)
    """)
    op.create_index("ix_effect_dates_occurred_at", "effect_dates", ["occurred_at"])
    op.execute("""
        CREATE TRIGGER take_xid BEFORE INSERT ON effect_dates
          FOR EACH STATEMENT EXECUTE FUNCTION ledger_take_xid()
    """)
    op.create_index(
        "ix_ledger_transactions_occurred_at",
        "ledger_transactions",
        ["occurred_at"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 16, "autosummarize": "on"},
    )
    _seals()


def _seals() -> None:
    op.create_table(
        "ledger_seals",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("format", sa.SmallInteger(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("after_id", "last_id", "after_date_id", "last_date_id")
        ),
        sa.Column("transactions", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.LargeBinary(), nullable=False)
            for name in ("leaves", "date_leaves", "previous_hash", "hash")
        ),
        sa.Column("sealed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_seals"),
    )
    op.execute("""
        CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_seals
          FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
    """)
    op.create_table(
        "ledger_sums",
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("grain", sa.Text(collation="C"), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("debits", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("grain IN ('day', 'hour')", name=op.f("ck_ledger_sums_grain")),
        sa.ForeignKeyConstraint(["account_id"], ["ledger_accounts.id"], name="fk_ledger_sums_account_id"),
        sa.PrimaryKeyConstraint("account_id", "grain", "starts_at", name="pk_ledger_sums"),
    )
