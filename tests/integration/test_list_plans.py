"""Every filter of a list has an index, and PostgreSQL uses it: no list reads the whole table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.payments.customers import list_customers, list_methods
from tallystick.payments.disputes import list_disputes
from tallystick.payments.lists import EVER, Between
from tallystick.payments.reading import PaymentFilter, list_payments, list_refunds
from tallystick.payments.status import PaymentStatus, RefundStatus

pytestmark = pytest.mark.long

ROWS: Final = 1_000_000
_PAYMENTS: Final = """
INSERT INTO payments (
  id, origin, status, amount, currency, livemode, stripe_payment_intent, customer, metadata, created_at
)
SELECT 'pay_' || lpad(n::text, 26, '0'), 'api',
       CASE WHEN n % 1000 = 0 THEN 'requires_capture' WHEN n % 50000 = 1 THEN 'unknown' ELSE 'succeeded' END,
       1000, CASE WHEN n % 100000 = 0 THEN 'isk' WHEN n % 3 = 0 THEN 'eur' ELSE 'usd' END, false, 'pi_' || n,
       CASE WHEN n % 2 = 0 THEN 'cus_' || n % 5000 END,
       jsonb_build_object('order', n::text, 'shop', 's' || n % 20, 'tallystick_payment', n::text),
       '2026-01-01'::timestamptz + n * interval '10 seconds'
  FROM generate_series(1, :rows) AS n
"""
_REFUNDS: Final = """
INSERT INTO refunds (id, payment_id, status, amount, currency, stripe_refund, created_at)
SELECT 'ref_' || lpad(n::text, 26, '0'), 'pay_' || lpad(n::text, 26, '0'), 'succeeded', 100, 'usd',
       're_' || n, '2026-01-01'::timestamptz + n * interval '10 seconds'
  FROM generate_series(1, :rows) AS n
"""
_DISPUTES: Final = """
INSERT INTO disputes (
  id, payment_id, status, state_order, amount, currency, livemode, has_evidence, submission_count,
  charge_refundable, created_at
)
SELECT 'du_' || n, 'pay_' || lpad(n::text, 26, '0'), 'lost', '', 100, 'usd', false, false, 0, false,
       '2026-01-01'::timestamptz + n * interval '10 seconds'
  FROM generate_series(1, :rows) AS n
"""
_CUSTOMERS: Final = """
INSERT INTO customers (id, state_order, deleted, livemode, email, metadata, methods_known, created_at)
SELECT 'cus_' || n, '', false, false, 'person' || n || '@example.com', '{}', true,
       '2026-01-01'::timestamptz + n * interval '10 seconds'
  FROM generate_series(1, :rows) AS n
"""
_METHODS: Final = """
INSERT INTO payment_methods (id, state_order, customer, type, details, livemode, metadata, created_at)
SELECT 'pm_' || n, '', 'cus_' || n / 2, 'card', '{}', false, '{}',
       '2026-01-01'::timestamptz + n * interval '10 seconds'
  FROM generate_series(1, :rows) AS n
"""
MARCH: Final = datetime(2026, 3, 1, tzinfo=UTC)
A_PAYMENT: Final = "pay_" + "77".zfill(26)

LISTS: Final[dict[str, Callable[[AsyncConnection], Any]]] = {
    "all": lambda c: list_payments(c, PaymentFilter(), limit=20),
    "a rare status": lambda c: list_payments(c, PaymentFilter(status=PaymentStatus.UNKNOWN), limit=20),
    "a status that nothing has": lambda c: list_payments(
        c, PaymentFilter(status=PaymentStatus.PROCESSING), limit=20
    ),
    "the status of most": lambda c: list_payments(c, PaymentFilter(status=PaymentStatus.SUCCEEDED), limit=20),
    "a customer": lambda c: list_payments(c, PaymentFilter(customer="cus_42"), limit=20),
    "a customer and a status": lambda c: list_payments(
        c, PaymentFilter(customer="cus_42", status=PaymentStatus.SUCCEEDED), limit=20
    ),
    "a rare currency": lambda c: list_payments(c, PaymentFilter(currency="isk"), limit=20),
    "a time": lambda c: list_payments(c, PaymentFilter(created=Between(gte=MARCH)), limit=20),
    "a status before a time": lambda c: list_payments(
        c, PaymentFilter(status=PaymentStatus.REQUIRES_CAPTURE, created=Between(lt=MARCH)), limit=20
    ),
    "metadata that one has": lambda c: list_payments(c, PaymentFilter(metadata={"order": "4711"}), limit=20),
    "metadata that many have": lambda c: list_payments(c, PaymentFilter(metadata={"shop": "s7"}), limit=20),
    "metadata that none has": lambda c: list_payments(c, PaymentFilter(metadata={"a": "b"}), limit=20),
    "refunds": lambda c: list_refunds(c, EVER, limit=20),
    "refunds of a payment": lambda c: list_refunds(c, EVER, payment=A_PAYMENT, limit=20),
    "refunds of a status": lambda c: list_refunds(c, EVER, status=RefundStatus.SUCCEEDED, limit=20),
    "disputes": lambda c: list_disputes(c, EVER, limit=20),
    "disputes of a payment": lambda c: list_disputes(c, EVER, payment=A_PAYMENT, limit=20),
    "customers": lambda c: list_customers(c, EVER, limit=20),
    "customers of an address": lambda c: list_customers(c, EVER, email="person77@example.com", limit=20),
    "payment methods": lambda c: list_methods(c, "cus_77", limit=20),
}


async def filled(engine: AsyncEngine) -> None:
    """A table of payments as after a busy year."""
    async with engine.begin() as connection:
        await connection.execute(text(_PAYMENTS), {"rows": ROWS})
        for statement in (_REFUNDS, _DISPUTES, _CUSTOMERS, _METHODS):
            await connection.execute(text(statement), {"rows": ROWS // 10})
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan, all of them."""
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


@pytest.mark.timeout(1800)
async def test_no_list_reads_the_whole_table(engine: AsyncEngine) -> None:
    await filled(engine)
    for name, listing in LISTS.items():
        statements: list[tuple[str, Any]] = []

        def note(*args: Any, seen: list[tuple[str, Any]] = statements) -> None:
            seen.append((args[2], args[3]))

        event.listen(engine.sync_engine, "before_cursor_execute", note)
        async with engine.connect() as connection:
            await listing(connection)
            event.remove(engine.sync_engine, "before_cursor_execute", note)
            ((statement, parameters),) = statements
            explained = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters
            )
            told = explained.scalar_one()
        plan = (orjson.loads(told) if isinstance(told, str) else told)[0]
        found = nodes(plan["Plan"])
        scans = [(node["Node Type"], node.get("Index Name")) for node in found if "Scan" in node["Node Type"]]
        assert "Seq Scan" not in {kind for kind, _ in scans}, f"{name}: {scans}"
        read = max(node["Actual Rows"] * node["Actual Loops"] for node in found)
        assert read <= ROWS // 10, f"{name} reads {read} rows for a page of 20"
