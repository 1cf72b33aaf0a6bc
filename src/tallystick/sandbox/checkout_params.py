"""What the calls of Checkout Sessions take."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import (
    bank_accounts,
    checkout_collected,
    checkout_shipping,
    destinations,
    price_shape,
    product_shape,
)
from tallystick.sandbox import payment_method_options as methods
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    SHIPPING,
    Check,
    Params,
    boolean,
    clearable,
    created,
    currency,
    email,
    integer,
    list_of,
    listing,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported

_UI_MODES: Final = {
    "hosted": "hosted_page",
    "embedded": "embedded_page",
    "custom": "elements",
    "hosted_page": "hosted_page",
    "embedded_page": "embedded_page",
    "elements": "elements",
}


def _ui_mode(value: Any, name: str) -> str:
    """Today's name of a mode; those of old still go."""
    sent = one_of(*_UI_MODES)(value, name)
    return _UI_MODES[str(sent)]


def url(value: Any, name: str) -> str:
    """An absolute one."""
    plain: str = text()(value, name)
    if not plain.startswith(("http://", "https://")):
        raise invalid("Not a valid URL", param=name, code="url_invalid")
    return plain


ADJUSTABLE: Final = Params(
    {"enabled": boolean, "maximum": at_least(0), "minimum": at_least(0)}, required=("enabled",)
)
PRICE_DATA: Final = Params(
    {
        **price_shape.inline(product_data=product_shape.DATA).fields,
        "recurring": price_shape.DEFAULT_DATA.fields["recurring"],
        "unit_amount": at_least(0),
    },
    required=("currency",),
)
_LINE: Final = Params(
    {
        "adjustable_quantity": ADJUSTABLE,
        "dynamic_tax_rates": unsupported("it knows no places by which a tax rate could be chosen"),
        "metadata": metadata,
        "price": text(),
        "price_data": PRICE_DATA,
        "quantity": at_least(1),
        "tax_rates": list_of(text()),
        **dict.fromkeys(
            ("amount", "currency", "description", "images", "name"),
            unsupported("lines have had prices since 2022; send price or price_data"),
        ),
    }
)
_KEEPING: Final = one_of("off_session", "on_session")
_INTENT_DATA: Final = Params(
    {
        **destinations.NEW,
        "capture_method": one_of("automatic", "automatic_async", "manual"),
        "description": text(1000),
        "metadata": metadata,
        "receipt_email": text(),
        "setup_future_usage": _KEEPING,
        "shipping": SHIPPING,
        "statement_descriptor": text(22),
        "statement_descriptor_suffix": text(22),
        "transfer_group": text(),
    }
)
SUBSCRIPTION_DATA: Final = Params(
    {
        "application_fee_percent": unsupported("it keeps no connected accounts' books"),
        "billing_cycle_anchor": integer,
        "billing_mode": unsupported("subscriptions of a session have the account's billing mode"),
        "default_tax_rates": list_of(text()),
        "description": text(500),
        "invoice_settings": unsupported("its account is the issuer of every invoice"),
        "metadata": metadata,
        "on_behalf_of": unsupported("it keeps no connected accounts' books"),
        "proration_behavior": one_of("create_prorations", "none"),
        "transfer_data": unsupported("it keeps no connected accounts' books"),
        "trial_end": integer,
        "trial_period_days": at_least(1),
        "trial_settings": Params(
            {
                "end_behavior": Params(
                    {"missing_payment_method": one_of("cancel", "create_invoice", "pause")},
                    required=("missing_payment_method",),
                )
            },
            required=("end_behavior",),
        ),
    }
)
INVOICE_DATA: Final = Params(
    {
        "account_tax_ids": unsupported("its account has no tax ids"),
        "custom_fields": clearable(list_of(Params({"name": text(40), "value": text(140)}))),
        "description": text(1500),
        "footer": text(),
        "issuer": unsupported("its account is the issuer of every invoice"),
        "metadata": metadata,
        "rendering_options": clearable(
            Params({"amount_tax_display": clearable(text()), "template": clearable(text())})
        ),
    }
)
_TEXT: Final = clearable(Params({"message": text(1200)}, required=("message",)))
CUSTOM_TEXT: Final = Params(
    dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance"), _TEXT)
)
_COLLECTED: Final = Params({"shipping_details": SHIPPING})


