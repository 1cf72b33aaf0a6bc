"""Writes reports about payments and refunds to their rows, by the same merge as ``reports.py``.

Functions take a connection and join the caller's transaction. Rows are written in the order of their ids, so
that concurrent batches cannot deadlock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Final

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.payments.reports import (
    PaymentReport,
    RefundReport,
    Report,
    is_adopted,
    merge_payments,
    merge_refunds,
    under_one_id,
)
from tallystick.payments.ties import Tie, open_ties

_PAYMENT_STATE: Final = (
    "state_order", "status", "amount", "currency", "livemode", "amount_capturable", "customer", "description",
    "metadata", "capture_method", "payment_method", "client_secret", "cancellation_reason", "last_error",
    "next_action", "receipt_email", "statement_descriptor", "statement_descriptor_suffix",
    "setup_future_usage",
)  # fmt: skip
"""Columns that come from the report that gave the state."""
_REFUND_STATE: Final = (
    "state_order", "status", "amount", "currency", "reason", "failure_reason", "metadata",
)  # fmt: skip

_ROW_TYPES: Final = """
  id text, origin text, state_order text, status text, amount bigint, currency text, created bigint,
  livemode boolean, amount_capturable bigint, amount_captured bigint, charge_order text, stripe_charge text,
  stripe_payment_intent text, customer text, description text, metadata jsonb, capture_method text,
  payment_method text, client_secret text, cancellation_reason text, last_error jsonb, next_action jsonb,
  receipt_email text, statement_descriptor text, statement_descriptor_suffix text, setup_future_usage text
"""
_REFUND_TYPES: Final = """
  id text, state_order text, status text, payment_id text, stripe_refund text, amount bigint, currency text,
  created bigint, stripe_payment_intent text, stripe_charge text, reason text, failure_reason text,
  metadata jsonb
"""


def newer(table: str, order: str, columns: Sequence[str]) -> str:
    """SET clauses that take each column from the report with the greater order."""
    return ", ".join(
        f"{column} = CASE WHEN excluded.{order} > {table}.{order}"
        f" THEN excluded.{column} ELSE {table}.{column} END"
        for column in columns
    )


_UPSERT_PAYMENTS: Final = text(f"""
INSERT INTO payments (
  id, origin, created_at, amount_captured, charge_order, stripe_charge, stripe_payment_intent,
  {", ".join(_PAYMENT_STATE)}
)
SELECT id, origin, to_timestamp(created), amount_captured, charge_order, stripe_charge, stripe_payment_intent,
  {", ".join("coalesce(metadata, '{}')" if column == "metadata" else column for column in _PAYMENT_STATE)}
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_ROW_TYPES})
 ORDER BY id COLLATE "C"
ON CONFLICT (id) DO UPDATE SET
  {newer("payments", "state_order", _PAYMENT_STATE)},
  {newer("payments", "charge_order", ("charge_order", "stripe_charge"))},
  stripe_payment_intent = coalesce(payments.stripe_payment_intent, excluded.stripe_payment_intent),
  amount_captured = greatest(payments.amount_captured, excluded.amount_captured),
  created_at = least(payments.created_at, excluded.created_at),
  updated_at = now()
WHERE excluded.state_order > payments.state_order
   OR excluded.charge_order > payments.charge_order
   OR excluded.amount_captured > payments.amount_captured
   OR excluded.created_at < payments.created_at
   OR (payments.stripe_payment_intent IS NULL AND excluded.stripe_payment_intent IS NOT NULL)
""")

_UPSERT_REFUNDS: Final = text(f"""
INSERT INTO refunds (
  id, payment_id, stripe_refund, stripe_payment_intent, stripe_charge, created_at,
  {", ".join(_REFUND_STATE)}
)
SELECT id, payment_id, stripe_refund, stripe_payment_intent, stripe_charge, to_timestamp(created),
  {", ".join("coalesce(metadata, '{}')" if column == "metadata" else column for column in _REFUND_STATE)}
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({_REFUND_TYPES})
 ORDER BY id COLLATE "C"
