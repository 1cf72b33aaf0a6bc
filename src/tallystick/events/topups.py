"""Top-ups: money from the bank into Stripe's balance, and back when it is reversed. Pure.

What arrives at Stripe is posted by the top-up's balance transactions, against
``assets:stripe:topups_in_transit``; what left the bank is posted here.
"""

from __future__ import annotations

from tallystick.events.spec import BalanceTransactionSeen, Effects, Event, Facts, moment
from tallystick.ledger import chart
from tallystick.ledger.entries import LedgerTransaction, credit, debit, post, reverse, transactions
from tallystick.stripe_gateway.balance_payloads import Topup


def on_topup(event: Event, _facts: Facts) -> Effects:
    """topup.succeeded, topup.reversed."""
    topup = Topup.read(event.object)
    return Effects(
        transactions=topup_postings(topup, heard_at=event.created, source=event.id, not_before=event.created),
        balance_transactions=(BalanceTransactionSeen(topup.balance_transaction),)
        if topup.balance_transaction
        else (),
    )


def topup_postings(
    topup: Topup, *, heard_at: int, source: str, not_before: int | None = None
) -> tuple[LedgerTransaction, ...]:
    """What a top-up's state implies, wherever it was seen; ``heard_at`` in Unix seconds dates it.

    The object knows when it was asked for, not when the bank paid. ``not_before`` is when it came into this
    state, where the source tells.
    """
    made_at = moment(topup.created) if topup.created is not None else None
    since = made_at if not_before is None else moment(not_before)
    if topup.status not in ("succeeded", "reversed"):
        return ()
    succeeded = post(
        f"topup:{topup.id}:succeeded",
        "topup_succeeded",
        [
            debit(chart.TOPUPS_IN_TRANSIT, topup.amount, topup.currency),
            credit(chart.BANK, topup.amount, topup.currency),
        ],
        description=f"Top-up {topup.id}",
        occurred_at=moment(heard_at),
        source=source,
        not_before=since if topup.status == "succeeded" else made_at,
        object_created_at=made_at,
    )
    if succeeded is None or topup.status == "succeeded":
        return transactions(succeeded)
    back = reverse(
        succeeded, key=f"topup:{topup.id}:reversed", occurred_at=moment(heard_at), not_before=since
    )
    return (succeeded, back)
