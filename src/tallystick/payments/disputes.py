"""Disputes as they stand: written from reports, read by id, by payment and in lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.tables import disputes
from tallystick.errors import NotFoundError
from tallystick.payments.dispute_reports import DisputeReport, merge_disputes
from tallystick.payments.lists import Between, Page, ids_of_payment, page_of, storable
from tallystick.payments.store import newer
from tallystick.payments.ties import Tie, hold_ties
from tallystick.stripe_gateway.payloads import theirs

_STATE: Final = (
    "state_order", "status", "amount", "currency", "livemode", "reason", "network_reason_code",
    "evidence_due_at", "has_evidence", "submission_count", "charge_refundable", "stripe_payment_intent",
    "stripe_charge", "metadata",
)  # fmt: skip

_UPSERT: Final = text(f"""
INSERT INTO disputes (id, payment_id, created_at, {", ".join(_STATE)})
SELECT id, payment_id, to_timestamp(created), state_order, status, amount, currency, livemode, reason,
       network_reason_code, to_timestamp(evidence_due), has_evidence, submission_count, charge_refundable,
       stripe_payment_intent, stripe_charge, coalesce(metadata, '{{}}')
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    id text, state_order text, status text, payment_id text, amount bigint, currency text, created bigint,
    livemode boolean, reason text, network_reason_code text, evidence_due bigint, has_evidence boolean,
    submission_count int, charge_refundable boolean, stripe_payment_intent text, stripe_charge text,
    metadata jsonb
  )
 ORDER BY id COLLATE "C"
ON CONFLICT (id) DO UPDATE SET
  {newer("disputes", "state_order", _STATE)},
  payment_id = least(disputes.payment_id, excluded.payment_id),
  created_at = least(disputes.created_at, excluded.created_at),
  updated_at = now()
WHERE excluded.state_order > disputes.state_order
   OR excluded.payment_id < disputes.payment_id
   OR excluded.created_at < disputes.created_at
""")


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as it stands; ``amount`` in minor units. ``id`` is Stripe's."""

    id: str
    payment_id: str
    status: str
    amount: int
    currency: str
    livemode: bool
    reason: str | None
    network_reason_code: str | None
    evidence_due_at: datetime | None
    has_evidence: bool
    submission_count: int
    charge_refundable: bool
    stripe_payment_intent: str | None
    stripe_charge: str | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


_DISPUTES: Final = select(*(disputes.c[name] for name in Dispute.__slots__))


async def apply_disputes(
    connection: AsyncConnection, reports: Iterable[DisputeReport], *, hold: bool = False
) -> list[Tie]:
    """Bring the disputes' rows to what the reports say; a late report never moves one back.

    With ``hold``, reports that only their events' ids would decide about are returned instead.
    """
    settled, ties = await hold_ties(connection, reports, hold=hold)
    merged: dict[str, DisputeReport] = {}
    for report in settled:
        other = merged.get(report.id)
        merged[report.id] = report if other is None else merge_disputes(other, report)
    if merged:
        rows = [asdict(report) for report in merged.values()]
        await connection.execute(_UPSERT, {"rows": orjson.dumps(rows).decode()})
    return ties


async def get_dispute(connection: AsyncConnection, dispute_id: str) -> Dispute:
    """Raises NotFoundError."""
    known = storable(dispute_id)
    row = known and (await connection.execute(_DISPUTES.where(disputes.c.id == dispute_id))).first()
    if not row:
        raise NotFoundError(f"There is no dispute {dispute_id[:300]!r}.", param="id")
    return _dispute(row)


async def disputes_of(connection: AsyncConnection, names: list[str]) -> list[Dispute]:
    """All disputes of a payment that goes by these names, oldest first."""
    wanted = _DISPUTES.where(disputes.c.payment_id.in_(names)).order_by(disputes.c.created_at, disputes.c.id)
    return [_dispute(row) for row in await connection.execute(wanted)]


async def list_disputes(
    connection: AsyncConnection,
    created: Between,
    *,
    payment: str | None = None,
    status: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Dispute]:
    """Disputes, newest first; raises InvalidRequestError when the cursor is none of ours."""
    wanted = _DISPUTES
    if payment is not None:
        wanted = wanted.where(disputes.c.payment_id.in_(ids_of_payment(payment)))
    if status is not None:
        wanted = wanted.where(disputes.c.status == status)
    return await page_of(connection, wanted, disputes, created, _dispute, limit=limit, cursor=cursor)


def _dispute(row: Row[Any]) -> Dispute:
    values = dict(row._mapping)  # noqa: SLF001 - the documented way to a row's names
    return Dispute(**{**values, "metadata": theirs(values["metadata"])})
