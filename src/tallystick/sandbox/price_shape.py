"""What a price looks like, what its calls take, and the checks between its parameters."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from tallystick.sandbox import periods
from tallystick.sandbox.errors import StripeError, invalid
from tallystick.sandbox.numbers import at_least, decimal_at_least_zero, decimal_of
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    currency,
    list_of,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.pricing import both_forms
from tallystick.sandbox.store import Obj

TAX_BEHAVIOR: Final = one_of("exclusive", "inclusive", "unspecified")
_LONGEST_YEARS: Final = {"day": 1095, "week": 156, "month": 36, "year": 3}


def _up_to(value: Any, name: str) -> int | None:
    return None if value == "inf" else at_least(1)(value, name)


def by_currency(inner: Check) -> Check:
    """A hash keyed by currency."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise invalid("Invalid object", param=name)
        return {currency(code, name): inner(item, f"{name}[{code}]") for code, item in value.items()}

    return check


TIERS: Final = list_of(
    Params(
        {
            "flat_amount": at_least(0),
            "flat_amount_decimal": decimal_at_least_zero,
            "unit_amount": at_least(0),
            "unit_amount_decimal": decimal_at_least_zero,
            "up_to": _up_to,
        },
        required=("up_to",),
    )
)
CUSTOM: Final = Params(
    {"enabled": boolean, "maximum": at_least(0), "minimum": at_least(0), "preset": at_least(0)},
    required=("enabled",),
)
OPTIONS: Final = by_currency(
    Params(
        {
            "custom_unit_amount": CUSTOM,
            "tax_behavior": TAX_BEHAVIOR,
            "tiers": TIERS,
            "unit_amount": at_least(0),
            "unit_amount_decimal": decimal_at_least_zero,
        }
    )
)
RECURRING: Final = Params(
    {
        "interval": one_of(*periods.INTERVALS),
        "interval_count": at_least(1),
        "meter": text(),
        "trial_period_days": at_least(0),
        "usage_type": one_of("licensed", "metered"),
    },
    required=("interval",),
)
_AMOUNTS: Final[dict[str, Check]] = {
    "unit_amount": at_least(0),
    "unit_amount_decimal": decimal_at_least_zero,
}
TRANSFORM: Final = Params(
    {"divide_by": at_least(1), "round": one_of("down", "up")}, required=("divide_by", "round")
)
DEFAULT_DATA: Final = Params(
    {
        **_AMOUNTS,
        "currency": currency,
        "currency_options": OPTIONS,
        "custom_unit_amount": CUSTOM,
        "metadata": metadata,
        "recurring": Params(
            {"interval": one_of(*periods.INTERVALS), "interval_count": at_least(1)}, required=("interval",)
        ),
        "tax_behavior": TAX_BEHAVIOR,
    },
    required=("currency",),
)
CREATE_FIELDS: Final[dict[str, Check]] = {
    **_AMOUNTS,
    "active": boolean,
    "billing_scheme": one_of("per_unit", "tiered"),
    "currency": currency,
    "currency_options": OPTIONS,
    "custom_unit_amount": CUSTOM,
    "lookup_key": text(200),
    "metadata": metadata,
    "nickname": text(),
    "product": text(),
    "recurring": RECURRING,
    "tax_behavior": TAX_BEHAVIOR,
    "tiers": TIERS,
    "tiers_mode": one_of("graduated", "volume"),
    "transfer_lookup_key": boolean,
    "transform_quantity": TRANSFORM,
}
UPDATE: Final = Params(
    {
        "active": boolean,
        "currency_options": clearable(OPTIONS),
        "lookup_key": clearable(text(200)),
        "metadata": metadata,
        "nickname": clearable(text()),
        "tax_behavior": TAX_BEHAVIOR,
        "transfer_lookup_key": boolean,
    }
)


def inline(*, recurring: bool = False, product_data: Check | None = None) -> Params:
    """``price_data`` of an item; ``recurring`` as a subscription's has, ``product_data`` as a line's."""
    fields: dict[str, Check] = {
        "currency": currency,
        "product": text(),
        "tax_behavior": TAX_BEHAVIOR,
        "unit_amount": signed_amount,
        "unit_amount_decimal": decimal_of,
    }
    required = ["currency"]
    if recurring:
        fields["recurring"] = DEFAULT_DATA.fields["recurring"]
        required.append("recurring")
    if product_data is None:
        required.append("product")
    else:
        fields["product_data"] = product_data
    return Params(fields, required=tuple(required))


