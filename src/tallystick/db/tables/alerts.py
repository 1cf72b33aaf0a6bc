"""Alerts that the worker raises itself: see alerting/."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Table, Text, text

from tallystick.db.tables.columns import at, id_, metadata, one_of

# A row is one time that a condition held: since held_since, fired once that was long enough, resolved when it
# ended. tell_at is when somebody is to be told of it, the end of the lease of whoever is telling, or null.
alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    id_("name", nullable=False),
    id_("about", nullable=False, server_default=""),  # a currency, where there is an alert for each
    Column("severity", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("value", BigInteger, nullable=False),  # the last one: seconds, a count, or minor units
    at("held_since", now=True),
    at("fired_at"),
    at("resolved_at"),
    at("tell_at"),
    one_of("severity", "warning", "critical"),
    CheckConstraint("resolved_at IS NULL OR fired_at IS NOT NULL", name="resolved"),
    Index(
        "uq_alerts_name_about",
        "name",
        "about",
        unique=True,
        postgresql_where=text("resolved_at IS NULL"),
    ),
    Index("ix_alerts_fired_at_id", "fired_at", "id", postgresql_where=text("fired_at IS NOT NULL")),
)
