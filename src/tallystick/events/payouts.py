"""Payouts: their arrival at the bank, its return, and the notices of both. Pure.

That the money left Stripe is posted by the payout's balance transactions, against
``assets:stripe:payouts_in_transit``. That it arrived is a fact of its own.
"""

from __future__ import annotations

from datetime import datetime

from tallystick.events.notice_data import payout_data
from tallystick.events.spec import BalanceTransactionSeen, Effects, Event, Facts, moment
from tallystick.ledger import chart
from tallystick.ledger.entries import LedgerTransaction, credit, debit, post, reverse, transactions
from tallystick.outbox.notices import NOTICES, Notice
from tallystick.stripe_gateway.billing_payloads import Payout


def on_payout(event: Event, _facts: Facts) -> Effects:
    """Every payout.* event."""
    payout = Payout.read(event.object)
    effects = Effects(
        transactions=payout_postings(
            payout,
            heard_at=event.created,
            source=event.id,
            not_before=event.created if event.type == "payout.failed" else None,
        ),
        balance_transactions=tuple(
            BalanceTransactionSeen(txn)
            for txn in (payout.balance_transaction, payout.failure_balance_transaction)
            if txn
        ),
    )
    return effects + _notices(event, payout)


def payout_postings(
    payout: Payout, *, heard_at: int, source: str, not_before: int | None = None
) -> tuple[LedgerTransaction, ...]:
    """What a payout's state implies, wherever it was seen; ``heard_at`` in Unix seconds dates a failure.

    ``not_before`` is when it failed, where the source tells; else it may have been at any time.

    A payout that failed may have counted as paid before: both facts are posted, whether or not the first was
    heard of, and the first no later than the second. One of a negative amount, a reversal or a debit of the
    bank, goes the other way.
    """
    if payout.status not in ("paid", "failed"):
        return ()
    made_at = moment(payout.created) if payout.created is not None else None
    arrived_at = _arrival(payout, heard_at)
    arrived = post(
        f"payout:{payout.id}:paid",
        "payout_paid",
        [
            debit(chart.BANK, payout.amount, payout.currency),
            credit(chart.PAYOUTS_IN_TRANSIT, payout.amount, payout.currency),
        ],
        description=f"Payout {payout.id}",
        occurred_at=arrived_at,
        source=source,
        # a day is known, which began before a payout that was made and arrived on it
        not_before=max(arrived_at, made_at or arrived_at),
        object_created_at=made_at,
    )
    if arrived is None or payout.status == "paid":
        return transactions(arrived)
    returned = reverse(
        arrived,
        key=f"payout:{payout.id}:unpaid",
        occurred_at=moment(heard_at),
        not_before=made_at if not_before is None else moment(not_before),
    )
    return (arrived, returned)


def _arrival(payout: Payout, heard_at: int) -> datetime:
    if payout.arrival_date is None:
        return moment(heard_at)
    return moment(min(payout.arrival_date, heard_at) if payout.status == "failed" else payout.arrival_date)


def _notices(event: Event, payout: Payout) -> Effects:
    """What is told of it: each of these happens to a payout once."""
    if event.type not in NOTICES:
        return Effects()
    return Effects(notices=(Notice(f"{event.type}:{payout.id}", event.type, None, payout_data(payout)),))