ON CONFLICT (id) DO UPDATE SET
  {newer("refunds", "state_order", _REFUND_STATE)},
  payment_id = least(refunds.payment_id, excluded.payment_id),
  stripe_refund = coalesce(refunds.stripe_refund, excluded.stripe_refund),
  stripe_payment_intent = least(refunds.stripe_payment_intent, excluded.stripe_payment_intent),
  stripe_charge = least(refunds.stripe_charge, excluded.stripe_charge),
  created_at = least(refunds.created_at, excluded.created_at),
  updated_at = now()
WHERE excluded.state_order > refunds.state_order
   OR excluded.created_at < refunds.created_at
   OR refunds.stripe_refund IS NULL
   OR least(refunds.payment_id, excluded.payment_id) IS DISTINCT FROM refunds.payment_id
   OR least(refunds.stripe_payment_intent, excluded.stripe_payment_intent)
      IS DISTINCT FROM refunds.stripe_payment_intent
   OR least(refunds.stripe_charge, excluded.stripe_charge) IS DISTINCT FROM refunds.stripe_charge
""")

_PAYMENT_ROWS: Final = text("""
SELECT id, stripe_payment_intent, state_order FROM payments WHERE id = ANY(CAST(:ids AS text[]))
UNION
SELECT id, stripe_payment_intent, state_order FROM payments
 WHERE stripe_payment_intent = ANY(CAST(:stripe_ids AS text[]))
""")
_REFUND_ROWS: Final = text("""
SELECT id, stripe_refund, state_order FROM refunds WHERE id = ANY(CAST(:ids AS text[]))
UNION
SELECT id, stripe_refund, state_order FROM refunds WHERE stripe_refund = ANY(CAST(:stripe_ids AS text[]))
""")


async def apply_payments(
    connection: AsyncConnection, reports: Iterable[PaymentReport], *, hold_ties: bool = False
) -> list[Tie]:
    """Bring the payments' rows to what the reports say; a late report never moves one back.

    With ``hold_ties``, reports that nothing but their events' ids would decide about are not written but
    returned: the caller finds out from Stripe.
    """
    settled, ties = await _one_a_row(connection, list(reports), _PAYMENT_ROWS, merge_payments, hold=hold_ties)
    if settled:
        rows = [
            {**asdict(report), "origin": "adopted" if is_adopted(report.id) else "api"} for report in settled
        ]
        await connection.execute(_UPSERT_PAYMENTS, {"rows": orjson.dumps(rows).decode()})
    return ties


async def apply_refunds(
    connection: AsyncConnection, reports: Iterable[RefundReport], *, hold_ties: bool = False
) -> list[Tie]:
    """Bring the refunds' rows to what the reports say, as ``apply_payments`` does."""
    settled, ties = await _one_a_row(connection, list(reports), _REFUND_ROWS, merge_refunds, hold=hold_ties)
    if settled:
        rows = [asdict(report) for report in settled]
        await connection.execute(_UPSERT_REFUNDS, {"rows": orjson.dumps(rows).decode()})
    return ties


async def _one_a_row(
    connection: AsyncConnection,
    reports: Sequence[Report],
    known_rows: TextClause,
    merge: Callable[[Report, Report], Report],
    *,
    hold: bool,
) -> tuple[list[Report], list[Tie]]:
    """One report for each row that is to be written, and what is held.

    The ids are settled first: merged before that, the reports of two objects that claim one row would be one.
    """
    if not reports:
        return [], []
    ids = {report.id for report in reports}
    stripe_ids = {report.stripe_id for report in reports if report.stripe_id}
    parameters = {"ids": list(ids), "stripe_ids": list(stripe_ids)}
    rows = (await connection.execute(known_rows, parameters)).all()
    named = under_one_id(reports, [(row[0], row[1]) for row in rows])
    ties = await open_ties(connection, named, {row[0]: row.state_order for row in rows}) if hold else []
    held = {(tie.report.id, tie.report.state_order) for tie in ties}
    merged: dict[str, Report] = {}
    for report in named:
        if (report.id, report.state_order) in held:
            continue
        other = merged.get(report.id)
        merged[report.id] = report if other is None else merge(other, report)
    return list(merged.values()), ties
