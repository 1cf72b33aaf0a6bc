"""What billing-portal configurations look like, and what their calls take."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import Check, Params, boolean, clearable, list_of, metadata, one_of, text
from tallystick.sandbox.store import Obj

_UPDATES: Final = one_of("address", "email", "name", "phone", "shipping", "tax_id")
_REASONS: Final = one_of(
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)
_PRODUCT: Final = Params(
    {
        "adjustable_quantity": Params(
            {"enabled": boolean, "maximum": at_least(1), "minimum": at_least(0)}, required=("enabled",)
        ),
        "prices": list_of(text()),
        "product": text(),
    },
    required=("prices", "product"),
)
_FEATURES: Final = Params(
    {
        "customer_update": Params({"allowed_updates": clearable(list_of(_UPDATES)), "enabled": boolean}),
        "invoice_history": Params({"enabled": boolean}, required=("enabled",)),
        "payment_method_update": Params(
            {"enabled": boolean, "payment_method_configuration": clearable(text())}, required=("enabled",)
        ),
        "subscription_cancel": Params(
            {
                "cancellation_reason": Params(
                    {"enabled": boolean, "options": clearable(list_of(_REASONS))}, required=("enabled",)
                ),
                "enabled": boolean,
                "mode": one_of("at_period_end", "immediately"),
                "proration_behavior": one_of("always_invoice", "create_prorations", "none"),
            },
            required=("enabled",),
        ),
        "subscription_update": Params(
            {
                "billing_cycle_anchor": one_of("now", "unchanged"),
                "default_allowed_updates": clearable(list_of(one_of("price", "promotion_code", "quantity"))),
                "enabled": boolean,
                "products": clearable(list_of(_PRODUCT)),
                "proration_behavior": one_of("always_invoice", "create_prorations", "none"),
                "schedule_at_period_end": Params(
                    {
                        "conditions": clearable(
                            list_of(
                                Params(
                                    {"type": one_of("decreasing_item_amount", "shortening_interval")},
                                    required=("type",),
                                )
                            )
                        )
                    }
                ),
                "trial_update_behavior": one_of("continue_trial", "end_trial"),
            }
        ),
    }
)
_FIELDS: Final[dict[str, Check]] = {
    "business_profile": Params(
        {
            "headline": clearable(text(60)),
            "privacy_policy_url": text(),
            "terms_of_service_url": text(),
        }
    ),
    "default_return_url": clearable(text()),
    "features": _FEATURES,
    "login_page": Params({"enabled": boolean}, required=("enabled",)),
    "metadata": metadata,
    "name": clearable(text()),
}
CREATE: Final = Params(_FIELDS, required=("features",))
UPDATE: Final = Params({**_FIELDS, "active": boolean})

FEATURES: Final[dict[str, Obj]] = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {
            "enabled": False,
            "options": ["too_expensive", "missing_features", "switched_service", "unused", "other"],
        },
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_update": {
        "billing_cycle_anchor": None,
        "default_allowed_updates": [],
        "enabled": False,
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}
"""What a configuration allows when nothing was sent."""


def features(old: Obj, sent: dict[str, Any]) -> Obj:
    """The features with what was sent; an unset list is empty."""
    merged = {}
    for name, blank in old.items():
        values = {key: [] if value is None else value for key, value in sent.get(name, {}).items()}
        if values.get("payment_method_configuration") == []:
            values["payment_method_configuration"] = None
        merged[name] = {**blank, **values}
    return merged
