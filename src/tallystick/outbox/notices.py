"""A notice as a plain value, and NOTICES: the one visible table of their types. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the merchant's own systems, once: ``key`` is unique.

    ``data`` is JSON-ready; amounts in it are in minor units.
    """

    key: str
    type: str
    payment_id: str | None
    data: Mapping[str, Any]


NOTICES: Final[dict[str, str]] = {
    "payment.succeeded": "the money of a payment was captured",
    "payment.failed": "an attempt to pay failed; the payment can be tried again",
    "payment.requires_action": "the customer must authenticate",
    "payment.canceled": "a payment ended without money",
    "refund.succeeded": "money went back to the customer",
    "refund.failed": "a refund failed or was cancelled: the money is back with us",
    "dispute.created": "a customer disputes a payment, or their bank asks",
    "dispute.updated": "a dispute changed, or its money moved",
    "dispute.closed": "a dispute is decided: won, lost or withdrawn",
    "payout.created": "Stripe sends money to the bank",
    "payout.paid": "a payout should have arrived; banks can still refuse it",
    "payout.failed": "a payout came back",
    "payout.canceled": "a payout was cancelled before it left",
    "invoice.finalized": "an invoice got its number and can be paid",
    "invoice.paid": "an invoice is paid in full",
    "invoice.payment_failed": "an attempt to pay an invoice failed",
    "invoice.payment_action_required": "the customer must authenticate for an invoice",
    "invoice.overdue": "an invoice was not paid in time",
    "invoice.voided": "an invoice was declared void",
    "invoice.marked_uncollectible": "an invoice was given up as a bad debt",
    "subscription.created": "a subscription began",
    "subscription.updated": "a subscription changed: its items, its state, its end",
    "subscription.paused": "a trial ended without a payment method, and the subscription stands still",
    "subscription.resumed": "a paused subscription goes on",
    "subscription.trial_will_end": "a trial ends in three days, or at once",
    "subscription.canceled": "a subscription ended",
    "webhook_endpoint.disabled": "an endpoint is not sent to any more, after a long failure",
}
"""Type and meaning. A type that is not here is never sent: an endpoint cannot ask for it."""


def matches(patterns: Iterable[str], notice_type: str) -> bool:
    """Whether one of the patterns (``payment.succeeded``, ``refund.*``, ``*``) takes this type."""
    return any(
        notice_type == pattern or (pattern.endswith("*") and notice_type.startswith(pattern[:-1]))
        for pattern in patterns
    )


def checked_patterns(patterns: Iterable[str]) -> list[str]:
    """The patterns, each once and in order; raises ValueError for one that no type of notice fits."""
    found = sorted(set(patterns))
    for pattern in found:
        family, star, rest = pattern.partition("*")
        if (
            rest
            or (star and family and not family.endswith("."))
            or not any(matches((pattern,), name) for name in NOTICES)
        ):
            raise ValueError(f"{pattern!r} is no type of notice, nor a pattern such as refund.* or *")
    return found


def at_utc(seconds: int | None) -> str | None:
    """Stripe's Unix seconds as a notice writes a time: RFC 3339 in UTC; None for what no calendar has."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None
