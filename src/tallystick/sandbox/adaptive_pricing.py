"""Adaptive pricing: a Checkout Session's customer sees and pays another currency than the session's.

Since basil everything is in the session's currency nevertheless, the PaymentIntent, its charge and its
refunds too; ``presentment_details`` say what the customer paid. Stripe bears the risk of the rate.
"""

from __future__ import annotations

from tallystick import money
from tallystick.sandbox.errors import refused
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def presented(call: Call, session: Obj, code: str | None) -> Obj | None:
    """``presentment_details`` of a session in a currency; raises StripeError (400) if it is not offered."""
    if code is None or code == session["currency"]:
        return None
    if session["mode"] != "payment" or not session["adaptive_pricing"]["enabled"]:
        raise refused("This Checkout Session has no adaptive pricing.", param="presentment_currency")
    rate = call.sandbox.settings.exchange_rate(session["currency"], code)
    if rate is None:
        raise refused(
            f"The sandbox has no exchange rate from {session['currency']} to {code}; set exchange_rates"
            " through POST /_control/settings.",
            param="presentment_currency",
        )
    amount = money.convert(session["amount_total"], session["currency"], code, rate)
    return {"presentment_amount": amount, "presentment_currency": code}


def shown(of: Obj, amount: int | None = None) -> Obj:
    """The field as a PaymentIntent, charge or refund has it: of a whole, or of an ``amount`` of a charge."""
    details = of.get("presentment_details")
    if details is None:
        return {}
    if amount is not None:
        part = money.proportion(amount, details["presentment_amount"], of["amount"])
        details = {**details, "presentment_amount": part}
    return {"presentment_details": details}
