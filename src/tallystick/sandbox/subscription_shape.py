"""What subscription calls take, and what a subscription looks like."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    created,
    currency,
    integer,
    list_of,
    listing,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_fields import (
    ADDED,
    CHANGED_ITEMS,
    CONNECT,
    DISCOUNTS,
    ITEMS,
    NEW_ITEM,
    PAYMENT_SETTINGS,
    THRESHOLDS,
    automatic_tax,
    cancel_at,
    now_or_time,
    unsupported,
)

__all__ = ["ADDED", "CHANGED_ITEMS", "DISCOUNTS", "ITEMS", "NEW_ITEM"]

STATUSES: Final = (
    "active",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)
ENDED: Final = ("canceled", "incomplete_expired")
FEEDBACK: Final = (
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)


PRORATION: Final = one_of("always_invoice", "create_prorations", "none")
BEHAVIOR: Final = one_of(
    "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
)
BILLING_MODE: Final = Params(
    {
        "flexible": Params({"proration_discounts": one_of("included", "itemized")}),
        "type": one_of("classic", "flexible"),
    },
    required=("type",),
)
TRIAL_SETTINGS: Final = Params(
    {
        "end_behavior": Params(
            {"missing_payment_method": one_of("cancel", "create_invoice", "pause")},
            required=("missing_payment_method",),
        )
    },
    required=("end_behavior",),
)
CANCELLATION: Final = Params({"comment": clearable(text(5000)), "feedback": clearable(one_of(*FEEDBACK))})
INVOICE_SETTINGS: Final = Params(
    {
        "account_tax_ids": clearable(list_of(text())),
        "issuer": Params({"account": CONNECT, "type": one_of("self")}, required=("type",)),
    }
)


_BOTH: Final[dict[str, Check]] = {
    "add_invoice_items": ADDED,
    "application_fee_percent": CONNECT,
    "automatic_tax": automatic_tax,
    "billing_schedules": unsupported("prebilling is a preview of Stripe's"),
    "billing_thresholds": THRESHOLDS,
    "cancel_at": clearable(cancel_at),
    "cancel_at_period_end": boolean,
    "collection_method": one_of("charge_automatically", "send_invoice"),
    "days_until_due": at_least(0),
    "default_payment_method": clearable(text()),
    "default_source": unsupported("it has payment methods, no sources"),
    "default_tax_rates": clearable(list_of(text())),
    "description": clearable(text(500)),
    "discounts": DISCOUNTS,
    "invoice_settings": INVOICE_SETTINGS,
    "metadata": metadata,
    "off_session": boolean,
    "on_behalf_of": CONNECT,
    "payment_behavior": BEHAVIOR,
    "payment_settings": PAYMENT_SETTINGS,
    "pending_invoice_item_interval": unsupported("pending items are billed with the subscription"),
    "proration_behavior": PRORATION,
    "transfer_data": CONNECT,
    "trial_end": now_or_time,
    "trial_from_plan": boolean,
    "trial_settings": TRIAL_SETTINGS,
}
CREATE: Final = Params(
    {
        **_BOTH,
        "backdate_start_date": integer,
        "billing_cycle_anchor": integer,
        "billing_cycle_anchor_config": Params(
            dict.fromkeys(("day_of_month", "hour", "minute", "month", "second"), integer),
            required=("day_of_month",),
        ),
        "billing_mode": BILLING_MODE,
        "coupon": text(),
        "currency": currency,
        "customer": text(),
        "customer_account": CONNECT,
        "items": ITEMS,
        "promotion_code": text(),
        "trial_period_days": at_least(1),
    },
    required=("customer",),
)
UPDATE: Final = Params(
    {
        **_BOTH,
        "billing_cycle_anchor": one_of("now", "unchanged"),
        "cancellation_details": CANCELLATION,
        "coupon": clearable(text()),
        "items": CHANGED_ITEMS,
        "pause_collection": clearable(
            Params(
                {"behavior": one_of("keep_as_draft", "mark_uncollectible", "void"), "resumes_at": integer},
                required=("behavior",),
            )
        ),
        "promotion_code": clearable(text()),
        "proration_date": integer,
    }
)
CANCEL: Final = Params({"cancellation_details": CANCELLATION, "invoice_now": boolean, "prorate": boolean})
_ANCHOR: Final = one_of("now", "unchanged")
_ANCHOR_TYPE: Final = Params({"type": _ANCHOR}, required=("type",))


def _resumed_anchor(value: Any, name: str) -> str:
    """``now`` or ``unchanged``: since endive as the ``type`` of an object."""
    if isinstance(value, dict):
        return str(_ANCHOR_TYPE(value, name)["type"])
    return str(_ANCHOR(value, name))


RESUME: Final = Params(
    {
        "billing_cycle_anchor": _resumed_anchor,
        "payment_behavior": one_of("resume_on_payment_attempt", "resume_on_payment_success"),
        "proration_behavior": PRORATION,
        "proration_date": integer,
    }
)
_BILL_FOR: Final = Params(
    {
        "outstanding_usage_through": Params({"type": one_of("none", "now")}, required=("type",)),
        "unused_time_from": Params(
            {"type": one_of("item_current_period_start", "none", "now")}, required=("type",)
        ),
    }
)
PAUSE: Final = Params(
    {
        "bill_for": _BILL_FOR,
        "invoicing_behavior": one_of("invoice", "pending_invoice_item"),
        "type": one_of("subscription"),
    }
)
LIST: Final = listing(
    automatic_tax=Params({"enabled": boolean}, required=("enabled",)),
    collection_method=one_of("charge_automatically", "send_invoice"),
    created=created,
    current_period_end=created,
    current_period_start=created,
    customer=text(),
    plan=text(),
    price=text(),
    status=one_of(*STATUSES, "all", "ended"),
    test_clock=text(),
)

BLANK: Final[Obj] = {
    "id": "",
    "object": "subscription",
    "application": None,
    "application_fee_percent": None,
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
    "billing_cycle_anchor": 0,
    "billing_cycle_anchor_config": None,
    "billing_mode": {"flexible": None, "type": "classic"},
    "billing_schedules": [],
    "billing_thresholds": None,
    "cancel_at": None,
    "cancel_at_period_end": False,
    "canceled_at": None,
    "cancellation_details": {"comment": None, "feedback": None, "reason": None},
    "collection_method": "charge_automatically",
    "created": 0,
    "currency": "usd",
    "customer": "",
    "customer_account": None,
    "days_until_due": None,
    "default_payment_method": None,
    "default_source": None,
    "default_tax_rates": [],
    "description": None,
    "discounts": [],
    "ended_at": None,
    "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
    "items": {"object": "list", "data": [], "has_more": False, "total_count": 0, "url": ""},
    "latest_invoice": None,
    "livemode": False,
    "metadata": {},
    "next_pending_invoice_item_invoice": None,
    "on_behalf_of": None,
    "pause_collection": None,
    "payment_settings": {
        "payment_method_options": None,
        "payment_method_types": None,
        "save_default_payment_method": "off",
    },
    "pending_invoice_item_interval": None,
    "pending_setup_intent": None,
    "pending_update": None,
    "schedule": None,
    "start_date": 0,
    "status": "incomplete",
    "status_details": None,
    "test_clock": None,
    "transfer_data": None,
    "trial_end": None,
    "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    "trial_start": None,
}
"""A subscription as it is before anything is said about it; top-level values are replaced, never changed."""
