"""Spans of the ledger's entries and transactions: where those of a time lie.

Revision 0015.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_SEALED = """
WITH sealed AS (
  SELECT coalesce(max(last_id), 0) AS last_id, coalesce(max(last_date_id), 0) AS last_date_id
    FROM ledger_seals
), dated AS (
  SELECT t.id, t.kind, least(t.occurred_at, (
           SELECT min(d.occurred_at) FROM effect_dates d
            WHERE d.transaction_id = t.id AND d.id <= s.last_date_id)) AS at
    FROM ledger_transactions t, sealed s WHERE t.id <= s.last_id
)
"""


def upgrade() -> None:
    """Add the tables, and fill them from what is sealed."""
    _entry_spans()
    _transaction_spans()


def _where() -> list[sa.Column[object]]:
    return [
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
    ]


def _entry_spans() -> None:
    op.create_table(
        "entry_spans",
        sa.Column("account_id", sa.Integer(), nullable=False),
        *_where(),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("debits", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["ledger_accounts.id"], name="fk_entry_spans_account_id"),
        sa.PrimaryKeyConstraint("account_id", "hour", "run", name="pk_entry_spans"),
    )
    op.execute(f"""
        INSERT INTO entry_spans
        {_SEALED}
        SELECT e.account_id, date_trunc('hour', d.at, 'UTC'), d.id >> 8, min(d.at), max(d.at), min(d.id),
               max(d.id), count(*),
               coalesce(sum(e.amount) FILTER (WHERE e.direction = 1), 0),
               coalesce(sum(e.amount) FILTER (WHERE e.direction = -1), 0)
          FROM dated d JOIN ledger_entries e ON e.transaction_id = d.id GROUP BY 1, 2, 3
    """)
    op.create_index("ix_entry_spans_account_id_last_at", "entry_spans", ["account_id", "last_at"])


def _transaction_spans() -> None:
    op.create_table(
        "transaction_spans",
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        *_where(),
        sa.Column("transactions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "hour", "run", name="pk_transaction_spans"),
    )
    op.execute(f"""
        INSERT INTO transaction_spans
        {_SEALED}
        SELECT d.kind, date_trunc('hour', d.at, 'UTC'), d.id >> 8, min(d.at), max(d.at), min(d.id),
               max(d.id), count(*)
          FROM dated d GROUP BY 1, 2, 3
    """)
    op.create_index("ix_transaction_spans_first_at", "transaction_spans", ["first_at"])
    op.create_index("ix_transaction_spans_kind_first_at", "transaction_spans", ["kind", "first_at"])
