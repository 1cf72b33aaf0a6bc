"""Who may call, with which secrets, and the requests that are under way."""

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
)

from tallystick.db.tables.columns import at, id_, metadata, one_of

api_keys = Table(
    "api_keys",
    metadata,
    id_(primary_key=True),
    Column("name", Text, nullable=False),
    Column("hint", Text, nullable=False),  # the last characters, to tell keys apart
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    at("created_at", now=True),
    at("expires_at"),
    at("revoked_at"),
    at("last_used_at"),
    Column("rate_limit", Text),
)

# Who is signed in to the console: removed when they sign out, or by the next who signs in once it has ended.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),  # SHA-256
    Column("api_key_id", Text(collation="C"), ForeignKey("api_keys.id"), nullable=False),
    at("began_at", now=True),
    at("seen_at", now=True),
    CheckConstraint("octet_length(token_hash) = 32", name="token_hash"),
)

# A removed version keeps its row, so that no number is given twice.
secrets = Table(
    "secrets",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key_id", Text, nullable=False),
    Column("nonce", LargeBinary),
    Column("ciphertext", LargeBinary),
    at("created_at", now=True),
    at("removed_at"),
    one_of("name", "stripe_secret_key", "stripe_webhook_secret"),
    CheckConstraint(
        "(removed_at IS NULL) = (ciphertext IS NOT NULL) AND (nonce IS NULL) = (ciphertext IS NULL)",
        name="removed",
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("api_key_id", Text(collation="C"), ForeignKey("api_keys.id"), primary_key=True),
    Column("key", Text(collation="C"), primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    id_("resource_id"),  # the payment or refund that the first request began
    Column("response_status", SmallInteger),
    Column("response_body", LargeBinary),
    at("locked_at", now=True),
    at("created_at", now=True),
    at("finished_at"),
    at("leased_until", now=True),
    CheckConstraint("(finished_at IS NULL) = (response_status IS NULL)", name="finished"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

# changes at Stripe that were accepted and whose outcome is not stored yet
stripe_calls = Table(
    "stripe_calls",
    metadata,
    id_(primary_key=True),  # its idempotency key at Stripe
    Column("action", Text, nullable=False),
    id_("payment_id"),
    id_("refund_id"),
    id_("target"),  # what is changed at Stripe
    Column("params", Text, nullable=False),  # as sent, byte for byte: Stripe compares
    # that of the row it is about, when the call was accepted; None where there is none
    Column("state_order", Text(collation="C")),
    Column("attempts", Integer, nullable=False, server_default="0"),
    at("created_at", now=True),
    at("due_at", now=True),
    id_("api_key_id"),  # who asked for it
    Index("ix_stripe_calls_due_at", "due_at"),
)

# what became of them: only added to
ended_calls = Table(
    "ended_calls",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    id_("payment_id", nullable=False),
    id_("refund_id"),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    at("began_at", nullable=False),
    at("ended_at", now=True),
    id_("api_key_id"),
    Index("ix_ended_calls_payment_id", "payment_id"),
)
