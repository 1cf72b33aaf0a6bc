"""What processing events would change: the pure rules, and a comparison that only reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.events.spec import Effects
from tallystick.ledger.openings import cut_over_of
from tallystick.payments.customer_reports import CustomerReport, PaymentMethodReport
from tallystick.payments.dispute_reports import DisputeReport
from tallystick.payments.reports import PaymentReport, RefundReport
from tallystick.pipeline.archives import COLUMNS
from tallystick.pipeline.reading import Read, read_events

_ROWS: Final = text(f"""
SELECT {COLUMNS} FROM webhook_events
 WHERE id = ANY(CAST(:ids AS text[]))
""")

_LEDGER: Final = text("""
SELECT effect_key AS key, id, digest, source FROM ledger_transactions
 WHERE effect_key = ANY(CAST(:keys AS text[]))
""")
_NOTICES: Final = text("""
SELECT notice_key AS key FROM outbox WHERE notice_key = ANY(CAST(:keys AS text[]))
""")
_BALANCE_TRANSACTIONS: Final = text("""
SELECT id AS key FROM balance_transactions WHERE id = ANY(CAST(:keys AS text[]))
""")
_PAYMENTS: Final = text("""
SELECT id, stripe_payment_intent AS stripe_id, state_order, charge_order, amount_captured FROM payments
 WHERE id = ANY(CAST(:ids AS text[])) OR stripe_payment_intent = ANY(CAST(:stripe_ids AS text[]))
""")
_REFUNDS: Final = text("""
SELECT id, stripe_refund AS stripe_id, state_order FROM refunds
 WHERE id = ANY(CAST(:ids AS text[])) OR stripe_refund = ANY(CAST(:stripe_ids AS text[]))
""")

_DISPUTES: Final = text("""
SELECT id, id AS stripe_id, state_order FROM disputes
 WHERE id = ANY(CAST(:ids AS text[])) OR id = ANY(CAST(:stripe_ids AS text[]))
