"""Archives of events' bodies, and the record of erasures.

Revision 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, and what a row of the inbox says of its body."""
    now = sa.text("now()")
    op.create_table(
        "event_archives",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("offsets", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event_archives"),
        sa.UniqueConstraint("last_seq", name="uq_event_archives_last_seq"),
    )
    op.alter_column("webhook_events", "body", nullable=True)
    op.add_column("webhook_events", sa.Column("archive_id", sa.BigInteger()))
    op.add_column("webhook_events", sa.Column("archive_position", sa.Integer()))
    op.add_column("webhook_events", sa.Column("original_sha256", sa.LargeBinary()))
    op.create_foreign_key(
        "fk_webhook_events_archive_id", "webhook_events", "event_archives", ["archive_id"], ["id"]
    )
    op.execute("""
        ALTER TABLE webhook_events
          ADD CONSTRAINT ck_webhook_events_body
            CHECK ((body IS NULL) = (archive_id IS NOT NULL AND archive_position > 0)),
          ADD CONSTRAINT ck_webhook_events_original_sha256 CHECK (octet_length(original_sha256) = 32)
    """)
    op.create_table(
        "erasures",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(collation="C"), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
    )
    op.execute("""
        CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures
          FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()
    """)
