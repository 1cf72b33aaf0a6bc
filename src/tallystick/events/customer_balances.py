"""Customers' balances: credit that is given, and used for invoices. Pure.

Their transactions have no events of their own. So they are listed upon whatever tells that a balance has
changed: the customer's own event, an invoice's, a credit note's. Each such event asks anew.
"""

from __future__ import annotations

from typing import Final

from tallystick.events.spec import NO_EFFECTS, Effects, Event, Facts, Question, moment
from tallystick.ledger import chart
from tallystick.ledger.entries import LedgerTransaction, credit, debit, post, transactions
from tallystick.stripe_gateway.application_payloads import CustomerBalanceTransaction
from tallystick.stripe_gateway.fields import JsonObject, reference, rows_of

CUSTOMER_BALANCE: Final = "customer_balance_transactions"
"""A question: the latest transactions of a customer's balance, ``CUSTOMER:EVENT``."""
_BALANCES: Final = frozenset({"balance", "invoice_credit_balance", "account_balance"})
"""What a customer's balance was called over the years."""


def on_credit_note(event: Event, facts: Facts) -> Effects:
    """credit_note.created, credit_note.updated, credit_note.voided: what the customer was credited."""
    if event.object.get("customer_balance_transaction") is None:
        return NO_EFFECTS
    return balance_effects(reference(event.object.get("customer")), event, facts)


def balance_changed(event: Event) -> bool:
    """Whether a customer's event may tell that the balance changed."""
    if event.type == "customer.created":
        return any(event.object.get(name) for name in _BALANCES)
    return event.previous is None or not _BALANCES.isdisjoint(event.previous)


def balance_effects(customer: str | None, event: Event, facts: Facts) -> Effects:
    """The transactions of a customer's balance, as they stand after the event. Raises PayloadError."""
    if customer is None:
        return NO_EFFECTS
    question = Question(CUSTOMER_BALANCE, f"{customer}:{event.id}")
    if question not in facts:
        return Effects(waiting_for=(question,))
    rows = rows_of(facts[question])
    return Effects(transactions=transactions(*(_posting(row, event.id) for row in rows)))


def _posting(row: JsonObject, source: str) -> LedgerTransaction | None:
    """Credit that is given (a negative amount) is owed to the customer; used, it pays what the customer owes.

    What a credit note gives comes from the money that was paid.
    """
    txn = CustomerBalanceTransaction.read(row)
    other = chart.UNAPPLIED if txn.type == "credit_note" else chart.RECEIVABLE
    return post(
        f"customer_balance_transaction:{txn.id}",
        "customer_balance",
        [
            debit(chart.CUSTOMER_BALANCE, txn.amount, txn.currency),
            credit(other, txn.amount, txn.currency),
        ],
        description=f"Balance of {txn.customer}: {txn.type}",
        occurred_at=moment(txn.created),
        source=source,
    )
