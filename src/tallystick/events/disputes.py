"""Disputes: their state, what a decided one cost, and notices. Pure.

The money that a dispute takes and gives back posts with its balance transactions, against
``assets:stripe:disputed``. Once it is decided, each of them is taken from there, under a key of its own: so
a dispute that was lost and is won in the end, or gets its money back bit by bit, comes out right in any
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tallystick.events.notice_data import dispute_data
from tallystick.events.spec import BalanceTransactionSeen, Effects, Event, Facts, Question, moment
from tallystick.ledger import chart
from tallystick.ledger.entries import LedgerEntry, LedgerTransaction, credit, debit, post, transactions
from tallystick.money import fraction
from tallystick.outbox.notices import Notice
from tallystick.payments.dispute_reports import DisputeReport, dispute_report
from tallystick.payments.reports import adopted_payment, our_payment
from tallystick.stripe_gateway.balance_payloads import BalanceTransaction
from tallystick.stripe_gateway.fields import JsonObject, all_whole, filled, reference, text_field
from tallystick.stripe_gateway.payloads import BALANCE_TRANSACTION, Charge, Dispute

_NOTICES: Final = {
    "charge.dispute.created": "dispute.created",
    "charge.dispute.updated": "dispute.updated",
    "charge.dispute.funds_withdrawn": "dispute.updated",
    "charge.dispute.funds_reinstated": "dispute.updated",
    "charge.dispute.closed": "dispute.closed",
}

_CLOSED: Final = "charge.dispute.closed"
_DECIDED: Final = frozenset({"won", "lost", "warning_closed", "charge_refunded", "prevented"})
_RETURNED: Final = frozenset({"insufficient_funds", "incorrect_account_details", "bank_cannot_process"})
"""Reasons of a bank debit that came back late: no claim against us, the customer owes it again."""


def on_dispute(event: Event, facts: Facts) -> Effects:
    """Every charge.dispute.* event.

    A dispute does not say whose payment it is about: its charge does, and is asked for.
    """
    if event.object.get("id") is None:
        return _part_of_a_charge(event)
    obj = event.object
    if reference(obj.get("charge")) is None:
        itself = _itself(obj, event)
        if itself not in facts:
            return Effects(waiting_for=(itself,))
        obj = filled(obj, **(facts[itself] or {}))
    dispute = Dispute.read(obj)
    question = Question("charge", dispute.charge)
    if dispute.charge_object is None and question not in facts:
        return Effects(waiting_for=(question,))
    known = dispute.charge_object if dispute.charge_object is not None else facts[question]
    charge = Charge.read(known) if known is not None else None
    ours = our_payment(charge.metadata) if charge is not None else None
    intent = dispute.payment_intent or (charge.payment_intent if charge is not None else None)
    payment_id = ours or adopted_payment(intent or dispute.charge)
    report = dispute_report(dispute, payment_id, at=event.created, source=event.id)
    effects = Effects(disputes=(report,), notices=(_notice(event, report),))
    return effects + _money(dispute, event, payment_id, facts)


def _itself(obj: JsonObject, event: Event) -> Question:
    return Question("dispute", f"{text_field(obj, 'id')}:{event.id}")


def _part_of_a_charge(event: Event) -> Effects:
    """Until 2014 a dispute was a part of its charge, without an id: its money is there, no more."""
    txn = reference(event.object.get("balance_transaction"))
    return Effects(balance_transactions=(BalanceTransactionSeen(txn),) if txn else ())


def _money(dispute: Dispute, event: Event, payment_id: str, facts: Facts) -> Effects:
    """What it moved, and what of that is decided. An object that does not carry it is asked for, an event."""
    bodies = dispute.balance_transactions
    if bodies is None:
        question = _itself(event.object, event)
        if question not in facts:
            return Effects(waiting_for=(question,))
        known: JsonObject = facts[question] or {}
        bodies = all_whole(known.get("balance_transactions"), *BALANCE_TRANSACTION) or ()
    txns = [BalanceTransaction.read(body) for body in bodies]
    decided = _decided(dispute, txns, event, payment_id) if dispute.status in _DECIDED else ()
    return Effects(
        transactions=decided,
        balance_transactions=tuple(BalanceTransactionSeen(txn.id) for txn in txns),
    )


def _decided(
    dispute: Dispute, txns: Sequence[BalanceTransaction], event: Event, payment_id: str
) -> tuple[LedgerTransaction, ...]:
    account = chart.RECEIVABLE_RETURNED if dispute.reason in _RETURNED else chart.DISPUTE_LOSSES
    return transactions(
        *(
            post(
                f"dispute:{dispute.id}:decided:{txn.id}",
                "dispute_decided",
                _decided_legs(txn, txns[0], account),
                description=f"Dispute {dispute.id} decided",
                occurred_at=moment(event.created),
                source=event.id,
                payment_id=payment_id,
                # other events may come long after it was decided
                not_before=moment(event.created if event.type == _CLOSED else txn.created),
                object_created_at=moment(dispute.created),
            )
            for txn in txns
        )
    )


def _decided_legs(txn: BalanceTransaction, taken: BalanceTransaction, account: str) -> list[LedgerEntry]:
    """Out of what is disputed; what came back at another rate than it was taken at, is exchange."""
    at_rate_taken = txn.amount
    if txn.exchange_rate and taken.exchange_rate and txn.currency == taken.currency:
        at_rate_taken = fraction(txn.amount, taken.exchange_rate / txn.exchange_rate)
    gained = txn.amount - at_rate_taken
    return [
        credit(chart.DISPUTED, -txn.amount, txn.currency),
        debit(account, -at_rate_taken, txn.currency),
        credit(chart.FX_GAINS if gained > 0 else chart.FX_LOSSES, gained, txn.currency),
    ]


def _notice(event: Event, report: DisputeReport) -> Notice:
    notice_type = _NOTICES[event.type]
    about = event.id if notice_type == "dispute.updated" else report.id
    return Notice(f"{notice_type}:{about}", notice_type, report.payment_id, dispute_data(report))
