"""What happened to a payment, in order of time: read from what is stored anyway, nothing is written for it.

Events are read again from the inbox by their own rules; calls are remembered when they end; the ledger has
its own dates. So a timeline is as independent of order and repetition as those are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.ledger.history import PostedTransaction
from tallystick.payments.calls import ended_calls
from tallystick.payments.dispute_reports import DisputeReport
from tallystick.payments.reading import Payment
from tallystick.payments.reports import PaymentReport, RefundReport
from tallystick.payments.status import PaymentStatus, is_stand_in
from tallystick.pipeline.archives import COLUMNS
from tallystick.pipeline.reading import Read, read_events

MOST_EVENTS: Final = 500
"""The most events of a payment that one page tells of: a thousand declines must not make it slow."""

_EVENTS: Final = text(f"""
SELECT {COLUMNS} FROM webhook_events
 WHERE about = ANY(CAST(:names AS text[]))
   AND (CAST(:at AS timestamptz) IS NULL OR (created_at, id) < (CAST(:at AS timestamptz), CAST(:id AS text)))
 ORDER BY created_at DESC, id DESC LIMIT :limit
""")
_NO_EFFECT_YET: Final = frozenset({"pending", "dead"})


class Happening(StrEnum):
    """What an entry tells of, in the order in which entries of one second stand."""

    COMMAND = "command"
    EVENT = "event"
    ATTEMPT = "attempt"
    STATUS = "status"
    REFUND = "refund"
    DISPUTE = "dispute"
    LEDGER_TRANSACTION = "ledger_transaction"


_RANK: Final = {kind: rank for rank, kind in enumerate(Happening)}
_ATTEMPT: Final = {
    PaymentStatus.REQUIRES_PAYMENT_METHOD: "failed",
    PaymentStatus.PROCESSING: "pending",
    PaymentStatus.REQUIRES_CAPTURE: "authorized",
    PaymentStatus.SUCCEEDED: "succeeded",
    PaymentStatus.CANCELED: "released",
}
"""What a charge says of its attempt, in the order within a second: nothing is tried after a success."""
_ATTEMPTS: Final = list(_ATTEMPT.values())


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. ``name`` is what it is called, ``id`` the object it is about.

    ``event`` is Stripe's event that told of it, None where the answer to a call of ours did. ``api_key`` is
    the id of the key that gave a command; an event's ``status`` says that it has no effect yet.
    """

    at: datetime
    type: Happening
    name: str
    id: str | None = None
    status: str | None = None
    event: str | None = None
    error: dict[str, str] | None = None
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A page, in order of time. ``earlier`` is the cursor of the page before it, None at the beginning."""

    entries: list[Entry]
    earlier: str | None


@dataclass(frozen=True, slots=True)
class _Heard:
    """An event and what it means."""

    id: str
    type: str
    at: datetime
    read: Read


async def timeline(
    connection: AsyncConnection,
    payment: Payment,
    ledger: Iterable[PostedTransaction],
    *,
    limit: int = MOST_EVENTS,
    cursor: str | None = None,
) -> Timeline:
    """What happened to the payment, with its latest ``limit`` events, or those before ``cursor``.

    ``ledger`` are its ledger transactions. A page tells of all that happened in its stretch of time, and
    begins with the state that it found. Raises InvalidRequestError when the cursor is none of ours.
    """
    names = [name for name in (payment.stripe_payment_intent, payment.stripe_charge) if name]
    end = read_cursor(cursor) if cursor is not None else None
    at, ident = end or (None, None)
    found = await connection.execute(_EVENTS, {"names": names, "limit": limit + 1, "at": at, "id": ident})
    rows = found.all()
    begun = rows[limit - 1] if len(rows) > limit else None
    rows = rows[:limit][::-1]
    heard = await _heard(connection, [row for row in rows if row.status not in _NO_EFFECT_YET])
    entries = [
        Entry(
            row.created_at,
            Happening.EVENT,
            row.type,
            row.id,
            row.status if row.status in _NO_EFFECT_YET else None,
            row.id,
        )
        for row in rows
    ]
    entries += sorted(_attempts(heard), key=lambda entry: (entry.at, _ATTEMPTS.index(entry.status or "")))
    entries += _statuses(heard, payment, newest=end is None)
    entries += _refunds(heard)
    entries += _disputes(heard)
    others = await _commands(connection, payment)
    others += [
        Entry(
            item.occurred_at, Happening.LEDGER_TRANSACTION, item.effect_key, str(item.id), event=item.source
        )
        for item in ledger
    ]
    begin = begun.created_at if begun is not None else None
    entries += [each for each in others if _between(each.at, begin, at)]
    earlier = cursor_at(begun.created_at, begun.id) if begun is not None else None
    return Timeline(sorted(entries, key=_place), earlier)


def _between(at: datetime, begin: datetime | None, end: datetime | None) -> bool:
    """Whether a moment lies in the stretch of a page; without a begin or an end it reaches as far as all."""
    return (begin is None or at >= begin) and (end is None or at < end)


async def _heard(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> list[_Heard]:
    reads, _ = await read_events(connection, rows, cut_over=None)  # for what it says of payments alone
    by_id = {read.event: read for read in reads}
    return [_Heard(row.id, row.type, row.created_at, by_id[row.id]) for row in rows if row.id in by_id]


async def _commands(connection: AsyncConnection, payment: Payment) -> list[Entry]:
    return [
        Entry(
            call.began_at, Happening.COMMAND, call.action, call.refund_id, call.outcome, api_key=call.api_key
        )
        for call in await ended_calls(connection, payment.names)
    ]


def _place(entry: Entry) -> tuple[datetime, int, datetime]:
    """Stripe tells time in whole seconds: within one, what caused others stands before them."""
    return entry.at.replace(microsecond=0), _RANK[entry.type], entry.at


def _attempts(heard: Sequence[_Heard]) -> Iterator[Entry]:
    """Each charge that was tried, once for each state that it reached."""
    told: set[tuple[str | None, str]] = set()
    for each in heard:
        if not each.type.startswith("charge."):
            continue
        for report in each.read.effects.payments:
            outcome = _ATTEMPT[report.status]
            if (report.stripe_charge, outcome) not in told:
                told.add((report.stripe_charge, outcome))
                yield Entry(
                    each.at,
                    Happening.ATTEMPT,
                    "charge",
                    report.stripe_charge,
                    outcome,
                    each.id,
                    report.last_error,
                )


def _statuses(heard: Sequence[_Heard], payment: Payment, *, newest: bool) -> Iterator[Entry]:
    """Each change of the payment's status, as its events tell them; what only an answer told comes last."""
    reports = [(each, report) for each in heard for report in each.read.effects.payments]
    if any(not is_stand_in(report.state_order) for _, report in reports):
        reports = [pair for pair in reports if not is_stand_in(pair[1].state_order)]
    last = None
    for each, report in _changes(reports):
        last = report.status
        yield Entry(
            each.at, Happening.STATUS, "payment", payment.id, last, each.id, _why(report.status, report)
        )
    if newest and last != payment.status:
        yield Entry(payment.updated_at, Happening.STATUS, "payment", payment.id, payment.status)


