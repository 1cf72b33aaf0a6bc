"""An example for the schemas that a reader meets first; a test holds each against its schema."""

from __future__ import annotations

from typing import Any, Final

_PAYMENT: Final[dict[str, Any]] = {
    "id": "pay_01k9zq3v7x8m2n4p6r8t0w2y4a",
    "object": "payment",
    "status": "succeeded",
    "amount": 1999,
    "currency": "usd",
    "amount_capturable": 0,
    "amount_captured": 1999,
    "amount_refunded": 0,
    "customer": None,
    "description": "Order 1042",
    "metadata": {"order": "1042"},
    "capture_method": "automatic",
    "payment_method": "pm_1SPq2nLkdIwHu7ixJ4Wn0b3x",
    "client_secret": None,
    "last_error": None,
    "next_action": None,
    "cancellation_reason": None,
    "receipt_email": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "setup_future_usage": None,
    "origin": "api",
    "livemode": False,
    "stripe": {"payment_intent": "pi_3SPq2oLkdIwHu7ix0Xq1Zb2c", "charge": "ch_3SPq2oLkdIwHu7ix0c3d4E5f"},
    "created_at": "2026-01-15T09:30:00Z",
    "updated_at": "2026-01-15T09:30:01Z",
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "CreatePayment": {
        "amount": 1999,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "confirm": True,
        "description": "Order 1042",
        "metadata": {"order": "1042"},
    },
    "ConfirmPayment": {"payment_method": "pm_card_visa"},
    "CapturePayment": {"amount": 1500},
    "CancelPayment": {"cancellation_reason": "requested_by_customer"},
    "UpdatePayment": {"description": "Order 1042, sent", "metadata": {"parcel": "JD0146"}},
    "CreateApiKey": {
        "name": "shop backend",
        "scopes": ["payments:read", "payments:write"],
        "expires_at": "2027-01-15T00:00:00Z",
        "rate_limit": "100/second",
    },
    "RotateApiKey": {"grace_s": 3600},
    "Why": {"reason": "The account it posts to exists now"},
    "RefundPayment": {"amount": 500, "reason": "requested_by_customer"},
    "Payment": _PAYMENT,
    "Refund": {
        "id": "ref_01k9zq5d0f2g4h6j8k0m2n4p6r",
        "object": "refund",
        "payment": _PAYMENT["id"],
        "status": "succeeded",
        "amount": 500,
        "currency": "usd",
        "reason": "requested_by_customer",
        "failure_reason": None,
        "metadata": {},
        "stripe": {"refund": "re_3SPq2oLkdIwHu7ix0Rf5Gh6j"},
        "created_at": "2026-01-16T14:00:00Z",
        "updated_at": "2026-01-16T14:00:02Z",
    },
}
