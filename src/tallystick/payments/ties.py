"""Ties: events of one object that in one second report equal ranks and different contents.

Their order cannot be told from them. The reports are held until Stripe has said how the object stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.tables import customers, disputes, payment_methods, payments, refunds
from tallystick.payments.customer_reports import CustomerReport, PaymentMethodReport
from tallystick.payments.dispute_reports import DisputeReport
from tallystick.payments.reports import PaymentReport, RefundReport, TiedReport
from tallystick.payments.status import is_stand_in, is_tie

# Decided by an order of their own, by minimum or maximum, or part of the state order itself.
_NOT_STATE: Final = {
    "id", "state_order", "created", "payment_id", "amount_captured", "charge_order", "stripe_charge",
    "stripe_payment_intent", "stripe_refund", "methods_known",
}  # fmt: skip

_TABLES: Final[dict[type, Table]] = {
    PaymentReport: payments,
    RefundReport: refunds,
    DisputeReport: disputes,
    CustomerReport: customers,
    PaymentMethodReport: payment_methods,
}
_Tied = TypeVar("_Tied", DisputeReport, CustomerReport, PaymentMethodReport)


@dataclass(frozen=True, slots=True)
class Tie:
    """A report that is held. It is about the Stripe object ``stripe_id`` at second ``at`` (Unix time)."""

    report: TiedReport

    @property
    def event(self) -> str:
        """The event that reported it."""
        return self.report.state_order.rpartition(":")[2]

    @property
    def stripe_id(self) -> str:
        """The object that the tied events are about."""
        if not isinstance(self.report, PaymentReport | RefundReport):
            return self.report.id
        assert self.report.stripe_id is not None  # a stand-in is never held
        return self.report.stripe_id

    @property
    def at(self) -> int:
        """The second of the tie."""
        place = 0 if isinstance(self.report, DisputeReport) else 1
        return int(self.report.state_order.split(":")[place])


async def hold_ties(
    connection: AsyncConnection, reports: Iterable[_Tied], *, hold: bool
) -> tuple[list[_Tied], list[Tie]]:
    """The reports to be written, and those that are held, if any are to be. Their rows go by Stripe's ids."""
    reports = list(reports)
    if not hold or not reports:
        return reports, []
    table = _TABLES[type(reports[0])]
    wanted = select(table.c.id, table.c.state_order).where(table.c.id.in_({each.id for each in reports}))
    orders = {row.id: row.state_order for row in await connection.execute(wanted)}
    ties = await open_ties(connection, reports, orders)
    held = {tie.report.state_order for tie in ties}  # each names its event, so it is one report's alone
    return [report for report in reports if report.state_order not in held], ties


async def open_ties(
    connection: AsyncConnection, reports: Sequence[TiedReport], row_orders: Mapping[str, str]
) -> list[Tie]:
    """The reports that nothing decides about: those that tie with the latest one of their row.

    ``row_orders`` are the state orders of the rows as they stand. A tie between reports that a later one
    stands above decides nothing and is none.
    """
    latest = dict(row_orders)
    for report in reports:
        latest[report.id] = max(latest.get(report.id, ""), report.state_order)
    tied: dict[str, list[TiedReport]] = defaultdict(list)
    for report in reports:
        if is_tie(report.state_order, latest[report.id]) and not _stands_in(report):
            tied[report.id].append(report)
    contents = {}
    for row in await _rows_that_tie(connection, tied, row_orders):
        contents[row.id] = _content(row, tied[row.id][0])
    return [
        Tie(report)
        for row_id, found in tied.items()
        for report in found
        if _content(report, report) != contents.get(row_id, _content(found[0], found[0]))
    ]


async def _rows_that_tie(
    connection: AsyncConnection, tied: Mapping[str, Sequence[TiedReport]], row_orders: Mapping[str, str]
) -> Sequence[Any]:
    """The rows whose state came from another event of the tie."""
    wanted: dict[Table, list[str]] = defaultdict(list)
    for row_id, found in tied.items():
        order = row_orders.get(row_id, "")
        if any(is_tie(report.state_order, order) and report.state_order != order for report in found):
            wanted[_TABLES[type(found[0])]].append(row_id)
    rows: list[Any] = []
    for table, ids in wanted.items():
        rows += (await connection.execute(select(table).where(table.c.id.in_(ids)))).all()
    return rows


def _content(source: Any, like: TiedReport) -> dict[str, Any]:
    """What a report or a row says of the object's state."""
    names = {field.name for field in fields(like)} - _NOT_STATE
    return {name: _said(source, name) for name in names} | {"metadata": source.metadata or {}}


def _said(source: Any, name: str) -> Any:
    if name == "evidence_due" and not hasattr(source, name):  # a row has it as a time
        at: datetime | None = source.evidence_due_at
        return None if at is None else int(at.timestamp())
    return getattr(source, name)


def _stands_in(report: TiedReport) -> bool:
    return isinstance(report, PaymentReport) and is_stand_in(report.state_order)
