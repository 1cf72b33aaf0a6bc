"""What an amount is made of: shipping, tax and discounts, as a PaymentIntent is told and shows them."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import Params, boolean, clearable, integer, text
from tallystick.sandbox.refusals import unsupported


def _count(value: Any, name: str) -> int:
    number = integer(value, name)
    if number < 0:
        raise invalid("Invalid non-negative integer", param=name, code="parameter_invalid_integer")
    return number


_SENT: Final = Params(
    {
        "discount_amount": clearable(_count),
        "enforce_arithmetic_validation": boolean,
        "line_items": unsupported("send sums, without line items"),
        "shipping": clearable(
            Params(
                {
                    "amount": clearable(_count),
                    "from_postal_code": clearable(text(10)),
                    "to_postal_code": clearable(text(10)),
                }
            )
        ),
        "tax": clearable(Params({"total_tax_amount": _count})),
    }
)


def amount_details(value: Any, name: str) -> dict[str, Any]:
    """``amount_details`` as sent, without what only steers the check."""
    sent = _SENT(value, name)
    sent.pop("enforce_arithmetic_validation", None)
    return sent


def merged(old: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """What ``sent`` makes of an intent's amount details; an unset part goes away."""
    return {key: item for key, item in {**old, **sent}.items() if item is not None}
