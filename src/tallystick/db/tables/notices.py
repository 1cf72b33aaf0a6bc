"""Notices to the merchant, and their deliveries."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tallystick.db.tables.columns import at, id_, metadata, one_of

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("notice_key", Text(collation="C"), nullable=False, unique=True),
    Column("type", Text, nullable=False),
    id_("payment_id"),
    Column("data", JSONB, nullable=False),
    at("created_at", now=True),
)

# Notices that fan-out has not seen yet. No foreign key: each row is written by the statement that writes its
# notice, and a check would lock every one of them a second time.
outbox_new = Table(
    "outbox_new",
    metadata,
    Column("notice_id", BigInteger, primary_key=True, autoincrement=False),
)

# One row: up to here notices are emptied, but for those with deliveries. See pipeline/notices/retention.py.
outbox_emptied = Table(
    "outbox_emptied",
    metadata,
    Column("through_id", BigInteger, primary_key=True, autoincrement=False),
)

# Where notices go: the merchant's own endpoints, and the one row of channel email that the settings make.
notice_endpoints = Table(
    "notice_endpoints",
    metadata,
    id_(primary_key=True),
    Column("channel", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text),
    Column("event_types", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False, server_default="enabled"),
    Column("disabled_reason", Text),
    at("disabled_at"),
    at("failing_since"),
    at("last_success_at"),
    at("created_at", now=True),
    at("updated_at", now=True),
    one_of("channel", "webhook", "email"),
    one_of("status", "enabled", "disabled", "deleted"),
    one_of("disabled_reason", "by_hand", "failing", "gone"),
    CheckConstraint("(status = 'disabled') = (disabled_reason IS NOT NULL)", name="disabled"),
)

# Sealed under the master key key_id; where there is no master key, ciphertext is the secret itself.
endpoint_secrets = Table(
    "endpoint_secrets",
    metadata,
    Column("endpoint_id", Text(collation="C"), ForeignKey("notice_endpoints.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key_id", Text),
    Column("nonce", LargeBinary),
    Column("ciphertext", LargeBinary, nullable=False),
    at("created_at", now=True),
    at("expires_at"),
    CheckConstraint("(key_id IS NULL) = (nonce IS NULL)", name="sealed"),
)

# due_at is the next attempt, the end of the lease of whoever makes one now, or when to look again whether an
# earlier notice of the same order_key is done.
notice_deliveries = Table(
    "notice_deliveries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("endpoint_id", Text(collation="C"), ForeignKey("notice_endpoints.id"), nullable=False),
    Column("notice_id", BigInteger, ForeignKey("outbox.id"), nullable=False),
    id_("order_key"),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    at("due_at", now=True),
    at("created_at", now=True),
    at("finished_at"),
    Column("response_status", SmallInteger),
    Column("error_code", Text),
    Column("error", Text),
    UniqueConstraint("endpoint_id", "notice_id"),
    one_of("status", "pending", "delivered", "failed"),
    Index(
        "ix_notice_deliveries_endpoint_id_due_at",
        "endpoint_id",
        "due_at",
        "id",
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_notice_deliveries_order_key",
        "order_key",
        "endpoint_id",
        "id",
        postgresql_where=text("status = 'pending' AND order_key IS NOT NULL"),
    ),
    Index(
        "ix_notice_deliveries_failed",
        "endpoint_id",
        "notice_id",
        postgresql_where=text("status = 'failed'"),
    ),
)

notice_attempts = Table(
    "notice_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "delivery_id",
        BigInteger,
        ForeignKey("notice_deliveries.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("attempt", Integer, nullable=False),
    at("attempted_at", nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("response_status", SmallInteger),
    Column("response_body", Text),
    Column("error_code", Text),
    Column("error", Text),
    Index("ix_notice_attempts_delivery_id", "delivery_id"),
)
