"""What subscription calls take, and what a subscription looks like.

Connect's parameters, Stripe Tax and billing thresholds are refused in words: the sandbox is one account,
computes no tax of its own, and takes no threshold into account.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.numbers import at_least, decimal_at_least_zero
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
from tallystick.sandbox.periods import INTERVALS
from tallystick.sandbox.store import Obj

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


def unsupported(why: str) -> Check:
    """A parameter that Stripe knows and the sandbox does not act upon; to unset it does no harm."""

    def check(value: Any, name: str) -> None:
        if value != "":
            raise invalid(f"The sandbox does not support {name}: {why}.", param=name)

    return check


_CONNECT: Final = unsupported("it has one account and no Connect")
_THRESHOLDS: Final = unsupported("it bills by period, not by threshold")


def _automatic_tax(value: Any, name: str) -> dict[str, Any]:
    sent: dict[str, Any] = Params({"enabled": boolean, "liability": _LIABILITY}, required=("enabled",))(
        value, name
    )
    if sent["enabled"]:
        raise invalid(
            f"The sandbox does not support {name}[enabled]: it has no Stripe Tax; use tax rates.",
            param=f"{name}[enabled]",
        )
    return sent


_LIABILITY: Final = Params({"account": _CONNECT, "type": one_of("self")}, required=("type",))

DISCOUNTS: Final = clearable(
    list_of(Params({"coupon": text(), "discount": text(), "promotion_code": text()}))
)
_PRICE_DATA: Final = Params(
    {
        "currency": currency,
        "product": text(),
        "recurring": Params(
            {"interval": one_of(*INTERVALS), "interval_count": at_least(1)}, required=("interval",)
        ),
        "tax_behavior": one_of("exclusive", "inclusive", "unspecified"),
        "unit_amount": at_least(0),
        "unit_amount_decimal": decimal_at_least_zero,
    },
    required=("currency", "product", "recurring"),
)
_ONCE_DATA: Final = Params(
    {
        "currency": currency,
        "product": text(),
        "tax_behavior": one_of("exclusive", "inclusive", "unspecified"),
        "unit_amount": integer,
        "unit_amount_decimal": decimal_at_least_zero,
    },
    required=("currency", "product"),
)
NEW_ITEM: Final[dict[str, Check]] = {
    "billing_thresholds": _THRESHOLDS,
    "discounts": DISCOUNTS,
    "metadata": metadata,
    "plan": text(),
    "price": text(),
    "price_data": _PRICE_DATA,
    "quantity": at_least(0),
    "tax_rates": clearable(list_of(text())),
}
ITEMS: Final = list_of(Params(NEW_ITEM))
CHANGED_ITEMS: Final = list_of(Params({**NEW_ITEM, "id": text(), "deleted": boolean, "clear_usage": boolean}))
ADDED: Final = list_of(
    Params(
        {
            "discountable": boolean,
            "discounts": DISCOUNTS,
            "metadata": metadata,
            "period": Params(
                {
                    "end": Params(
                        {"timestamp": integer, "type": one_of("min_item_period_end", "timestamp")},
                        required=("type",),
                    ),
                    "start": Params(
                        {"timestamp": integer, "type": one_of("max_item_period_start", "now", "timestamp")},
                        required=("type",),
                    ),
                },
                required=("end", "start"),
            ),
            "price": text(),
            "price_data": _ONCE_DATA,
            "quantity": at_least(0),
            "tax_rates": clearable(list_of(text())),
        }
    )
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
        "issuer": Params({"account": _CONNECT, "type": one_of("self")}, required=("type",)),
    }
)


def _now_or_time(value: Any, name: str) -> int | str:
    return "now" if value == "now" else integer(value, name)


def _cancel_at(value: Any, name: str) -> int | str:
    words = ("max_period_end", "min_period_end")
    return str(value) if value in words else integer(value, name)


def _any_hash(value: Any, name: str) -> dict[str, Any] | None:
    if value == "":
        return None
    if not isinstance(value, dict):
        raise invalid("Invalid object", param=name)
    return value


_CARD_OPTIONS: Final = clearable(
    Params(
        {
            "mandate_options": _any_hash,
            "network": text(),
            "request_three_d_secure": one_of("any", "automatic", "challenge"),
        }
    )
)
_METHODS: Final = (
    "acss_debit bancontact billie customer_balance konbini payto pix sepa_debit upi us_bank_account".split()
)
PAYMENT_SETTINGS: Final = Params(
    {
        "payment_method_options": clearable(
            Params({"card": _CARD_OPTIONS, **dict.fromkeys(_METHODS, _any_hash)})
        ),
        "payment_method_types": clearable(list_of(text())),
        "save_default_payment_method": one_of("off", "on_subscription"),
    }
)

_BOTH: Final[dict[str, Check]] = {
    "add_invoice_items": ADDED,
    "application_fee_percent": _CONNECT,
    "automatic_tax": _automatic_tax,
    "billing_schedules": unsupported("prebilling is a preview of Stripe's"),
    "billing_thresholds": _THRESHOLDS,
    "cancel_at": clearable(_cancel_at),
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
    "on_behalf_of": _CONNECT,
    "payment_behavior": BEHAVIOR,
    "payment_settings": PAYMENT_SETTINGS,
    "pending_invoice_item_interval": unsupported("pending items are billed with the subscription"),
    "proration_behavior": PRORATION,
    "transfer_data": _CONNECT,
    "trial_end": _now_or_time,
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
        "customer_account": _CONNECT,
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
RESUME: Final = Params(
    {
        "billing_cycle_anchor": one_of("now", "unchanged"),
        "proration_behavior": PRORATION,
        "proration_date": integer,
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
    "test_clock": None,
    "transfer_data": None,
    "trial_end": None,
    "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    "trial_start": None,
}
"""A subscription as it is before anything is said about it; top-level values are replaced, never changed."""
