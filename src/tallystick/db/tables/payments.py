"""Payments, refunds, disputes, customers and what they pay with."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tallystick.db.tables.columns import at, id_, metadata, one_of

PAYMENT_STATUSES = (
    "unknown", "requires_payment_method", "requires_confirmation", "requires_action",
    "processing", "requires_capture", "canceled", "succeeded",
)  # fmt: skip
REFUND_STATUSES = ("unknown", "pending", "requires_action", "succeeded", "canceled", "failed")

payments = Table(
    "payments",
    metadata,
    id_(primary_key=True),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    # which report gave the state, and which one the charge: see payments/status.py
    Column("state_order", Text(collation="C"), nullable=False, server_default=""),
    Column("charge_order", Text(collation="C"), nullable=False, server_default=""),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_capturable", BigInteger, nullable=False, server_default="0"),
    Column("amount_captured", BigInteger, nullable=False, server_default="0"),
    Column("livemode", Boolean, nullable=False),
    id_("stripe_payment_intent", unique=True),
    id_("stripe_charge"),
    Column("customer", Text),
    Column("description", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("capture_method", Text),
    Column("payment_method", Text),
    Column("client_secret", Text),
    Column("cancellation_reason", Text),
    Column("last_error", JSONB),
    Column("next_action", JSONB),
    at("created_at", nullable=False),
    at("updated_at", now=True),
    Column("receipt_email", Text),
    Column("statement_descriptor", Text),
    Column("statement_descriptor_suffix", Text),
    Column("setup_future_usage", Text),
    one_of("status", *PAYMENT_STATUSES),
    one_of("origin", "api", "adopted"),
    CheckConstraint("amount >= 0 AND amount_capturable >= 0 AND amount_captured >= 0", name="amounts"),
    Index("ix_payments_created_at_id", "created_at", "id"),
    Index("ix_payments_status_created_at_id", "status", "created_at", "id"),
    Index("ix_payments_currency_created_at_id", "currency", "created_at", "id"),
    Index(
        "ix_payments_customer_created_at_id",
        "customer",
        "created_at",
        "id",
        postgresql_where=text("customer IS NOT NULL"),
    ),
    # without the key that every payment has for itself alone
    Index(
        "ix_payments_metadata",
        text("(metadata - 'tallystick_payment'::text) jsonb_path_ops"),
        postgresql_using="gin",
    ),
)

# payment_id is no foreign key: a refund's event may arrive before any event of its payment (docs/adr/0003).
refunds = Table(
    "refunds",
    metadata,
    id_(primary_key=True),
    id_("payment_id"),
    Column("status", Text, nullable=False),
    Column("state_order", Text(collation="C"), nullable=False, server_default=""),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    id_("stripe_refund", unique=True),
    id_("stripe_payment_intent"),
    id_("stripe_charge"),
    Column("reason", Text),
    Column("failure_reason", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    at("created_at", nullable=False),
    at("updated_at", now=True),
    one_of("status", *REFUND_STATUSES),
    CheckConstraint("amount > 0", name="amount"),
    Index("ix_refunds_payment_id", "payment_id"),
    Index("ix_refunds_created_at_id", "created_at", "id"),
)

# The id is Stripe's: a dispute never begins here. payment_id is no foreign key, as in refunds.
disputes = Table(
    "disputes",
    metadata,
    id_(primary_key=True),
    id_("payment_id", nullable=False),
    Column("status", Text, nullable=False),  # Stripe's word, also one of tomorrow
    Column("state_order", Text(collation="C"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("reason", Text),
    Column("network_reason_code", Text),
    at("evidence_due_at"),
    Column("has_evidence", Boolean, nullable=False),
    Column("submission_count", Integer, nullable=False),
    Column("charge_refundable", Boolean, nullable=False),
    id_("stripe_payment_intent"),
    id_("stripe_charge"),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    at("created_at", nullable=False),
    at("updated_at", now=True),
    CheckConstraint("amount >= 0", name="amount"),
    Index("ix_disputes_payment_id", "payment_id"),
    Index("ix_disputes_created_at_id", "created_at", "id"),
)

# Copies of what is at Stripe, under Stripe's ids.
customers = Table(
    "customers",
    metadata,
    id_(primary_key=True),
    Column("state_order", Text(collation="C"), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("name", Text),
    Column("email", Text),
    Column("phone", Text),
    Column("description", Text),
    Column("address", JSONB),
    Column("metadata", JSONB, nullable=False),
    Column("default_payment_method", Text),
    Column("methods_known", Boolean, nullable=False),  # all that it pays with is in payment_methods
    at("created_at", nullable=False),
    at("updated_at", now=True),
    Index("ix_customers_created_at_id", "created_at", "id"),
    Index("ix_customers_email_created_at_id", "email", "created_at", "id"),
)

payment_methods = Table(
    "payment_methods",
    metadata,
    id_(primary_key=True),
    Column("state_order", Text(collation="C"), nullable=False),
    id_("customer"),  # None once it is detached
    Column("type", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("metadata", JSONB, nullable=False),
    at("created_at", nullable=False),
    at("updated_at", now=True),
    Index("ix_payment_methods_customer_created_at_id", "customer", "created_at", "id"),
)
