"""Stripe's subscriptions: the notices of what became of one. Pure."""

from __future__ import annotations

from typing import Final

from tallystick.events.spec import Effects, Event, Facts
from tallystick.outbox.notices import Notice, at_utc
from tallystick.stripe_gateway.billing_payloads import Subscription

_NOTICES: Final = {
    "customer.subscription.created": "subscription.created",
    "customer.subscription.updated": "subscription.updated",
    "customer.subscription.paused": "subscription.paused",
    "customer.subscription.resumed": "subscription.resumed",
    "customer.subscription.trial_will_end": "subscription.trial_will_end",
    "customer.subscription.deleted": "subscription.canceled",
}
_ONCE: Final = ("subscription.created", "subscription.canceled")
"""What happens to a subscription once; the rest is named by its event."""


def on_subscription(event: Event, _facts: Facts) -> Effects:
    """The customer.subscription.* events that have a notice."""
    subscription = Subscription.read(event.object)
    notice_type = _NOTICES[event.type]
    data = {
        "subscription": subscription.id,
        "status": subscription.status,
        "customer": subscription.customer,
        "currency": subscription.currency,
        "items": [{"price": item.price, "quantity": item.quantity} for item in subscription.items],
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "cancel_at": at_utc(subscription.cancel_at),
        "canceled_at": at_utc(subscription.canceled_at),
        "ended_at": at_utc(subscription.ended_at),
        "trial_ends_at": at_utc(subscription.trial_end),
        "latest_invoice": subscription.latest_invoice,
        "metadata": subscription.metadata,
    }
    fact = subscription.id if subscription.id and notice_type in _ONCE else event.id
    return Effects(notices=(Notice(f"{notice_type}:{fact}", notice_type, None, data),))
