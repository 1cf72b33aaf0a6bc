"""Stripe's objects that notices are made of, as the docs show them, under the events that tell of them."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]
NOTICED_AT: Final = 1_768_469_401
"""When the events of them were, in Unix seconds: 2026-01-15 09:30:01 UTC."""
_CREATED: Final = 1_768_469_400
_PAYMENT: Final = {"tallystick_payment": "pay_01k9zq3v7x8m2n4p6r8t0w2y4a"}

_SALE: Final[Json] = {
    "amount": 1999,
    "currency": "usd",
    "customer": "cus_TOnPTfYVb5cWQv",
    "description": "Order 1042",
    "metadata": {"order": "1042", **_PAYMENT},
    "payment_method": "pm_1SPq2nLkdIwHu7ixJ4Wn0b3x",
    "receipt_email": "ada@example.com",
    "created": _CREATED,
    "livemode": False,
}
INTENT: Final[Json] = {
    **_SALE,
    "id": "pi_3SPq2oLkdIwHu7ix0Xq1Zb2c",
    "object": "payment_intent",
    "status": "succeeded",
    "amount_received": 1999,
    "amount_capturable": 0,
    "client_secret": "pi_3SPq2oLkdIwHu7ix0Xq1Zb2c_secret_x",
    "latest_charge": "ch_3SPq2oLkdIwHu7ix0c3d4E5f",
}
CHARGE: Final[Json] = {
    **_SALE,
    "id": "ch_3SPq2oLkdIwHu7ix0c3d4E5f",
    "object": "charge",
    "status": "succeeded",
    "captured": True,
    "amount_captured": 1999,
    "amount_refunded": 0,
    "payment_intent": INTENT["id"],
}
_DECLINED: Final[Json] = {
    **INTENT,
    "status": "requires_payment_method",
    "amount_received": 0,
    "payment_method": None,
    "last_payment_error": {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "message": "Your card has insufficient funds.",
    },
}
_ASKED: Final[Json] = {
    **INTENT,
    "status": "requires_action",
    "amount_received": 0,
    "latest_charge": None,
    "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}},
}
_CANCELED: Final[Json] = {
    **INTENT,
    "status": "canceled",
    "amount_received": 0,
    "latest_charge": None,
    "cancellation_reason": "abandoned",
}
REFUND: Final[Json] = {
    "id": "re_3SPq2oLkdIwHu7ix0aB1cD2e",
    "object": "refund",
    "status": "succeeded",
    "amount": 500,
    "currency": "usd",
    "created": _CREATED,
    "charge": CHARGE["id"],
    "payment_intent": INTENT["id"],
    "reason": "requested_by_customer",
    "metadata": {"case": "77", "tallystick_refund": "ref_01k9zq9m3b5d7f9h1k3m5p7r9t", **_PAYMENT},
}
DISPUTE: Final[Json] = {
    "id": "du_1SPqAzLkdIwHu7ixQ2w3E4r5",
    "object": "dispute",
    "status": "needs_response",
    "amount": 1999,
    "currency": "usd",
    "created": _CREATED,
    "livemode": False,
    "charge": CHARGE["id"],
    "payment_intent": INTENT["id"],
    "reason": "fraudulent",
    "network_reason_code": "10.4",
    "is_charge_refundable": False,
    "evidence_details": {"due_by": 1_769_299_199, "has_evidence": False, "submission_count": 0},
    "balance_transactions": [],
    "metadata": {},
}
PAYOUT: Final[Json] = {
    "id": "po_1SPqBaLkdIwHu7ixT6y7U8i9",
    "object": "payout",
    "status": "paid",
    "amount": 184_211,
    "currency": "usd",
    "automatic": True,
    "arrival_date": 1_768_435_200,
    "created": _CREATED - 86_400,
    "livemode": False,
    "method": "standard",
    "description": "STRIPE PAYOUT",
    "statement_descriptor": None,
    "metadata": {},
}
INVOICE: Final[Json] = {
    "id": "in_1SPqCbLkdIwHu7ixG1h2J3k4",
    "object": "invoice",
    "number": "A1B2C3D4-0007",
    "status": "paid",
    "billing_reason": "subscription_cycle",
    "collection_method": "charge_automatically",
    "customer": "cus_TOnPTfYVb5cWQv",
    "parent": {
        "type": "subscription_details",
        "subscription_details": {
            "subscription": "sub_1SPqDcLkdIwHu7ixZ9x8C7v6",
            "metadata": {"plan": "team"},
        },
    },
    "currency": "usd",
    "subtotal": 4900,
    "total": 4900,
    "amount_due": 4900,
    "amount_paid": 4900,
    "amount_remaining": 0,
    "attempt_count": 1,
    "due_date": None,
    "next_payment_attempt": None,
    "status_transitions": {"paid_at": NOTICED_AT},
    "hosted_invoice_url": "https://invoice.stripe.com/i/acct_1032D82eZvKYlo2C/test_YWNjdF8x",
    "description": None,
    "metadata": {},
    "livemode": False,
    "created": _CREATED - 3_600,
}
SUBSCRIPTION: Final[Json] = {
    "id": "sub_1SPqDcLkdIwHu7ixZ9x8C7v6",
    "object": "subscription",
    "status": "active",
    "customer": "cus_TOnPTfYVb5cWQv",
    "currency": "usd",
    "items": {
        "data": [
            {
                "id": "si_TOnQ7mC1s2D3f4",
                "price": {"id": "price_1SPqEdLkdIwHu7ixB5n6M7q8", "product": "prod_TOnR8nD2t3E4g5"},
                "quantity": 3,
                "current_period_end": 1_771_147_800,
            }
        ]
    },
    "collection_method": "charge_automatically",
    "cancel_at_period_end": True,
    "cancel_at": 1_771_147_800,
    "canceled_at": NOTICED_AT,
    "cancellation_details": {"reason": "cancellation_requested", "comment": None, "feedback": None},
    "trial_end": None,
    "latest_invoice": INVOICE["id"],
    "description": None,
    "metadata": {"plan": "team"},
    "livemode": False,
    "created": 1_760_520_600,
}

OBJECTS: Final[dict[str, list[Json]]] = {
    "payment_intent.succeeded": [INTENT],
    "payment_intent.payment_failed": [_DECLINED],
    "payment_intent.requires_action": [_ASKED],
    "payment_intent.canceled": [_CANCELED],
    "refund.updated": [REFUND],
    "refund.failed": [{**REFUND, "status": "failed", "failure_reason": "lost_or_stolen_card"}],
    "charge.dispute.created": [DISPUTE],
    "charge.dispute.updated": [DISPUTE],
    "charge.dispute.closed": [{**DISPUTE, "status": "won"}],
    "payout.created": [{**PAYOUT, "status": "pending"}],
    "payout.paid": [PAYOUT],
    "payout.failed": [
        {
            **PAYOUT,
            "status": "failed",
            "failure_code": "account_closed",
            "failure_message": "The bank account has been closed",
        }
    ],
    "payout.canceled": [{**PAYOUT, "status": "canceled"}],
    "invoice.finalized": [{**INVOICE, "status": "open", "amount_paid": 0, "amount_remaining": 4900}],
    "invoice.paid": [INVOICE],
    "invoice.payment_failed": [{**INVOICE, "status": "open", "next_payment_attempt": 1_768_728_600}],
    "invoice.payment_action_required": [{**INVOICE, "status": "open"}],
    "invoice.overdue": [{**INVOICE, "status": "open", "due_date": NOTICED_AT}],
    "invoice.voided": [{**INVOICE, "status": "void"}],
    "invoice.marked_uncollectible": [{**INVOICE, "status": "uncollectible"}],
    "customer.subscription.created": [{**SUBSCRIPTION, "cancel_at_period_end": False, "cancel_at": None}],
    "customer.subscription.updated": [SUBSCRIPTION],
    "customer.subscription.paused": [{**SUBSCRIPTION, "status": "paused"}],
    "customer.subscription.resumed": [SUBSCRIPTION],
    "customer.subscription.trial_will_end": [
        {**SUBSCRIPTION, "status": "trialing", "trial_end": 1_768_728_600}
    ],
    "customer.subscription.deleted": [{**SUBSCRIPTION, "status": "canceled", "ended_at": NOTICED_AT}],
}
"""The objects by an event type that tells of them."""