def types(value: Any, name: str) -> list[str]:
    """Types of payment methods that the page can take."""
    sent: list[str] = list_of(one_of("card", *bank_accounts.KINDS))(value, name)
    return sent


_METHODS: Final[dict[str, Check]] = {
    "excluded_payment_method_types": list_of(text()),
    "payment_method_collection": one_of("always", "if_required"),
    "payment_method_configuration": unsupported("its account has one configuration"),
    "payment_method_data": unsupported("whether to show a method again is its customer's choice"),
    "payment_method_options": methods.OPTIONS,
    "payment_method_types": types,
    "saved_payment_method_options": Params(
        {
            "allow_redisplay_filters": list_of(one_of("always", "limited", "unspecified")),
            "payment_method_remove": one_of("disabled", "enabled"),
            "payment_method_save": one_of("disabled", "enabled"),
        }
    ),
}
ON_THE_PAGE: Final = unsupported("its page does not ask for it")

CREATE: Final = Params(
    {
        **_METHODS,
        "adaptive_pricing": Params({"enabled": boolean}),
        "after_expiration": Params(
            {
                "recovery": Params(
                    {"allow_promotion_codes": boolean, "enabled": boolean}, required=("enabled",)
                )
            }
        ),
        "allow_promotion_codes": boolean,
        "automatic_tax": Params({"enabled": boolean, "liability": ON_THE_PAGE}, required=("enabled",)),
        "billing_address_collection": one_of("auto", "required"),
        "branding_settings": ON_THE_PAGE,
        "cancel_url": url,
        "client_reference_id": text(200),
        "consent_collection": checkout_collected.CONSENT,
        "currency": currency,
        "custom_fields": checkout_collected.FIELDS,
        "custom_text": CUSTOM_TEXT,
        "customer": text(),
        "customer_account": unsupported("its customers are no accounts"),
        "customer_creation": one_of("always", "if_required"),
        "customer_email": email(800),
        "customer_update": Params(dict.fromkeys(("address", "name", "shipping"), one_of("auto", "never"))),
        "discounts": list_of(Params({"coupon": text(), "promotion_code": text()})),
        "expires_at": integer,
        "integration_identifier": text(),
        "invoice_creation": Params({"enabled": boolean, "invoice_data": INVOICE_DATA}, required=("enabled",)),
        "line_items": list_of(_LINE),
        "locale": text(10),
        "managed_payments": unsupported("it manages no payments for others"),
        "metadata": metadata,
        "mode": one_of("payment", "setup", "subscription"),
        "name_collection": ON_THE_PAGE,
        "optional_items": ON_THE_PAGE,
        "origin_context": one_of("mobile_app", "web"),
        "payment_intent_data": _INTENT_DATA,
        "permissions": ON_THE_PAGE,
        "phone_number_collection": Params({"enabled": boolean}, required=("enabled",)),
        "redirect_on_completion": one_of("always", "if_required", "never"),
        "return_url": url,
        "setup_intent_data": Params(
            {
                "description": text(),
                "metadata": metadata,
                "on_behalf_of": unsupported("it keeps no connected accounts' books"),
            }
        ),
        "shipping_address_collection": Params(
            {"allowed_countries": list_of(text(2))}, required=("allowed_countries",)
        ),
        "shipping_options": checkout_shipping.OPTIONS,
        "submit_type": one_of("auto", "book", "donate", "pay", "subscribe"),
        "subscription_data": SUBSCRIPTION_DATA,
        "success_url": url,
        "tax_id_collection": checkout_collected.TAX_IDS,
        "ui_mode": _ui_mode,
        "wallet_options": Params({"link": Params({"display": one_of("auto", "never")})}),
    }
)
UPDATE: Final = Params(
    {
        "collected_information": _COLLECTED,
        "line_items": unsupported("make another session for other lines"),
        "metadata": metadata,
        "shipping_options": clearable(checkout_shipping.OPTIONS),
    }
)
LIST: Final = listing(
    created=created,
    customer=text(),
    customer_account=text(),
    customer_details=Params({"email": text()}, required=("email",)),
    payment_intent=text(),
    payment_link=text(),
    status=one_of("complete", "expired", "open"),
    subscription=text(),
)
