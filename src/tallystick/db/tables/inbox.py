"""What came from Stripe: events, what was fetched, balance transactions, and how far lists are read."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tallystick.db.tables.columns import at, id_, metadata, one_of

# Bodies of events that were processed long ago, by the block. See pipeline/archives.py.
event_archives = Table(
    "event_archives",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("last_seq", BigInteger, nullable=False, unique=True),
    Column("events", Integer, nullable=False),
    Column("offsets", ARRAY(Integer), nullable=False),  # where each body ends, in bytes
    Column("body", LargeBinary, nullable=False),
    at("created_at", now=True),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    id_(primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("api_version", Text),
    Column("livemode", Boolean, nullable=False),
    Column("body", LargeBinary),  # byte for byte as signed; null once it is in an archive
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    at("created_at", nullable=False),
    at("received_at", now=True),
    at("ring_at", nullable=False),  # when the sweep rings for it, again or at last
    at("finished_at"),
    Column("found_by", Text, nullable=False, server_default="delivery"),
    Column("archive_id", BigInteger, ForeignKey("event_archives.id")),
    Column("archive_position", Integer),  # from 1
    Column("original_sha256", LargeBinary),  # of the body as it came, where it has been redacted since
    id_("about"),  # the payment at Stripe that it is about, once processed by its rule: Effects.about
    UniqueConstraint("seq"),
    one_of("status", "pending", "processed", "ignored", "dead", "discarded"),
    one_of("found_by", "delivery", "gap_audit"),
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
    at("failed_at", now=True),
    Column("error_code", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Index("ix_event_attempts_event_id", "event_id"),
)

fetched_objects = Table(
    "fetched_objects",
    metadata,
    id_("question", primary_key=True),
    Column("answer", LargeBinary),  # JSON as Stripe sent it; null: Stripe knows no such object
    at("fetched_at", now=True),
)

balance_transactions = Table(
    "balance_transactions",
    metadata,
    id_(primary_key=True),
    Column("status", Text, nullable=False),
    Column("body", LargeBinary),  # null until fetched
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    at("seen_at", now=True),
    at("due_at", now=True),
    at("posted_at"),
    at("dead_at"),  # since when it is dead or missing
    id_("source"),  # what Stripe booked: a charge, refund, payout; null until fetched, or where it names none
    one_of("status", "wanted", "fetched", "posted", "missing", "dead", "discarded"),
    CheckConstraint("body IS NOT NULL OR status IN ('wanted', 'missing', 'discarded')", name="body"),
    Index(
        "ix_balance_transactions_due_at", "due_at", postgresql_where=text("status IN ('wanted', 'fetched')")
    ),
    Index("ix_balance_transactions_source", "source", postgresql_where=text("source IS NOT NULL")),
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
    at("failed_at", now=True),
    Column("error_code", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Index("ix_balance_transaction_attempts_balance_transaction_id", "balance_transaction_id"),
)

# One row a list: how far it is read, and the window in hand, if there is one. See pipeline/pulls/listings.py.
stripe_listings = Table(
    "stripe_listings",
    metadata,
    Column("name", Text, primary_key=True),
    at("through"),
    at("since"),
    at("until"),
    id_("cursor"),
    Column("seen", BigInteger, nullable=False, server_default="0"),
    Column("found", BigInteger, nullable=False, server_default="0"),
    Column("found_in_all", BigInteger, nullable=False, server_default="0"),
    Column("lease", Text),
    at("leased_until"),
    at("started_at"),
    at("finished_at"),
    CheckConstraint("(since IS NULL) = (until IS NULL)", name="window"),
)

# How far the list of what each automatic payout paid out is read. See pipeline/pulls/payout_contents.py.
payout_listings = Table(
    "payout_listings",
    metadata,
    id_("payout", primary_key=True),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    at("due_at", now=True),
    id_("cursor"),
    Column("transactions", Integer, nullable=False, server_default="0"),
    Column("net", BigInteger, nullable=False, server_default="0"),
    at("listed_at"),
    one_of("status", "pending", "listed", "not_automatic", "unknown"),
    Index("ix_payout_listings_due_at", "due_at", postgresql_where=text("status = 'pending'")),
)

payout_transactions = Table(
    "payout_transactions",
    metadata,
    Column("payout", Text(collation="C"), ForeignKey("payout_listings.payout"), primary_key=True),
    id_("balance_transaction", primary_key=True),
)