""")

_CUSTOMERS: Final = text("""
SELECT id AS key, state_order FROM customers WHERE id = ANY(CAST(:keys AS text[]))
""")
_METHODS: Final = text("""
SELECT id AS key, state_order FROM payment_methods WHERE id = ANY(CAST(:keys AS text[]))
""")

Kind = Literal[
    "ledger_transaction",
    "payment",
    "refund",
    "dispute",
    "customer",
    "payment_method",
    "notice",
    "balance_transaction",
]


class Standing(StrEnum):
    """How an effect compares with what is in the database."""

    NEW = "new"
    THERE = "there"
    CHANGES = "changes"
    """The row of what is reported on would move on."""
    DIFFERS = "differs"
    """A ledger transaction stands under this key with other legs: the event would be a dead letter."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect of an event. ``transaction`` and ``source`` are of the ledger transaction that stands."""

    kind: Kind
    key: str
    standing: Standing
    transaction: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What one event would do: its effects, what it would ask Stripe, or the error it would fail with."""

    event: str
    ignored: bool = False
    effects: tuple[Effect, ...] = ()
    questions: tuple[str, ...] = ()
    error: str | None = None


async def preview(connection: AsyncConnection, ids: Sequence[str]) -> list[Preview]:
    """What processing these events would do now, in the order of ``ids``; unknown ids are left out."""
    rows = {row.id: row for row in await connection.execute(_ROWS, {"ids": list(ids)})}
    known = [rows[each] for each in ids if each in rows]
    reads, errors = await read_events(connection, known, cut_over=await cut_over_of(connection))
    standing = await _look(connection, [read.effects for read in reads])
    found = {read.event: _preview(read, standing) for read in reads}
    for event, error in errors.items():
        found[event] = Preview(event, error=f"{type(error).__name__}: {error}")
    return [found[each] for each in ids if each in found]


@dataclass(frozen=True, slots=True)
class _Standing:
    """What stands in the database of all that a batch names."""

    ledger: dict[str, Any]
    notices: set[str]
    balance_transactions: set[str]
    payments: dict[str, Any]
    refunds: dict[str, Any]
    disputes: dict[str, Any]
    customers: dict[str, Any]
    payment_methods: dict[str, Any]


async def _look(connection: AsyncConnection, effects: Sequence[Effects]) -> _Standing:
    async def rows(query: TextClause, keys: Iterable[str]) -> dict[str, Any]:
        wanted = sorted(set(keys))
        return {row.key: row for row in await connection.execute(query, {"keys": wanted})} if wanted else {}

    async def reported(
        query: TextClause, reports: Sequence[PaymentReport | RefundReport | DisputeReport]
    ) -> dict[str, Any]:
        parameters = {
            "ids": sorted({report.id for report in reports}),
            "stripe_ids": sorted({report.stripe_id for report in reports if report.stripe_id}),
        }
        found = (await connection.execute(query, parameters)).all() if reports else []
        return {row.id: row for row in found} | {row.stripe_id: row for row in found if row.stripe_id}

    named = (txn.id for each in effects for txn in each.balance_transactions)
    return _Standing(
        ledger=await rows(_LEDGER, (item.effect_key for each in effects for item in each.transactions)),
        notices=set(await rows(_NOTICES, (notice.key for each in effects for notice in each.notices))),
        balance_transactions=set(await rows(_BALANCE_TRANSACTIONS, named)),
        payments=await reported(_PAYMENTS, [report for each in effects for report in each.payments]),
        refunds=await reported(_REFUNDS, [report for each in effects for report in each.refunds]),
        customers=await rows(_CUSTOMERS, (report.id for each in effects for report in each.customers)),
        payment_methods=await rows(
            _METHODS, (report.id for each in effects for report in each.payment_methods)
        ),
        disputes=await reported(_DISPUTES, [report for each in effects for report in each.disputes]),
    )


def _preview(read: Read, standing: _Standing) -> Preview:
    made = read.effects
    effects = [_ledger_effect(item.effect_key, item.digest, standing.ledger) for item in made.transactions]
    effects += [_reported("payment", item, standing.payments, _moves_payment) for item in made.payments]
    effects += [_reported("refund", item, standing.refunds, _moves) for item in made.refunds]
    effects += [_reported("dispute", item, standing.disputes, _moves) for item in made.disputes]
    effects += [_copied("customer", item, standing.customers) for item in made.customers]
    effects += [_copied("payment_method", item, standing.payment_methods) for item in made.payment_methods]
    effects += [_known("notice", notice.key, standing.notices) for notice in made.notices]
    effects += [
        _known("balance_transaction", txn.id, standing.balance_transactions)
        for txn in made.balance_transactions
    ]
    return Preview(
        read.event,
        ignored=read.ignored,
        effects=tuple(effects),
        questions=tuple(str(question) for question in made.waiting_for),
    )


def _ledger_effect(key: str, digest: bytes, ledger: dict[str, Any]) -> Effect:
    row = ledger.get(key)
    if row is None:
        return Effect("ledger_transaction", key, Standing.NEW)
    same = bytes(row.digest) == digest
    return Effect("ledger_transaction", key, Standing.THERE if same else Standing.DIFFERS, row.id, row.source)


def _known(kind: Kind, key: str, known: set[str]) -> Effect:
    return Effect(kind, key, Standing.THERE if key in known else Standing.NEW)


def _copied(kind: Kind, report: CustomerReport | PaymentMethodReport, rows: dict[str, Any]) -> Effect:
    row = rows.get(report.id)
    if row is None:
        return Effect(kind, report.id, Standing.NEW)
    return Effect(kind, report.id, Standing.CHANGES if _moves(report, row) else Standing.THERE)


def _reported(
    kind: Kind,
    report: PaymentReport | RefundReport | DisputeReport,
    rows: dict[str, Any],
    moves: Callable[[Any, Any], bool],
) -> Effect:
    row = rows.get(report.stripe_id or "") or rows.get(report.id)
    if row is None:
        return Effect(kind, report.id, Standing.NEW)
    return Effect(kind, row.id, Standing.CHANGES if moves(report, row) else Standing.THERE)


def _moves(report: Any, row: Any) -> bool:
    return bool(report.state_order > row.state_order)


def _moves_payment(report: Any, row: Any) -> bool:
    further = report.amount_captured > row.amount_captured or report.charge_order > row.charge_order
    return bool(further) or _moves(report, row)


@dataclass(slots=True)
class Tally:
    """Sums of previews. An effect that several events have counts once where it would change something."""

    events: Counter[str] = field(default_factory=Counter)
    effects: dict[Kind, Counter[Standing]] = field(default_factory=dict)
    _counted: set[tuple[Kind, str, Standing]] = field(default_factory=set)

    def add(self, found: Preview) -> list[Effect]:
        """Count one in; returns its effects that would change something and were not counted before."""
        self.events[_ending(found)] += 1
        fresh = []
        for effect in found.effects:
            mark = (effect.kind, effect.key, effect.standing)
            if effect.standing is not Standing.THERE:
                if mark in self._counted:
                    continue
                self._counted.add(mark)
                fresh.append(effect)
            self.effects.setdefault(effect.kind, Counter())[effect.standing] += 1
        return fresh


def _ending(found: Preview) -> str:
    """How the event would end."""
    if found.error is not None:
        return "failed"
    if any(effect.standing is Standing.DIFFERS for effect in found.effects):
        return "dead"
    if found.questions:
        return "waiting"
    return "ignored" if found.ignored else "processed"
