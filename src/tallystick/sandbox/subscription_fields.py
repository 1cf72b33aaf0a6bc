"""Parts of what subscription calls take: items, prices on the spot, payment settings, and what is refused.

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
    currency,
    integer,
    list_of,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.periods import INTERVALS


def unsupported(why: str) -> Check:
    """A parameter that Stripe knows and the sandbox does not act upon; to unset it does no harm."""

    def check(value: Any, name: str) -> None:
        if value != "":
            raise invalid(f"The sandbox does not support {name}: {why}.", param=name)

    return check


CONNECT: Final = unsupported("it has one account and no Connect")
THRESHOLDS: Final = unsupported("it bills by period, not by threshold")


def automatic_tax(value: Any, name: str) -> dict[str, Any]:
    sent: dict[str, Any] = Params({"enabled": boolean, "liability": _LIABILITY}, required=("enabled",))(
        value, name
    )
    if sent["enabled"]:
        raise invalid(
            f"The sandbox does not support {name}[enabled]: it has no Stripe Tax; use tax rates.",
            param=f"{name}[enabled]",
        )
    return sent


_LIABILITY: Final = Params({"account": CONNECT, "type": one_of("self")}, required=("type",))
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
    "billing_thresholds": THRESHOLDS,
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


def now_or_time(value: Any, name: str) -> int | str:
    return "now" if value == "now" else integer(value, name)


def cancel_at(value: Any, name: str) -> int | str:
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
