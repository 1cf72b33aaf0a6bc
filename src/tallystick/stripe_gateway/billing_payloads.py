"""The fields we read from Stripe's payouts, invoices and subscriptions: old shapes and new. Pure.

As in ``payloads``: times are Unix seconds, amounts minor units, both as Stripe sends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tallystick.stripe_gateway.fields import (
    JsonObject,
    as_mapping,
    count_field,
    currency_field,
    int_field,
    metadata_of,
    optional_int_field,
    optional_text_field,
    optional_time_field,
    reference,
    rows_of,
    text_field,
)


@dataclass(frozen=True, slots=True)
class Payout:
    """What we read of a payout; ``arrival_date`` is midnight UTC of the day it is expected at the bank."""

    id: str
    status: str
    amount: int
    currency: str
    automatic: bool
    created: int | None
    arrival_date: int | None
    method: str | None
    description: str | None
    statement_descriptor: str | None
    livemode: bool
    failure_code: str | None
    failure_message: str | None
    balance_transaction: str | None
    failure_balance_transaction: str | None
    metadata: dict[str, str]

    @classmethod
    def read(cls, obj: JsonObject) -> Payout:
        """Raises PayloadError."""
        return cls(
            id=text_field(obj, "id"),
            status=text_field(obj, "status"),
            amount=int_field(obj, "amount"),
            currency=currency_field(obj),
            automatic=obj.get("automatic") is True,
            created=optional_time_field(obj, "created"),
            arrival_date=optional_time_field(obj, "arrival_date"),
            method=optional_text_field(obj, "method"),
            description=optional_text_field(obj, "description"),
            statement_descriptor=optional_text_field(obj, "statement_descriptor"),
            livemode=obj.get("livemode") is True,
            failure_code=optional_text_field(obj, "failure_code"),
            failure_message=optional_text_field(obj, "failure_message"),
            balance_transaction=reference(obj.get("balance_transaction")),
            failure_balance_transaction=reference(obj.get("failure_balance_transaction")),
            metadata=metadata_of(obj),
        )


@dataclass(frozen=True, slots=True)
class Invoice:
    """What we read of an invoice. Before it is finalised it has no ``number``."""

    id: str
    number: str | None
    status: str | None
    billing_reason: str | None
    collection_method: str | None
    created: int | None
    livemode: bool
    description: str | None
    hosted_invoice_url: str | None
    currency: str
    customer: str | None
    subscription: str | None
    subtotal: int | None
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    attempt_count: int
    due_date: int | None
    next_payment_attempt: int | None
    paid_at: int | None
    payment: str | None
    """The PaymentIntent that paid it, or the charge, where the shape tells (before basil)."""
    paid_out_of_band: bool
    """Told before basil only; since then the payments tell how much of it was."""
    payments: tuple[JsonObject, ...]
    """Its invoice payments, where they were sent expanded."""
    balance_used: bool
    """Whether the customer's balance changed with it."""
    metadata: dict[str, str]
    subscription_metadata: dict[str, str]

    @classmethod
    def read(cls, obj: JsonObject) -> Invoice:
        """Raises PayloadError."""
        total, due, paid = (
            int_field(obj, "total", 0),
            int_field(obj, "amount_due", 0),
            int_field(obj, "amount_paid", 0),
        )
        # since API version basil the subscription stands under the invoice's parent
        details = as_mapping(as_mapping(obj.get("parent")).get("subscription_details"))
        of_subscription = details or as_mapping(obj.get("subscription_details"))
        return cls(
            id=text_field(obj, "id"),
            number=optional_text_field(obj, "number"),
            status=optional_text_field(obj, "status"),
            billing_reason=optional_text_field(obj, "billing_reason"),
            collection_method=optional_text_field(obj, "collection_method"),
            created=optional_time_field(obj, "created"),
            livemode=obj.get("livemode") is True,
            description=optional_text_field(obj, "description"),
            hosted_invoice_url=optional_text_field(obj, "hosted_invoice_url"),
            currency=currency_field(obj),
            customer=reference(obj.get("customer")),
            subscription=reference(details.get("subscription")) or reference(obj.get("subscription")),
            subtotal=optional_int_field(obj, "subtotal"),
            total=total,
            amount_due=due,
            amount_paid=paid,
            amount_remaining=int_field(obj, "amount_remaining", due - paid),
            attempt_count=count_field(obj, "attempt_count"),
            due_date=optional_time_field(obj, "due_date"),
            next_payment_attempt=optional_time_field(obj, "next_payment_attempt"),
            paid_at=optional_time_field(as_mapping(obj.get("status_transitions")), "paid_at"),
            payment=reference(obj.get("payment_intent")) or reference(obj.get("charge")),
            paid_out_of_band=obj.get("paid_out_of_band") is True,
            payments=rows_of(as_mapping(obj.get("payments"))),
            balance_used=obj.get("ending_balance") not in (None, obj.get("starting_balance")),
            metadata=metadata_of(obj),
            subscription_metadata=metadata_of(of_subscription),
        )


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """What a subscription is for; ``quantity`` is None where usage is metered."""

    price: str | None
    product: str | None
    quantity: int | None
    period_end: int | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """What we read of a subscription. Until 2013 a customer had but one, and it had no id."""

    id: str | None
    status: str | None
    customer: str | None
    currency: str | None
    items: tuple[SubscriptionItem, ...]
    collection_method: str | None
    created: int | None
    livemode: bool
    description: str | None
    current_period_end: int | None
    """Of the item that is billed next: since API version basil each has a period of its own."""
    cancellation_reason: str | None
    cancel_at_period_end: bool
    cancel_at: int | None
    canceled_at: int | None
    ended_at: int | None
    trial_end: int | None
    latest_invoice: str | None
    metadata: dict[str, str]

    @classmethod
    def read(cls, obj: JsonObject) -> Subscription:
        """Raises PayloadError."""
        listed = as_mapping(obj.get("items")).get("data")
        items = tuple(_item(item) for item in (listed if isinstance(listed, list) else ()))
        ends = [item.period_end for item in items if item.period_end is not None]
        return cls(
            id=reference(obj.get("id")),
            status=optional_text_field(obj, "status"),
            customer=reference(obj.get("customer")),
            currency=optional_text_field(obj, "currency"),
            items=items,
            collection_method=optional_text_field(obj, "collection_method"),
            created=optional_time_field(obj, "created"),
            livemode=obj.get("livemode") is True,
            description=optional_text_field(obj, "description"),
            current_period_end=min(ends, default=optional_time_field(obj, "current_period_end")),
            cancellation_reason=optional_text_field(as_mapping(obj.get("cancellation_details")), "reason"),
            cancel_at_period_end=obj.get("cancel_at_period_end") is True,
            cancel_at=optional_time_field(obj, "cancel_at"),
            canceled_at=optional_time_field(obj, "canceled_at"),
            ended_at=optional_time_field(obj, "ended_at"),
            trial_end=optional_time_field(obj, "trial_end"),
            latest_invoice=reference(obj.get("latest_invoice")),
            metadata=metadata_of(obj),
        )


def _item(item: object) -> SubscriptionItem:
    """Before 2019 an item had a plan and no price; both ids name the same thing."""
    found: JsonObject = item if isinstance(item, Mapping) else {}
    quantity = found.get("quantity")
    named = as_mapping(found.get("price")) or as_mapping(found.get("plan"))
    return SubscriptionItem(
        price=reference(found.get("price")) or reference(found.get("plan")),
        product=reference(named.get("product")),
        quantity=quantity if type(quantity) is int else None,
        period_end=optional_time_field(found, "current_period_end"),
    )
