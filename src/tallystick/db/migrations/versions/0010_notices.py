"""Where notices go, what became of each, and the queue in front of it.

Revision 0010. Notices that were staged before are not sent: there was nobody to send them to.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _at(name: str, *, now: bool = False, nullable: bool = True) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable and not now)


def _id(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(collation="C"), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "outbox_new",
        sa.Column("notice_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("notice_id", name="pk_outbox_new"),
    )
    op.create_table(
        "notice_endpoints",
        _id("id"),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default="enabled", nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        _at("disabled_at"),
        _at("failing_since"),
        _at("last_success_at"),
        _at("created_at", now=True),
        _at("updated_at", now=True),
        sa.CheckConstraint("channel IN ('webhook', 'email')", name=op.f("ck_notice_endpoints_channel")),
        sa.CheckConstraint(
            "status IN ('enabled', 'disabled', 'deleted')", name=op.f("ck_notice_endpoints_status")
        ),
        sa.CheckConstraint(
            "disabled_reason IN ('by_hand', 'failing', 'gone')",
            name=op.f("ck_notice_endpoints_disabled_reason"),
        ),
        sa.CheckConstraint(
            "(status = 'disabled') = (disabled_reason IS NOT NULL)", name=op.f("ck_notice_endpoints_disabled")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_notice_endpoints"),
    )
    op.create_table(
        "endpoint_secrets",
        _id("endpoint_id"),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("nonce", sa.LargeBinary(), nullable=True),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        _at("created_at", now=True),
        _at("expires_at"),
        sa.CheckConstraint("(key_id IS NULL) = (nonce IS NULL)", name=op.f("ck_endpoint_secrets_sealed")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["notice_endpoints.id"], name="fk_endpoint_secrets_endpoint_id"
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "version", name="pk_endpoint_secrets"),
    )
    op.create_table(
        "notice_deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        _id("endpoint_id"),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        _id("order_key", nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        _at("due_at", now=True),
        _at("created_at", now=True),
        _at("finished_at"),
        sa.Column("response_status", sa.SmallInteger(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f("ck_notice_deliveries_status")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["notice_endpoints.id"], name="fk_notice_deliveries_endpoint_id"
        ),
        sa.ForeignKeyConstraint(["notice_id"], ["outbox.id"], name="fk_notice_deliveries_notice_id"),
        sa.PrimaryKeyConstraint("id", name="pk_notice_deliveries"),
        sa.UniqueConstraint("endpoint_id", "notice_id", name="uq_notice_deliveries_endpoint_id_notice_id"),
    )
    op.create_index(
        "ix_notice_deliveries_endpoint_id_due_at",
        "notice_deliveries",
        ["endpoint_id", "due_at", "id"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_notice_deliveries_order_key",
        "notice_deliveries",
        ["order_key", "endpoint_id", "id"],
        postgresql_where=sa.text("status = 'pending' AND order_key IS NOT NULL"),
    )
    op.create_index(
        "ix_notice_deliveries_failed",
        "notice_deliveries",
        ["endpoint_id", "notice_id"],
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_table(
        "notice_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        _at("attempted_at", nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("response_status", sa.SmallInteger(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["notice_deliveries.id"],
            name="fk_notice_attempts_delivery_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_notice_attempts"),
    )
    op.create_index("ix_notice_attempts_delivery_id", "notice_attempts", ["delivery_id"])
