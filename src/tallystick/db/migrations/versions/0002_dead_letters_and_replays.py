"""Dead letters of both kinds with all their attempts; the record of replays and discards.

Revision 0002. The guards are copied here as they were: a migration never changes after its release.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

GUARDS = (
    """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$
""",
    """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON replays FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()
""",
    """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON replay_results FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()
""",
    """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON discards FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()
""",
)


def upgrade() -> None:
    op.create_index(
        "ix_webhook_events_finished_at_id",
        "webhook_events",
        ["finished_at", "id"],
        postgresql_where=sa.text("status = 'dead'"),
    )
    _balance_transactions()
    _audit()
    for guard in GUARDS:
        op.execute(guard)


def _balance_transactions() -> None:
    op.add_column("balance_transactions", sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE balance_transactions SET dead_at = due_at WHERE status IN ('dead', 'missing')")
    op.drop_constraint(op.f("ck_balance_transactions_status"), "balance_transactions")
    op.drop_constraint(op.f("ck_balance_transactions_body"), "balance_transactions")
    op.create_check_constraint(
        op.f("ck_balance_transactions_status"),
        "balance_transactions",
        "status IN ('wanted', 'fetched', 'posted', 'missing', 'dead', 'discarded')",
    )
    op.create_check_constraint(
        op.f("ck_balance_transactions_body"),
        "balance_transactions",
        "body IS NOT NULL OR status IN ('wanted', 'missing', 'discarded')",
    )
    op.create_index(
        "ix_balance_transactions_dead_at_id",
        "balance_transactions",
        ["dead_at", "id"],
        postgresql_where=sa.text("status IN ('dead', 'missing')"),
    )
    op.create_table(
        "balance_transaction_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("balance_transaction_id", sa.Text(collation="C"), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["balance_transaction_id"],
            ["balance_transactions.id"],
            name="fk_balance_transaction_attempts_balance_transaction_id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_balance_transaction_attempts"),
    )
    op.create_index(
        "ix_balance_transaction_attempts_balance_transaction_id",
        "balance_transaction_attempts",
        ["balance_transaction_id"],
    )


def _audit() -> None:
    now = sa.text("now()")
    op.create_table(
        "replays",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("selection", postgresql.JSONB(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replays"),
    )
    op.create_table(
        "replay_results",
        sa.Column("replay_id", sa.Text(collation="C"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint("outcome IN ('finished', 'interrupted')", name=op.f("ck_replay_results_outcome")),
        sa.ForeignKeyConstraint(["replay_id"], ["replays.id"], name="fk_replay_results_replay_id"),
        sa.PrimaryKeyConstraint("replay_id", name="pk_replay_results"),
    )
    op.create_table(
        "discards",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("letter_id", sa.Text(collation="C"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("discarded_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint("kind IN ('event', 'balance_transaction')", name=op.f("ck_discards_kind")),
        sa.PrimaryKeyConstraint("id", name="pk_discards"),
    )
    op.create_index("ix_discards_letter_id", "discards", ["letter_id"])
