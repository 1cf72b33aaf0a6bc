"""What the calls of Payment Links take."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import checkout_collected, destinations
from tallystick.sandbox import checkout_params as checkout
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    currency,
    list_of,
    listing,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported

_CONNECTED: Final = unsupported("it keeps no connected accounts' books")
_KEEPING: Final = one_of("off_session", "on_session")
_SHIPPED: Final = list_of(Params({"shipping_rate": text()}))
_TRIAL: Final = checkout.SUBSCRIPTION_DATA.fields["trial_settings"]
_SUBSCRIPTION: Final[dict[str, Check]] = {
    "invoice_settings": unsupported("its account is the issuer of every invoice"),
    "metadata": metadata,
    "trial_period_days": at_least(1),
    "trial_settings": _TRIAL,
}

_BOTH: Final[dict[str, Check]] = {
    "after_completion": Params(
        {
            "hosted_confirmation": Params({"custom_message": text(500)}),
            "redirect": Params({"url": checkout.url}, required=("url",)),
            "type": one_of("hosted_confirmation", "redirect"),
        },
        required=("type",),
    ),
    "allow_promotion_codes": boolean,
    "application_fee_percent": _CONNECTED,
    "automatic_tax": Params({"enabled": boolean, "liability": checkout.ON_THE_PAGE}, required=("enabled",)),
    "billing_address_collection": one_of("auto", "required"),
    "consent_collection": checkout_collected.CONSENT,
    "custom_text": checkout.CUSTOM_TEXT,
    "customer_creation": one_of("always", "if_required"),
    "invoice_creation": Params(
        {"enabled": boolean, "invoice_data": checkout.INVOICE_DATA}, required=("enabled",)
    ),
    "metadata": metadata,
    "name_collection": checkout.ON_THE_PAGE,
    "optional_items": checkout.ON_THE_PAGE,
    "payment_method_collection": one_of("always", "if_required"),
    "payment_method_options": unsupported("its links take every brand of card"),
    "phone_number_collection": Params({"enabled": boolean}, required=("enabled",)),
    "submit_type": one_of("auto", "book", "donate", "pay", "subscribe"),
    "tax_id_collection": checkout_collected.TAX_IDS,
}
_RESTRICTED: Final = Params(
    {"completed_sessions": Params({"limit": at_least(1)}, required=("limit",))},
    required=("completed_sessions",),
)
_COUNTRIES: Final = Params({"allowed_countries": list_of(text(2))}, required=("allowed_countries",))

CREATE: Final = Params(
    {
        **_BOTH,
        "application_fee_amount": at_least(1),
        "currency": currency,
        "custom_fields": checkout_collected.FIELDS,
        "inactive_message": text(500),
        "line_items": list_of(
            Params(
                {
                    "adjustable_quantity": checkout.ADJUSTABLE,
                    "price": text(),
                    "price_data": checkout.PRICE_DATA,
                    "quantity": at_least(1),
                }
            )
        ),
        "managed_payments": unsupported("it manages no payments for others"),
        "on_behalf_of": destinations.NEW["on_behalf_of"],
        "payment_intent_data": Params(
            {
                "capture_method": one_of("automatic", "automatic_async", "manual"),
                "description": text(1000),
                "metadata": metadata,
                "setup_future_usage": _KEEPING,
                "statement_descriptor": text(22),
                "statement_descriptor_suffix": text(22),
                "transfer_group": text(),
            }
        ),
        "payment_method_types": checkout.types,
        "restrictions": _RESTRICTED,
        "shipping_address_collection": _COUNTRIES,
        "shipping_options": _SHIPPED,
        "subscription_data": Params({**_SUBSCRIPTION, "description": text(500)}),
        "transfer_data": destinations.NEW["transfer_data"],
    },
    required=("line_items",),
)
UPDATE: Final = Params(
    {
        **_BOTH,
        "active": boolean,
        "application_fee_amount": clearable(at_least(1)),
        "custom_fields": clearable(checkout_collected.FIELDS),
        "inactive_message": clearable(text(500)),
        "line_items": list_of(
            Params(
                {"adjustable_quantity": checkout.ADJUSTABLE, "id": text(), "quantity": at_least(1)},
                required=("id",),
            )
        ),
        "on_behalf_of": clearable(text()),
        "payment_intent_data": Params(
            {
                "description": clearable(text(1000)),
                "metadata": clearable(metadata),
                "setup_future_usage": clearable(_KEEPING),
                "statement_descriptor": clearable(text(22)),
                "statement_descriptor_suffix": clearable(text(22)),
                "transfer_group": clearable(text()),
            }
        ),
        "payment_method_types": clearable(checkout.types),
        "restrictions": clearable(_RESTRICTED),
        "shipping_address_collection": clearable(_COUNTRIES),
        "shipping_options": clearable(_SHIPPED),
        "subscription_data": Params(
            {
                **_SUBSCRIPTION,
                "metadata": clearable(metadata),
                "trial_period_days": clearable(at_least(1)),
                "trial_settings": clearable(_TRIAL),
            }
        ),
        "transfer_data": clearable(destinations.NEW["transfer_data"]),
    }
)
LIST: Final = listing(active=boolean)
