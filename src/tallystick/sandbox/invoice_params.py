"""What the calls of invoices take."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import discounts, item_params, price_shape, product_shape, tax_rates
from tallystick.sandbox.numbers import at_least, percentage
from tallystick.sandbox.params import (
    ADDRESS,
    Check,
    Params,
    boolean,
    clearable,
    currency,
    integer,
    list_of,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.store import Obj

_LIABILITY: Final = Params({"account": text(), "type": one_of("account", "self")}, required=("type",))
_METHODS: Final = (
    "ach_credit_transfer ach_debit acss_debit affirm alipay amazon_pay au_becs_debit bacs_debit bancontact"
    " billie boleto card cashapp crypto custom customer_balance eps fpx giropay grabpay ideal"
    " jp_credit_transfer kakao_pay klarna konbini kr_card link mb_way multibanco naver_pay nz_bank_account"
    " p24 pay_by_bank payco paynow paypal payto pix promptpay revolut_pay satispay sepa_credit_transfer"
    " sepa_debit sofort swish twint upi us_bank_account wechat_pay"
).split()


_CONNECT: Final = unsupported("it has one account and no Connect")

_CARD_OPTIONS: Final = Params({"request_three_d_secure": one_of("any", "automatic", "challenge")})
PAYMENT_SETTINGS: Final = Params(
    {
        "default_mandate": clearable(text()),
        "payment_method_options": clearable(Params({"card": clearable(_CARD_OPTIONS)})),
        "payment_method_types": clearable(list_of(one_of(*_METHODS))),
    }
)
RENDERING: Final = Params(
    {
        "amount_tax_display": clearable(one_of("exclude_tax", "include_inclusive_tax")),
        "pdf": Params({"page_size": one_of("a4", "auto", "letter")}),
        "template": unsupported("it has no rendering templates"),
        "template_version": unsupported("it has no rendering templates"),
    }
)
SHIPPING_DETAILS: Final = Params(
    {"address": ADDRESS, "name": text(), "phone": clearable(text())}, required=("address", "name")
)
_FIXED: Final = Params({"amount": at_least(0), "currency": currency}, required=("amount", "currency"))
SHIPPING_COST: Final = Params(
    {
        "shipping_rate": unsupported("it has no shipping rates; use shipping_rate_data"),
        "shipping_rate_data": Params(
            {
                "display_name": text(100),
                "fixed_amount": _FIXED,
                "metadata": metadata,
                "tax_behavior": price_shape.TAX_BEHAVIOR,
                "type": one_of("fixed_amount"),
            },
            required=("display_name",),
        ),
    }
)
_CUSTOM: Final = list_of(Params({"name": text(40), "value": text(140)}, required=("name", "value")))
AUTOMATIC_TAX: Final = Params({"enabled": boolean, "liability": _LIABILITY}, required=("enabled",))

_FIELDS: Final[dict[str, Check]] = {
    "account_tax_ids": clearable(list_of(text())),
    "application_fee_amount": _CONNECT,
    "auto_advance": boolean,
    "automatic_tax": AUTOMATIC_TAX,
    "automatically_finalizes_at": integer,
    "collection_method": one_of("charge_automatically", "send_invoice"),
    "custom_fields": clearable(_CUSTOM),
    "days_until_due": at_least(0),
    "default_payment_method": clearable(text()),
    "default_source": clearable(text()),
    "default_tax_rates": item_params.TAX_RATES,
    "description": clearable(text(1500)),
    "discounts": discounts.SENT,
    "due_date": integer,
    "effective_at": clearable(integer),
    "footer": clearable(text()),
    "issuer": Params({"account": text(), "type": one_of("account", "self")}, required=("type",)),
    "metadata": metadata,
    "number": clearable(text(26)),
    "on_behalf_of": _CONNECT,
    "payment_settings": PAYMENT_SETTINGS,
    "rendering": RENDERING,
    "shipping_cost": clearable(SHIPPING_COST),
    "shipping_details": clearable(SHIPPING_DETAILS),
    "statement_descriptor": clearable(text(22)),
    "transfer_data": _CONNECT,
}
CREATE: Final = Params(
    {
        **_FIELDS,
        "currency": currency,
        "customer": text(),
        "from_invoice": unsupported("it makes no revisions; void and make a new one"),
        "pending_invoice_items_behavior": one_of("exclude", "include", "include_and_require"),
        "subscription": text(),
    }
)
UPDATE: Final = Params(_FIELDS)
FINALIZE: Final = Params({"auto_advance": boolean})
PAY: Final = Params(
    {
        "forgive": unsupported("its sources have no balance of their own"),
        "mandate": unsupported("it finds the mandate of a bank debit itself"),
        "off_session": boolean,
        "paid_out_of_band": boolean,
        "payment_method": text(),
        "source": text(),
    }
)
ATTACH: Final = Params({"payment_intent": text(), "payment_record": unsupported("it has no payment records")})

_REASONS: Final = one_of(
    "customer_exempt",
    "not_collecting",
    "not_subject_to_tax",
    "not_supported",
    "portion_product_exempt",
    "portion_reduced_rated",
    "portion_standard_rated",
    "product_exempt",
    "product_exempt_holiday",
    "proportionally_rated",
    "reduced_rated",
    "reverse_charge",
    "standard_rated",
    "taxable_basis_reduced",
    "zero_rated",
)
_RATE_DATA: Final = Params(
    {
        "country": text(2),
        "description": text(),
        "display_name": text(50),
        "inclusive": boolean,
        "jurisdiction": text(200),
        "jurisdiction_level": one_of("city", "country", "county", "district", "multiple", "state"),
        "percentage": percentage,
        "state": text(),
        "tax_type": tax_rates.TAX_TYPE,
    },
    required=("display_name", "inclusive", "percentage"),
)
TAX_AMOUNTS: Final = clearable(
    list_of(
        Params(
            {
                "amount": integer,
                "tax_rate_data": _RATE_DATA,
                "taxability_reason": _REASONS,
                "taxable_amount": integer,
            },
            required=("amount", "tax_rate_data", "taxable_amount"),
        )
    )
)
LINE_FIELDS: Final[dict[str, Check]] = {
    **{
        name: check
        for name, check in item_params.ITEM_FIELDS.items()
        if name not in ("tax_behavior", "tax_code", "unit_amount", "unit_amount_decimal")
    },
    "price_data": price_shape.inline(product_data=product_shape.DATA),
    "tax_amounts": TAX_AMOUNTS,
}
LINE: Final = Params(LINE_FIELDS)
ADD_LINES: Final = Params(
    {
        "invoice_metadata": metadata,
        "lines": list_of(Params({**LINE_FIELDS, "invoice_item": text()})),
    },
    required=("lines",),
)
UPDATE_LINES: Final = Params(
    {
        "invoice_metadata": metadata,
        "lines": list_of(Params({**LINE_FIELDS, "id": text()}, required=("id",))),
    },
    required=("lines",),
)
REMOVE_LINES: Final = Params(
    {
        "invoice_metadata": metadata,
        "lines": list_of(
            Params({"behavior": one_of("delete", "unassign"), "id": text()}, required=("behavior", "id"))
        ),
    },
    required=("lines",),
)


def automatic_tax(sent: Obj, customer: Obj) -> Obj:
    """``automatic_tax`` as an invoice shows it; nothing is collected, the account is registered nowhere."""
    located = bool((customer["address"] or {}).get("country"))
    enabled = sent["enabled"]
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": sent.get("liability", {"type": "self"}) if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": ("complete" if located else "requires_location_inputs") if enabled else None,
    }
