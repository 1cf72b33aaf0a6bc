"""What operators did, by whom and why: append-only, as db/audit_guards.py sees to."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from tallystick.db.tables.columns import at, id_, metadata, one_of

# What operators did, by whom and why: append-only, as db/audit_guards.py sees to.
replays = Table(
    "replays",
    metadata,
    id_(primary_key=True),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("selection", JSONB, nullable=False),
    at("started_at", now=True),
)

replay_results = Table(
    "replay_results",
    metadata,
    Column("replay_id", Text(collation="C"), ForeignKey("replays.id"), primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("counts", JSONB, nullable=False),
    at("finished_at", now=True),
    one_of("outcome", "finished", "interrupted"),
)

# letter_id is no foreign key: it names an event or a balance transaction, as kind says.
discards = Table(
    "discards",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    id_("letter_id", nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    at("discarded_at", now=True),
    one_of("kind", "event", "balance_transaction"),
    Index("ix_discards_letter_id", "letter_id"),
)

# Append-only: whose personal data was erased, by whom, and why.
erasures = Table(
    "erasures",
    metadata,
    id_(primary_key=True),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    id_("subject", nullable=False),
    Column("counts", JSONB, nullable=False),
    at("erased_at", now=True),
)

# An operator's correcting entry, as it was asked for: an input of the ledger. Append-only, as is what a
# second person decided of it. payment_id is no foreign key, as in refunds.
journal_entries = Table(
    "journal_entries",
    metadata,
    id_(primary_key=True),
    Column("description", Text, nullable=False),
    Column("reason", Text, nullable=False),
    at("occurred_at", nullable=False),
    Column("lines", JSONB, nullable=False),
    id_("payment_id"),
    Column("reverses", Text(collation="C"), ForeignKey("journal_entries.id")),
    Column("author", Text, nullable=False),
    id_("author_key"),
    Column("needs_approval", Boolean, nullable=False),
    at("created_at", now=True),
    Index("ix_journal_entries_reverses", "reverses", postgresql_where=text("reverses IS NOT NULL")),
)

journal_decisions = Table(
    "journal_decisions",
    metadata,
    Column("entry_id", Text(collation="C"), ForeignKey("journal_entries.id"), primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    id_("decided_by_key"),
    Column("comment", Text),
    at("decided_at", now=True),
    one_of("outcome", "approved", "rejected"),
)

# The position from which the books begin on an account in use, and what it was derived from: an input of the
# ledger, of which there is one at most. Append-only.
ledger_openings = Table(
    "ledger_openings",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    at("cut_over", nullable=False),
    Column("balances", JSONB, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    at("opened_at", now=True),
    CheckConstraint("singleton", name="singleton"),
)

# Effects that stood when the books were opened, and would not stand so, had they been opened before: they are
# taken back. Append-only.
superseded_effects = Table(
    "superseded_effects",
    metadata,
    Column("effect_key", Text(collation="C"), ForeignKey("ledger_transactions.effect_key"), primary_key=True),
)