def _why(status: PaymentStatus, report: PaymentReport) -> dict[str, str] | None:
    return report.last_error if status is PaymentStatus.REQUIRES_PAYMENT_METHOD else None


def _refunds(heard: Sequence[_Heard]) -> Iterator[Entry]:
    by_refund: dict[str, list[tuple[_Heard, RefundReport]]] = {}
    for each in heard:
        for report in each.read.effects.refunds:
            by_refund.setdefault(report.stripe_id, []).append((each, report))
    for reports in by_refund.values():
        for each, report in _changes(reports):
            error = {"code": report.failure_reason} if report.failure_reason else None
            yield Entry(each.at, Happening.REFUND, "refund", report.id, report.status, each.id, error)


def _disputes(heard: Sequence[_Heard]) -> Iterator[Entry]:
    by_dispute: dict[str, list[tuple[_Heard, DisputeReport]]] = {}
    for each in heard:
        for report in each.read.effects.disputes:
            by_dispute.setdefault(report.id, []).append((each, report))
    for reports in by_dispute.values():
        for each, report in _changes(reports):
            yield Entry(each.at, Happening.DISPUTE, "dispute", report.id, report.status, each.id)


def _changes(reports: Iterable[tuple[_Heard, Any]]) -> Iterator[tuple[_Heard, Any]]:
    """Those of an object's reports that tell another status than the one before."""
    last = None
    for each, report in sorted(reports, key=lambda pair: pair[1].state_order):
        if report.status != last:
            last = report.status
            yield each, report
