"""What the notices of each family say: enough to act on without asking back. Pure.

Everything comes from what the event tells. No card or bank data and no client secret is ever in it, and what
is long is cut, so that a notice stays small whatever Stripe sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallystick.events.notice_shapes import (
    DisputeData,
    InvoiceData,
    NextAction,
    PaymentData,
    PayoutData,
    RefundData,
    SubscriptionData,
)
from tallystick.outbox.notices import at_utc
from tallystick.payments.dispute_reports import DisputeReport
from tallystick.payments.reports import PaymentReport, RefundReport
from tallystick.stripe_gateway.billing_payloads import Invoice, Payout, Subscription
from tallystick.stripe_gateway.payloads import theirs

_LONGEST_TEXT: Final = 1000
_LONGEST_URL: Final = 2048
_MOST_PAIRS: Final = 50
_LONGEST_NAME: Final = 40
_LONGEST_VALUE: Final = 500
_MOST_ITEMS: Final = 20
"""All of them what Stripe itself allows today."""


def payment_data(report: PaymentReport) -> PaymentData:
    """Of one that succeeded only what its charge and its PaymentIntent both tell: either may come first."""
    return {
        "payment": report.id,
        "status": report.status.value,
        "amount": report.amount,
        "currency": report.currency,
        "amount_captured": report.amount_captured,
        "customer": report.customer,
        "description": _text(report.description),
        "metadata": _metadata(report.metadata or {}),
        "payment_method": report.payment_method,
        "last_error": _last_error(report.last_error),
        "next_action": _next_action(report.next_action),
        "cancellation_reason": _text(report.cancellation_reason),
        "receipt_email": _text(report.receipt_email),
        "livemode": report.livemode,
        "stripe": {"payment_intent": report.stripe_payment_intent, "charge": report.stripe_charge},
    }


def refund_data(report: RefundReport) -> RefundData:
    """From what an event says of a refund."""
    return {
        "refund": report.id,
        "payment": report.payment_id,
        "status": report.status.value,
        "amount": report.amount,
        "currency": report.currency,
        "reason": _text(report.reason),
        "failure_reason": _text(report.failure_reason),
        "metadata": _metadata(report.metadata or {}),
        "stripe": {"refund": report.stripe_refund},
    }


def dispute_data(report: DisputeReport) -> DisputeData:
    """From what an event says of a dispute."""
    return {
        "dispute": report.id,
        "payment": report.payment_id,
        "status": report.status,
        "amount": report.amount,
        "currency": report.currency,
        "reason": _text(report.reason),
        "network_reason_code": _text(report.network_reason_code),
        "evidence_due_at": at_utc(report.evidence_due),
        "has_evidence": report.has_evidence,
        "submission_count": report.submission_count,
        "charge_refundable": report.charge_refundable,
        "metadata": _metadata(report.metadata or {}),
        "livemode": report.livemode,
        "stripe": {"payment_intent": report.stripe_payment_intent, "charge": report.stripe_charge},
        "created_at": at_utc(report.created),
    }


def payout_data(payout: Payout) -> PayoutData:
    """From a payout as it stands in its event."""
    arrival = at_utc(payout.arrival_date)
    return {
        "payout": payout.id,
        "status": payout.status,
        "amount": payout.amount,
        "currency": payout.currency,
        "automatic": payout.automatic,
        "arrival_on": arrival[:10] if arrival else None,
        "method": _text(payout.method),
        "description": _text(payout.description),
        "statement_descriptor": _text(payout.statement_descriptor),
        "failure_code": _text(payout.failure_code),
        "failure_message": _text(payout.failure_message),
        "metadata": _metadata(payout.metadata),
        "livemode": payout.livemode,
        "created_at": at_utc(payout.created),
    }


def invoice_data(invoice: Invoice) -> InvoiceData:
    """From an invoice as it stands in its event."""
    url = invoice.hosted_invoice_url
    return {
        "invoice": invoice.id,
        "number": _text(invoice.number),
        "status": _text(invoice.status),
        "billing_reason": _text(invoice.billing_reason),
        "collection_method": _text(invoice.collection_method),
        "customer": invoice.customer,
        "subscription": invoice.subscription,
        "currency": invoice.currency,
        "subtotal": invoice.subtotal,
        "total": invoice.total,
        "amount_due": invoice.amount_due,
        "amount_paid": invoice.amount_paid,
        "amount_remaining": invoice.amount_remaining,
        "attempt_count": invoice.attempt_count,
        "due_at": at_utc(invoice.due_date),
        "next_attempt_at": at_utc(invoice.next_payment_attempt),
        "paid_at": at_utc(invoice.paid_at),
        "hosted_invoice_url": url if url and len(url) <= _LONGEST_URL else None,
        "description": _text(invoice.description),
        "metadata": _metadata(invoice.metadata),
        "subscription_metadata": _metadata(invoice.subscription_metadata),
        "livemode": invoice.livemode,
        "created_at": at_utc(invoice.created),
    }


def subscription_data(subscription: Subscription) -> SubscriptionData:
    """From a subscription as it stands in its event."""
    return {
        "subscription": subscription.id,
        "status": _text(subscription.status),
        "customer": subscription.customer,
        "currency": _text(subscription.currency),
        "items": [
            {"price": item.price, "product": item.product, "quantity": item.quantity}
            for item in subscription.items[:_MOST_ITEMS]
        ],
        "collection_method": _text(subscription.collection_method),
        "current_period_ends_at": at_utc(subscription.current_period_end),
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "cancel_at": at_utc(subscription.cancel_at),
        "canceled_at": at_utc(subscription.canceled_at),
        "ended_at": at_utc(subscription.ended_at),
        "cancellation_reason": _text(subscription.cancellation_reason),
        "trial_ends_at": at_utc(subscription.trial_end),
        "latest_invoice": subscription.latest_invoice,
        "description": _text(subscription.description),
        "metadata": _metadata(subscription.metadata),
        "livemode": subscription.livemode,
        "created_at": at_utc(subscription.created),
    }


def _text(value: str | None) -> str | None:
    return value[:_LONGEST_TEXT] if value is not None else None


def _metadata(metadata: dict[str, str]) -> dict[str, str]:
    """The merchant's own, without the keys that are ours."""
    pairs = list(theirs(metadata).items())[:_MOST_PAIRS] if metadata else ()
    return {name[:_LONGEST_NAME]: value[:_LONGEST_VALUE] for name, value in pairs}


def _last_error(error: dict[str, str] | None) -> dict[str, str] | None:
    return {name: value[:_LONGEST_TEXT] for name, value in error.items()} if error is not None else None


def _next_action(action: Mapping[str, Any] | None) -> NextAction | None:
    """Its kind alone: the rest can hold a link that acts for the customer, with a secret in it."""
    if action is None:
        return None
    kind = action.get("type")
    return {"type": kind[:_LONGEST_NAME] if isinstance(kind, str) else None}
