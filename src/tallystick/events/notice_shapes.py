"""The shape of what a notice says, by its family; ``/openapi.json`` describes the notices by it. Pure.

Names and shapes are those of the API's answers: what is ``payment`` here is ``id`` there. Amounts are in
minor units, times (``_at``) RFC 3339 in UTC, dates (``_on``) ISO 8601.
"""

from __future__ import annotations

from typing import Any, Final

from typing_extensions import TypedDict


class PaymentDataAtStripe(TypedDict):
    """Where to find the payment at Stripe."""

    payment_intent: str | None
    charge: str | None


class NextAction(TypedDict):
    """What the customer has to do; ``GET /payments/{id}`` has all of it."""

    type: str | None


class PaymentData(TypedDict):
    """What is said of a payment."""

    payment: str
    status: str
    amount: int
    currency: str
    amount_captured: int
    customer: str | None
    description: str | None
    metadata: dict[str, str]
    payment_method: str | None
    last_error: dict[str, str] | None
    next_action: NextAction | None
    cancellation_reason: str | None
    receipt_email: str | None
    livemode: bool
    stripe: PaymentDataAtStripe


class RefundDataAtStripe(TypedDict):
    """Where to find the refund at Stripe."""

    refund: str


class RefundData(TypedDict):
    """What is said of a refund; ``payment`` is None for one of a customer's cash balance."""

    refund: str
    payment: str | None
    status: str
    amount: int
    currency: str
    reason: str | None
    failure_reason: str | None
    metadata: dict[str, str]
    stripe: RefundDataAtStripe


class DisputeDataAtStripe(TypedDict):
    """What the dispute is about at Stripe."""

    payment_intent: str | None
    charge: str | None


class DisputeData(TypedDict):
    """What is said of a dispute."""

    dispute: str
    payment: str
    status: str
    amount: int
    currency: str
    reason: str | None
    network_reason_code: str | None
    evidence_due_at: str | None
    has_evidence: bool
    submission_count: int
    charge_refundable: bool
    metadata: dict[str, str]
    livemode: bool
    stripe: DisputeDataAtStripe
    created_at: str | None


class PayoutData(TypedDict):
    """What is said of a payout; ``arrival_on`` is the day on which it is expected at the bank."""

    payout: str
    status: str
    amount: int
    currency: str
    automatic: bool
    arrival_on: str | None
    method: str | None
    description: str | None
    statement_descriptor: str | None
    failure_code: str | None
    failure_message: str | None
    metadata: dict[str, str]
    livemode: bool
    created_at: str | None


class InvoiceData(TypedDict):
    """What is said of an invoice; ``subscription_metadata`` is its subscription's when it was made."""

    invoice: str
    number: str | None
    status: str | None
    billing_reason: str | None
    collection_method: str | None
    customer: str | None
    subscription: str | None
    currency: str
    subtotal: int | None
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    attempt_count: int
    due_at: str | None
    next_attempt_at: str | None
    paid_at: str | None
    hosted_invoice_url: str | None
    description: str | None
    metadata: dict[str, str]
    subscription_metadata: dict[str, str]
    livemode: bool
    created_at: str | None


class SubscriptionItemData(TypedDict):
    """What a subscription is for; ``quantity`` is None where usage is metered."""

    price: str | None
    product: str | None
    quantity: int | None


class SubscriptionData(TypedDict):
    """What is said of a subscription; ``current_period_ends_at`` is of the item that is billed next."""

    subscription: str | None
    status: str | None
    customer: str | None
    currency: str | None
    items: list[SubscriptionItemData]
    collection_method: str | None
    current_period_ends_at: str | None
    cancel_at_period_end: bool
    cancel_at: str | None
    canceled_at: str | None
    ended_at: str | None
    cancellation_reason: str | None
    trial_ends_at: str | None
    latest_invoice: str | None
    description: str | None
    metadata: dict[str, str]
    livemode: bool
    created_at: str | None


NOTICE_DATA: Final[dict[str, type[Any]]] = {
    "payment": PaymentData,
    "refund": RefundData,
    "dispute": DisputeData,
    "payout": PayoutData,
    "invoice": InvoiceData,
    "subscription": SubscriptionData,
}
"""The shape of ``data`` by the family of a notice: what stands before the dot of its type."""