def signed_amount(value: Any, name: str) -> Decimal:
    """An integer unit amount, below zero for a credit."""
    number = decimal_of(value, name)
    if number != number.to_integral_value():
        raise invalid(f"Invalid integer: {value}", param=name, code="parameter_invalid_integer")
    return number


def check(params: dict[str, Any]) -> None:
    """400 for parameters that do not go together."""
    if "unit_amount" in params and "unit_amount_decimal" in params:
        raise invalid(
            "You may only specify one of these parameters: unit_amount, unit_amount_decimal.",
            param="unit_amount_decimal",
        )
    custom = params.get("custom_unit_amount", {}).get("enabled", False)
    tiered_scheme = params.get("billing_scheme") == "tiered"
    if tiered_scheme:
        _check_tiered(params)
    elif "tiers" in params or "tiers_mode" in params:
        raise invalid("You must set billing_scheme to `tiered` to use tiers.", param="billing_scheme")
    elif not custom and "unit_amount" not in params and "unit_amount_decimal" not in params:
        raise _missing("unit_amount")
    if custom and ("recurring" in params or "unit_amount" in params or "transform_quantity" in params):
        raise invalid(
            "custom_unit_amount cannot be used with recurring, unit_amount or transform_quantity.",
            param="custom_unit_amount",
        )
    if "recurring" in params:
        _check_recurring(params["recurring"])


def _check_recurring(recurring: dict[str, Any]) -> None:
    interval, count = recurring["interval"], recurring.get("interval_count", 1)
    if count > _LONGEST_YEARS[interval]:
        raise invalid(
            f"Invalid interval_count: {count}. A price's interval may be at most three years.",
            param="recurring[interval_count]",
        )
    if recurring.get("meter") and recurring.get("usage_type", "licensed") != "metered":
        raise invalid("A price with a meter must have usage_type `metered`.", param="recurring[meter]")


def _check_tiered(params: dict[str, Any]) -> None:
    if "tiers" not in params:
        raise _missing("tiers")
    if "tiers_mode" not in params:
        raise _missing("tiers_mode")
    if "transform_quantity" in params:
        raise invalid("You cannot use transform_quantity with tiers.", param="transform_quantity")
    for name in ("unit_amount", "unit_amount_decimal"):
        if name in params:
            raise invalid("You may not specify a unit amount with tiers.", param=name)
    check_tiers(params["tiers"], "tiers")


def check_tiers(tiers: list[Obj], name: str) -> None:
    """400 unless the tiers rise, end in ``inf``, and each has an amount."""
    if not tiers or tiers[-1]["up_to"] is not None:
        raise invalid("The last tier must have `up_to` set to `inf`.", param=name)
    bounds = [tier["up_to"] for tier in tiers[:-1]]
    if None in bounds or bounds != sorted(set(bounds)):
        raise invalid("The tiers' `up_to` must be in ascending order.", param=name)
    amounts = ("unit_amount", "unit_amount_decimal", "flat_amount", "flat_amount_decimal")
    for index, tier in enumerate(tiers):
        if not any(amount in tier for amount in amounts):
            raise invalid("Each tier needs a unit amount or a flat amount.", param=f"{name}[{index}]")


def _missing(name: str) -> StripeError:
    return invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")


def shown_tiers(sent: list[Obj] | None) -> list[Obj] | None:
    """Tiers as the API shows them, both forms of each amount."""
    if sent is None:
        return None
    return [{**both_forms(tier, "flat_amount"), **both_forms(tier), "up_to": tier["up_to"]} for tier in sent]


def shown_custom(sent: Obj | None) -> Obj | None:
    """``custom_unit_amount`` as the API shows it."""
    if sent is None or not sent["enabled"]:
        return None
    return {name: sent.get(name) for name in ("maximum", "minimum", "preset")}


def shown_option(sent: Obj) -> Obj:
    """One currency's option as the API shows it."""
    option: Obj = {
        "custom_unit_amount": shown_custom(sent.get("custom_unit_amount")),
        "tax_behavior": sent.get("tax_behavior", "unspecified"),
        **both_forms(sent),
    }
    tiers = shown_tiers(sent.get("tiers"))
    return option if tiers is None else {**option, "tiers": tiers}
