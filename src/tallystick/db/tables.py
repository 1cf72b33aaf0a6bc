"""The one schema: every table with its checks, foreign keys and the indexes that a query needs.

Alembic's migrations build the same database (a test compares the two dumps). Stripe's and our ids are
``COLLATE "C"``: they are compared byte for byte, and their time-ordered prefix keeps index pages warm.
Times are ``timestamptz`` in UTC, amounts ``bigint`` in minor units.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

from tallystick.db.audit_guards import AUDIT_GUARDS
from tallystick.db.ledger_guards import LEDGER_GUARDS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The column's type in DDL."""
        return "xid8"


def _id(name: str = "id", **options: Any) -> Column[str]:
    return Column(name, Text(collation="C"), **options)


def _at(name: str, *, now: bool = False, **options: Any) -> Column[Any]:
    default = {"server_default": func.now(), "nullable": False} if now else {}
    return Column(name, DateTime(timezone=True), **{**default, **options})


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


PAYMENT_STATUSES = (
    "unknown", "requires_payment_method", "requires_confirmation", "requires_action",
    "processing", "requires_capture", "canceled", "succeeded",
)  # fmt: skip
REFUND_STATUSES = ("unknown", "pending", "requires_action", "succeeded", "canceled", "failed")

payments = Table(
    "payments",
    metadata,
    _id(primary_key=True),
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
    _id("stripe_payment_intent", unique=True),
    _id("stripe_charge"),
    Column("customer", Text),
    Column("description", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("capture_method", Text),
    Column("payment_method", Text),
    Column("client_secret", Text),
    Column("cancellation_reason", Text),
    Column("last_error", JSONB),
    Column("next_action", JSONB),
    _at("created_at", nullable=False),
    _at("updated_at", now=True),
    Column("receipt_email", Text),
    Column("statement_descriptor", Text),
    Column("statement_descriptor_suffix", Text),
    Column("setup_future_usage", Text),
    _one_of("status", *PAYMENT_STATUSES),
    _one_of("origin", "api", "adopted"),
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
    _id(primary_key=True),
    _id("payment_id"),
    Column("status", Text, nullable=False),
    Column("state_order", Text(collation="C"), nullable=False, server_default=""),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    _id("stripe_refund", unique=True),
    _id("stripe_payment_intent"),
    _id("stripe_charge"),
    Column("reason", Text),
    Column("failure_reason", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _at("created_at", nullable=False),
    _at("updated_at", now=True),
    _one_of("status", *REFUND_STATUSES),
    CheckConstraint("amount > 0", name="amount"),
    Index("ix_refunds_payment_id", "payment_id"),
    Index("ix_refunds_created_at_id", "created_at", "id"),
)

# The id is Stripe's: a dispute never begins here. payment_id is no foreign key, as in refunds.
disputes = Table(
    "disputes",
    metadata,
    _id(primary_key=True),
    _id("payment_id", nullable=False),
    Column("status", Text, nullable=False),  # Stripe's word, also one of tomorrow
    Column("state_order", Text(collation="C"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("reason", Text),
    Column("network_reason_code", Text),
    _at("evidence_due_at"),
    Column("has_evidence", Boolean, nullable=False),
    Column("submission_count", Integer, nullable=False),
    Column("charge_refundable", Boolean, nullable=False),
    _id("stripe_payment_intent"),
    _id("stripe_charge"),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _at("created_at", nullable=False),
    _at("updated_at", now=True),
    CheckConstraint("amount >= 0", name="amount"),
    Index("ix_disputes_payment_id", "payment_id"),
    Index("ix_disputes_created_at_id", "created_at", "id"),
)

# Bodies of events that were processed long ago, by the block. See pipeline/archives.py.
event_archives = Table(
    "event_archives",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("last_seq", BigInteger, nullable=False, unique=True),
    Column("events", Integer, nullable=False),
    Column("offsets", ARRAY(Integer), nullable=False),  # where each body ends, in bytes
    Column("body", LargeBinary, nullable=False),
    _at("created_at", now=True),
)

# Copies of what is at Stripe, under Stripe's ids.
customers = Table(
    "customers",
    metadata,
    _id(primary_key=True),
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
    _at("created_at", nullable=False),
    _at("updated_at", now=True),
    Index("ix_customers_created_at_id", "created_at", "id"),
    Index("ix_customers_email_created_at_id", "email", "created_at", "id"),
)

payment_methods = Table(
    "payment_methods",
    metadata,
    _id(primary_key=True),
    Column("state_order", Text(collation="C"), nullable=False),
    _id("customer"),  # None once it is detached
    Column("type", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("livemode", Boolean, nullable=False),
    Column("metadata", JSONB, nullable=False),
    _at("created_at", nullable=False),
    _at("updated_at", now=True),
    Index("ix_payment_methods_customer_created_at_id", "customer", "created_at", "id"),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    _id(primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("api_version", Text),
    Column("livemode", Boolean, nullable=False),
    Column("body", LargeBinary),  # byte for byte as signed; null once it is in an archive
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _at("created_at", nullable=False),
    _at("received_at", now=True),
    _at("ring_at", nullable=False),  # when the sweep rings for it, again or at last
    _at("finished_at"),
    Column("found_by", Text, nullable=False, server_default="delivery"),
    Column("archive_id", BigInteger, ForeignKey("event_archives.id")),
    Column("archive_position", Integer),  # from 1
    Column("original_sha256", LargeBinary),  # of the body as it came, where it has been redacted since
    _id("about"),  # the payment at Stripe that it is about, once it is processed: see Effects.about
    UniqueConstraint("seq"),
    _one_of("status", "pending", "processed", "ignored", "dead", "discarded"),
    _one_of("found_by", "delivery", "gap_audit"),
    CheckConstraint("(body IS NULL) = (archive_id IS NOT NULL AND archive_position > 0)", name="body"),
    CheckConstraint("octet_length(original_sha256) = 32", name="original_sha256"),
    Index("ix_webhook_events_ring_at", "ring_at", postgresql_where=text("status = 'pending'")),
    Index("ix_webhook_events_status_seq", "status", "seq", postgresql_where=text("status = 'dead'")),
    Index("ix_webhook_events_finished_at_id", "finished_at", "id", postgresql_where=text("status = 'dead'")),
    Index("ix_webhook_events_about", "about", postgresql_where=text("about IS NOT NULL")),
)

event_attempts = Table(
    "event_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Text(collation="C"), ForeignKey("webhook_events.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    _at("failed_at", now=True),
    Column("error_code", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Index("ix_event_attempts_event_id", "event_id"),
)

fetched_objects = Table(
    "fetched_objects",
    metadata,
    _id("question", primary_key=True),
    Column("answer", LargeBinary),  # JSON as Stripe sent it; null: Stripe knows no such object
    _at("fetched_at", now=True),
)

balance_transactions = Table(
    "balance_transactions",
    metadata,
    _id(primary_key=True),
    Column("status", Text, nullable=False),
    Column("body", LargeBinary),  # null until fetched
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    _at("seen_at", now=True),
    _at("due_at", now=True),
    _at("posted_at"),
    _at("dead_at"),  # since when it is dead or missing
    _one_of("status", "wanted", "fetched", "posted", "missing", "dead", "discarded"),
    CheckConstraint("body IS NOT NULL OR status IN ('wanted', 'missing', 'discarded')", name="body"),
    Index(
        "ix_balance_transactions_due_at", "due_at", postgresql_where=text("status IN ('wanted', 'fetched')")
    ),
    Index(
        "ix_balance_transactions_dead_at_id",
        "dead_at",
        "id",
        postgresql_where=text("status IN ('dead', 'missing')"),
    ),
)

balance_transaction_attempts = Table(
    "balance_transaction_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "balance_transaction_id", Text(collation="C"), ForeignKey("balance_transactions.id"), nullable=False
    ),
    Column("attempt", Integer, nullable=False),
    _at("failed_at", now=True),
    Column("error_code", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Index("ix_balance_transaction_attempts_balance_transaction_id", "balance_transaction_id"),
)

# What operators did, by whom and why: append-only, as db/audit_guards.py sees to.
replays = Table(
    "replays",
    metadata,
    _id(primary_key=True),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("selection", JSONB, nullable=False),
    _at("started_at", now=True),
)

replay_results = Table(
    "replay_results",
    metadata,
    Column("replay_id", Text(collation="C"), ForeignKey("replays.id"), primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("counts", JSONB, nullable=False),
    _at("finished_at", now=True),
    _one_of("outcome", "finished", "interrupted"),
)

# letter_id is no foreign key: it names an event or a balance transaction, as kind says.
discards = Table(
    "discards",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    _id("letter_id", nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _at("discarded_at", now=True),
    _one_of("kind", "event", "balance_transaction"),
    Index("ix_discards_letter_id", "letter_id"),
)

# Append-only: whose personal data was erased, by whom, and why.
erasures = Table(
    "erasures",
    metadata,
    _id(primary_key=True),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _id("subject", nullable=False),
    Column("counts", JSONB, nullable=False),
    _at("erased_at", now=True),
)

# One row a list: how far it is read, and the window in hand while there is one. See pipeline/listings.py.
stripe_listings = Table(
    "stripe_listings",
    metadata,
    Column("name", Text, primary_key=True),
    _at("through"),
    _at("since"),
    _at("until"),
    _id("cursor"),
    Column("seen", BigInteger, nullable=False, server_default="0"),
    Column("found", BigInteger, nullable=False, server_default="0"),
    Column("found_in_all", BigInteger, nullable=False, server_default="0"),
    Column("lease", Text),
    _at("leased_until"),
    _at("started_at"),
    _at("finished_at"),
    CheckConstraint("(since IS NULL) = (until IS NULL)", name="window"),
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text(collation="C"), nullable=False),
    Column("currency", Text(collation="C"), nullable=False),
    Column("type", Text, nullable=False),
    _at("created_at", now=True),
    UniqueConstraint("name", "currency"),
    UniqueConstraint("id", "currency"),
    _one_of("type", "asset", "liability", "equity", "revenue", "contra_revenue", "expense"),
)

# payment_id is no foreign key, as in refunds; source is an event, a balance transaction or an operator.
ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    Column("id", BigInteger, Identity(always=True, cache=1), primary_key=True),
    Column("effect_key", Text(collation="C"), nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("description", Text, nullable=False),
    _at("occurred_at", nullable=False),
    Column("accounting_on", Date, nullable=False),
    _at("posted_at", now=True),
    _id("source", nullable=False),
    _id("payment_id"),
    Column("rule_version", SmallInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("xact", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    CheckConstraint("octet_length(digest) = 32", name="digest"),
    Index(
        "ix_ledger_transactions_occurred_at",
        "occurred_at",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 16, "autosummarize": "on"},
    ),
    Index("ix_ledger_transactions_payment_id", "payment_id", postgresql_where=text("payment_id IS NOT NULL")),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("transaction_id", BigInteger, ForeignKey("ledger_transactions.id"), primary_key=True),
    Column("position", SmallInteger, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("direction", SmallInteger, nullable=False),  # 1 debit, -1 credit
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text(collation="C"), nullable=False),
    ForeignKeyConstraint(
        ["account_id", "currency"],
        ["ledger_accounts.id", "ledger_accounts.currency"],
        name="fk_ledger_entries_account_id",
    ),
    CheckConstraint("direction IN (1, -1)", name="direction"),
    CheckConstraint("amount > 0", name="amount"),
)
account_balances = Table(
    "account_balances",
    metadata,
    Column("account_id", Integer, ForeignKey("ledger_accounts.id"), primary_key=True),
    Column("debits", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    _at("updated_at", now=True),
    CheckConstraint("debits >= 0 AND credits >= 0", name="sums"),
)

effect_dates = Table(
    "effect_dates",
    metadata,
    Column("transaction_id", BigInteger, ForeignKey("ledger_transactions.id"), primary_key=True),
    _at("occurred_at", primary_key=True),
    Column("source", Text, nullable=False),
    _at("heard_at", now=True),
    Column("id", BigInteger, Identity(always=True, cache=1), nullable=False, unique=True),
    Index("ix_effect_dates_occurred_at", "occurred_at"),
)

# The ledger in blocks, each hash over the one before. See ledger/seals.py.
ledger_seals = Table(
    "ledger_seals",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("format", SmallInteger, nullable=False),
    Column("after_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("after_date_id", BigInteger, nullable=False),
    Column("last_date_id", BigInteger, nullable=False),
    Column("transactions", Integer, nullable=False),
    Column("leaves", LargeBinary, nullable=False),
    Column("date_leaves", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _at("sealed_at", now=True),
)

# Sums of sealed entries by day and by hour of UTC. See ledger/sums.py.
ledger_sums = Table(
    "ledger_sums",
    metadata,
    Column("account_id", Integer, ForeignKey("ledger_accounts.id"), primary_key=True),
    Column("grain", Text(collation="C"), primary_key=True),
    _at("starts_at", primary_key=True),
    Column("debits", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    _one_of("grain", "day", "hour"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("notice_key", Text(collation="C"), nullable=False, unique=True),
    Column("type", Text, nullable=False),
    _id("payment_id"),
    Column("data", JSONB, nullable=False),
    _at("created_at", now=True),
)

# Notices that fan-out has not seen yet. No foreign key: each row is written by the statement that writes its
# notice, and a check would lock every one of them a second time.
outbox_new = Table(
    "outbox_new",
    metadata,
    Column("notice_id", BigInteger, primary_key=True, autoincrement=False),
)

# Where notices go: the merchant's own endpoints, and the one row of channel email that the settings make.
notice_endpoints = Table(
    "notice_endpoints",
    metadata,
    _id(primary_key=True),
    Column("channel", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text),
    Column("event_types", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False, server_default="enabled"),
    Column("disabled_reason", Text),
    _at("disabled_at"),
    _at("failing_since"),
    _at("last_success_at"),
    _at("created_at", now=True),
    _at("updated_at", now=True),
    _one_of("channel", "webhook", "email"),
    _one_of("status", "enabled", "disabled", "deleted"),
    _one_of("disabled_reason", "by_hand", "failing", "gone"),
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
    _at("created_at", now=True),
    _at("expires_at"),
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
    _id("order_key"),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _at("due_at", now=True),
    _at("created_at", now=True),
    _at("finished_at"),
    Column("response_status", SmallInteger),
    Column("error_code", Text),
    Column("error", Text),
    UniqueConstraint("endpoint_id", "notice_id"),
    _one_of("status", "pending", "delivered", "failed"),
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
    _at("attempted_at", nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("response_status", SmallInteger),
    Column("response_body", Text),
    Column("error_code", Text),
    Column("error", Text),
    Index("ix_notice_attempts_delivery_id", "delivery_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(primary_key=True),
    Column("name", Text, nullable=False),
    Column("hint", Text, nullable=False),  # the last characters, to tell keys apart
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _at("created_at", now=True),
    _at("expires_at"),
    _at("revoked_at"),
    _at("last_used_at"),
    Column("rate_limit", Text),
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
    _at("created_at", now=True),
    _at("removed_at"),
    _one_of("name", "stripe_secret_key", "stripe_webhook_secret"),
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
    _id("resource_id"),  # the payment or refund that the first request began
    Column("response_status", SmallInteger),
    Column("response_body", LargeBinary),
    _at("locked_at", now=True),
    _at("created_at", now=True),
    _at("finished_at"),
    _at("leased_until", now=True),
    CheckConstraint("(finished_at IS NULL) = (response_status IS NULL)", name="finished"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

# changes at Stripe that were accepted and whose outcome is not stored yet
stripe_calls = Table(
    "stripe_calls",
    metadata,
    _id(primary_key=True),  # its idempotency key at Stripe
    Column("action", Text, nullable=False),
    _id("payment_id", nullable=False),
    _id("refund_id"),
    _id("intent"),
    Column("params", Text, nullable=False),  # as sent, byte for byte: Stripe compares
    # the payment's, when the call was accepted; None where it has no row
    Column("state_order", Text(collation="C")),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _at("created_at", now=True),
    _at("due_at", now=True),
    Index("ix_stripe_calls_due_at", "due_at"),
)

# what became of them: only added to
ended_calls = Table(
    "ended_calls",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _id("payment_id", nullable=False),
    _id("refund_id"),
    Column("action", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    _at("began_at", nullable=False),
    _at("ended_at", now=True),
    Index("ix_ended_calls_payment_id", "payment_id"),
)


def _create_guards(_metadata: MetaData, connection: Connection, **_: Any) -> None:
    for statement in (*LEDGER_GUARDS, *AUDIT_GUARDS):
        connection.exec_driver_sql(statement)


event.listen(metadata, "after_create", _create_guards)
