"""Writes what events mean: all effects of a batch, in the caller's one transaction.

The order of writing is fixed, and each kind is written in the order of its keys, so that concurrent batches
wait for each other rather than deadlock: ledger, payments, refunds, disputes, customers, outbox, balance
transactions to fetch, and, by the caller, right before its commit, the accounts' balances, which every batch
contends for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.events.spec import BalanceTransactionSeen, Effects, Question
from tallystick.events.ties import decided, tie_question
from tallystick.ledger.book import Book, Posted
from tallystick.outbox.staging import stage
from tallystick.payments.customer_reports import CustomerReport, PaymentMethodReport
from tallystick.payments.customers import apply_customers, apply_payment_methods
from tallystick.payments.dispute_reports import DisputeReport
from tallystick.payments.disputes import apply_disputes
from tallystick.payments.reports import PaymentReport, RefundReport, TiedReport
from tallystick.payments.store import apply_payments, apply_refunds
from tallystick.payments.ties import Tie
from tallystick.pipeline.lookups import stored_facts
from tallystick.stripe_gateway.fields import JsonObject

# Two statements, since DO UPDATE would lock every row that is there, also those it leaves alone, and the
# settlement puller holds the rows that it posts while it writes the same payments: a deadlock.
_SEEN: Final = text("""
INSERT INTO balance_transactions (id, status, body, source)
SELECT id, CASE WHEN body IS NULL THEN 'wanted' ELSE 'fetched' END, body, source
  FROM unnest(CAST(:ids AS text[]), CAST(:bodies AS bytea[]), CAST(:sources AS text[])) AS s(id, body, source)
ON CONFLICT (id) DO NOTHING
RETURNING id
""")

_FETCHED: Final = text("""
WITH wanted AS (
  SELECT b.id, s.body, s.source FROM balance_transactions b
    JOIN unnest(CAST(:ids AS text[]), CAST(:bodies AS bytea[]), CAST(:sources AS text[]))
         AS s(id, body, source) ON s.id = b.id
   WHERE b.body IS NULL ORDER BY b.id FOR UPDATE OF b
)
UPDATE balance_transactions b
   SET status = 'fetched', body = wanted.body, source = wanted.source, due_at = now(), dead_at = NULL
  FROM wanted WHERE b.id = wanted.id
""")


@dataclass(frozen=True, slots=True)
class Written:
    """What ``write_effects`` wrote."""

    posted: Posted
    """What was posted, and what contradicts what stands: then the caller must roll back."""
    ties: list[Tie]
    """Reports that are held because only Stripe knows which is the later one."""
    told: frozenset[str]
    """Keys of the notices that were not staged before."""


async def write_effects(
    connection: AsyncConnection, book: Book, effects: Sequence[Effects], *, hold_ties: bool = False
) -> Written:
    """Write them all but the accounts' balances, which the caller settles last (``Book.settle_balances``).

    Ties are held only with ``hold_ties``.
    """
    posted = await book.post(connection, (item for each in effects for item in each.transactions))
    ties = await apply_payments(
        connection, [report for each in effects for report in each.payments], hold_ties=hold_ties
    )
    ties += await apply_refunds(
        connection, [report for each in effects for report in each.refunds], hold_ties=hold_ties
    )
    ties += await apply_disputes(
        connection, (report for each in effects for report in each.disputes), hold=hold_ties
    )
    ties += await apply_customers(
        connection, (report for each in effects for report in each.customers), hold=hold_ties
    )
    ties += await apply_payment_methods(
        connection, (report for each in effects for report in each.payment_methods), hold=hold_ties
    )
    told = await stage(connection, (notice for each in effects for notice in each.notices))
    await note_balance_transactions(
        connection, [seen for each in effects for seen in each.balance_transactions]
    )
    return Written(posted, ties, told)


async def decide_ties(connection: AsyncConnection, ties: Sequence[Tie]) -> dict[str, set[Question]]:
    """Write the held reports whose question is answered; returns the questions of the others, by event.

    Where Stripe knows no such object, the events' ids decide.
    """
    if not ties:
        return {}
    questions = [tie_question(tie.report, tie.stripe_id, tie.at) for tie in ties]
    facts = await stored_facts(connection, questions)
    reports: list[TiedReport] = []
    waiting: dict[str, set[Question]] = {}
    for tie, question in zip(ties, questions, strict=True):
        if question not in facts:
            waiting.setdefault(tie.event, set()).add(question)
            continue
        answer = facts[question]
        reports += [tie.report] if answer is None else [tie.report, decided(tie.report, answer, tie.at)]
    await apply_payments(connection, [each for each in reports if isinstance(each, PaymentReport)])
    await apply_refunds(connection, [each for each in reports if isinstance(each, RefundReport)])
    await apply_disputes(connection, [each for each in reports if isinstance(each, DisputeReport)])
    await apply_customers(connection, [each for each in reports if isinstance(each, CustomerReport)])
    await apply_payment_methods(
        connection, [each for each in reports if isinstance(each, PaymentMethodReport)]
    )
    return waiting


async def note_balance_transactions(
    connection: AsyncConnection, seen: Sequence[BalanceTransactionSeen]
) -> int:
    """Remember balance transactions: those with a body to be posted, the others to be fetched first.

    Returns how many were not known yet.
    """
    bodies: dict[str, JsonObject | None] = {}
    for item in seen:
        if item.body is not None or item.id not in bodies:
            bodies[item.id] = item.body
    if not bodies:
        return 0
    new = (await connection.execute(_SEEN, _columns(bodies))).all()
    fetched = {txn: body for txn, body in bodies.items() if body is not None}
    if fetched:
        await connection.execute(_FETCHED, _columns(fetched))
    return len(new)


def _columns(bodies: Mapping[str, JsonObject | None]) -> dict[str, list[Any]]:
    """Parameters of the two statements, in the order of the ids."""
    rows = sorted(bodies.items())
    return {
        "ids": [txn for txn, _ in rows],
        "bodies": [orjson.dumps(body) if body is not None else None for _, body in rows],
        "sources": [_source_of(body) if body is not None else None for _, body in rows],
    }


def _source_of(body: JsonObject) -> str | None:
    """The id of what Stripe booked: the source comes expanded, as an id, or not at all."""
    source = body.get("source")
    found = source.get("id") if isinstance(source, dict) else source
    return found if isinstance(found, str) else None
