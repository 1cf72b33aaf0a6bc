"""Stripe's subscriptions: the notices of what became of one. Pure."""

from __future__ import annotations

from typing import Final

from tallystick.events.notice_data import subscription_data
from tallystick.events.spec import Effects, Event, Facts
from tallystick.outbox.notices import Notice
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
    fact = subscription.id if subscription.id and notice_type in _ONCE else event.id
    told = Notice(f"{notice_type}:{fact}", notice_type, None, subscription_data(subscription))
    return Effects(notices=(told,))
