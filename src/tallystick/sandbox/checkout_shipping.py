"""The ways to ship that a Checkout Session offers, and the one that its customer has chosen."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import shipping_rates
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import Params, exactly_one, list_of, text
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_MOST: Final = 5

OPTIONS: Final = list_of(Params({"shipping_rate": text(), "shipping_rate_data": shipping_rates.DATA}))


def offered(call: Call, sent: list[dict[str, Any]], code: str) -> list[Obj]:
    """``shipping_options`` as a session in a currency shows them; raises StripeError (400)."""
    if len(sent) > _MOST:
        raise invalid(f"You can pass at most {_MOST} shipping options.", param="shipping_options")
    shown = []
    for index, option in enumerate(sent):
        name = f"shipping_options[{index}]"
        if exactly_one(option, "shipping_rate", "shipping_rate_data") == "shipping_rate":
            rate = call.find(shipping_rates.KIND, option["shipping_rate"], param=f"{name}[shipping_rate]")
        else:
            param = f"{name}[shipping_rate_data][fixed_amount]"
            rate = shipping_rates.make(call, option["shipping_rate_data"], param)
        if not rate["active"]:
            raise invalid(f"The shipping rate {rate['id']} is inactive.", param=name)
        if rate["fixed_amount"]["currency"] != code:
            raise invalid(f"The shipping rate {rate['id']} is not in {code}, as the lines are.", param=name)
        shown.append({"shipping_amount": rate["fixed_amount"]["amount"], "shipping_rate": rate["id"]})
    return shown


def choosing(session: Obj, options: list[Obj], rate: str | None = None) -> Obj:
    """What becomes of a priced session with these options: the first is chosen, or the one with ``rate``."""
    chosen = next((item for item in options if rate in (None, item["shipping_rate"])), None)
    if rate is not None and chosen is None:
        raise invalid(f"This Checkout Session does not offer {rate}.", param="shipping_rate")
    before: int = session["total_details"]["amount_shipping"]
    amount = chosen["shipping_amount"] if chosen else 0
    cost = {"amount_subtotal": amount, "amount_tax": 0, "amount_total": amount}
    return {
        "amount_total": session["amount_total"] - before + amount,
        "shipping_cost": {**cost, "shipping_rate": chosen["shipping_rate"]} if chosen else None,
        "shipping_options": options,
        "total_details": {**session["total_details"], "amount_shipping": amount},
    }
