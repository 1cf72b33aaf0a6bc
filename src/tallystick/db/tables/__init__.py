"""The one schema: every table with its checks, foreign keys and the indexes that a query needs.

Alembic's migrations build the same database (a test compares the two dumps). Stripe's and our ids are
``COLLATE "C"``: they are compared byte for byte, and their time-ordered prefix keeps index pages warm.
Times are ``timestamptz`` in UTC, amounts ``bigint`` in minor units.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, MetaData, event

from tallystick.db.audit_guards import AUDIT_GUARDS
from tallystick.db.ledger_guards import LEDGER_GUARDS
from tallystick.db.tables import alerts, inbox, ledger, notices, operators, requests
from tallystick.db.tables.columns import Xid8, metadata
from tallystick.db.tables.payments import customers, disputes, payment_methods, payments, refunds

__all__ = [
    "Xid8",
    "alerts",
    "customers",
    "disputes",
    "inbox",
    "ledger",
    "metadata",
    "notices",
    "operators",
    "payment_methods",
    "payments",
    "refunds",
    "requests",
]


def _create_guards(_metadata: MetaData, connection: Connection, **_: Any) -> None:
    for statement in (*LEDGER_GUARDS, *AUDIT_GUARDS):
        connection.exec_driver_sql(statement)


event.listen(metadata, "after_create", _create_guards)
