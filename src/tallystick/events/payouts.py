"""Payouts: the notices of what became of one. Pure.

The money itself is posted by the payout's balance transactions.
"""

from __future__ import annotations

from tallystick.events.spec import Effects, Event, Facts
from tallystick.outbox.notices import Notice, at_utc
from tallystick.stripe_gateway.billing_payloads import Payout


def on_payout(event: Event, _facts: Facts) -> Effects:
    """payout.created, payout.paid, payout.failed, payout.canceled: each happens to a payout once."""
    payout = Payout.read(event.object)
    arrival = at_utc(payout.arrival_date)
    data = {
        "payout": payout.id,
        "status": payout.status,
        "amount": payout.amount,
        "currency": payout.currency,
        "automatic": payout.automatic,
        "arrival_on": arrival[:10] if arrival else None,
        "failure_code": payout.failure_code,
        "failure_message": payout.failure_message,
        "metadata": payout.metadata,
    }
    return Effects(notices=(Notice(f"{event.type}:{payout.id}", event.type, None, data),))
