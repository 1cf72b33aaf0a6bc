"""The ledger, its balances and its seals."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
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

from tallystick.db.tables.columns import Xid8, at, id_, metadata, one_of

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text(collation="C"), nullable=False),
    Column("currency", Text(collation="C"), nullable=False),
    Column("type", Text, nullable=False),
    at("created_at", now=True),
    UniqueConstraint("name", "currency"),
    UniqueConstraint("id", "currency"),
    one_of("type", "asset", "liability", "equity", "revenue", "contra_revenue", "expense"),
)

# payment_id is no foreign key, as in refunds; source is an event, a balance transaction or an operator.
ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    Column("id", BigInteger, Identity(always=True, cache=1), primary_key=True),
    Column("effect_key", Text(collation="C"), nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("description", Text, nullable=False),
    at("occurred_at", nullable=False),
    Column("accounting_on", Date, nullable=False),
    at("posted_at", now=True),
    id_("source", nullable=False),
    id_("payment_id"),
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

# Which accounts sales go to: every map that was ever in force. See pipeline/account_maps.py.
account_maps = Table(
    "account_maps",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    at("since", now=True),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
)

account_balances = Table(
    "account_balances",
    metadata,
    Column("account_id", Integer, ForeignKey("ledger_accounts.id"), primary_key=True),
    Column("debits", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    at("updated_at", now=True),
    CheckConstraint("debits >= 0 AND credits >= 0", name="sums"),
)

effect_dates = Table(
    "effect_dates",
    metadata,
    Column("transaction_id", BigInteger, ForeignKey("ledger_transactions.id"), primary_key=True),
    at("occurred_at", primary_key=True),
    Column("source", Text, nullable=False),
    at("heard_at", now=True),
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
    at("sealed_at", now=True),
    Column("after_account_id", BigInteger, nullable=False),
    Column("last_account_id", BigInteger, nullable=False),
    Column("account_leaves", LargeBinary, nullable=False),
)

# Sums of sealed entries by day and by hour of UTC. See ledger/sums.py.
ledger_sums = Table(
    "ledger_sums",
    metadata,
    Column("account_id", Integer, ForeignKey("ledger_accounts.id"), primary_key=True),
    Column("grain", Text(collation="C"), primary_key=True),
    at("starts_at", primary_key=True),
    Column("debits", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    one_of("grain", "day", "hour"),
)

# Where the sealed entries of an account lie: those of one hour, in one run of 256 transaction ids. An index
# of PostgreSQL's own would be a hundred times as large, and in the way of every posting. See ledger/sums.py.
entry_spans = Table(
    "entry_spans",
    metadata,
    Column("account_id", Integer, ForeignKey("ledger_accounts.id"), primary_key=True),
    at("hour", primary_key=True),
    Column("run", BigInteger, primary_key=True),
    at("first_at", nullable=False),
    at("last_at", nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("debits", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Index("ix_entry_spans_account_id_last_at", "account_id", "last_at"),
)

# The same of the ledger transactions of a kind.
transaction_spans = Table(
    "transaction_spans",
    metadata,
    Column("kind", Text(collation="C"), primary_key=True),
    at("hour", primary_key=True),
    Column("run", BigInteger, primary_key=True),
    at("first_at", nullable=False),
    at("last_at", nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("transactions", Integer, nullable=False),
    Index("ix_transaction_spans_first_at", "first_at"),
    Index("ix_transaction_spans_kind_first_at", "kind", "first_at"),
)
