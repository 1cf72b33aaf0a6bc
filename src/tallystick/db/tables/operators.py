"""What operators did, by whom and why: append-only, as db/audit_guards.py sees to."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Table,
    Text,
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
