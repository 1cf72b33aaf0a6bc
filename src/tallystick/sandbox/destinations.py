"""Destination charges: payments to the platform of which a connected account gets its part.

The platform's balance sees, as at Stripe: the charge in full, less Stripe's fee; with its settlement a
transfer of all of it (or of ``transfer_data[amount]``) to the connected account; and, where there is an
``application_fee_amount``, that fee coming back.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from tallystick import money
from tallystick.sandbox import application_fees, transfers
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.numbers import at_least, exact
from tallystick.sandbox.params import Check, Params, clearable, text
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

CHANGED: Final[dict[str, Check]] = {
    "application_fee_amount": clearable(at_least(0)),
    "transfer_data": Params({"amount": at_least(1)}),
}
"""What an update and a capture take."""

NEW: Final[dict[str, Check]] = {
    **CHANGED,
    "on_behalf_of": text(),
    "transfer_data": Params({"amount": at_least(1), "destination": text()}, required=("destination",)),
}
"""What a creation takes."""


def destination(call: Call, ident: str, param: str) -> Obj:
    """The connected account that money is to be sent to; raises StripeError (400) where it cannot be."""
    account = call.store.get("account", ident)
    if account is None:
        raise refused(f"No such destination: '{ident}'", code="resource_missing", param=param)
    if account["capabilities"].get("transfers") != "active":
        raise refused(
            "Your destination account needs to have at least one of the following capabilities enabled:"
            " transfers, crypto_transfers, legacy_payments",
            code="insufficient_capabilities_for_transfer",
            param=param,
        )
    return account


def terms(call: Call, order: Obj, params: dict[str, Any]) -> Obj:
    """The fields of a PaymentIntent or a charge that say who gets which part, as ``params`` set them.

    ``order`` is the object as it is otherwise. Raises StripeError (400) for parts that do not fit together.
    """
    values: Obj = {}
    if "on_behalf_of" in params:
        if call.store.get("account", params["on_behalf_of"]) is None:
            raise refused(
                f"No such on_behalf_of account: '{params['on_behalf_of']}'",
                code="resource_missing",
                param="on_behalf_of",
            )
        values["on_behalf_of"] = params["on_behalf_of"]
    if "transfer_data" in params:
        sent = params["transfer_data"]
        if "destination" in sent:
            destination(call, sent["destination"], "transfer_data[destination]")
        elif order["transfer_data"] is None:
            raise invalid(
                "Missing required param: transfer_data[destination].",
                param="transfer_data[destination]",
                code="parameter_missing",
            )
        values["transfer_data"] = {**(order["transfer_data"] or {}), **sent}
    if "application_fee_amount" in params:
        values["application_fee_amount"] = params["application_fee_amount"]
    after = {**order, **values}
    _check(after)
    if after["transfer_data"] is not None and not after["transfer_group"] and order["id"]:
        values["transfer_group"] = f"group_{order['id']}"
    return values


def _check(order: Obj) -> None:
    sent, fee = order["transfer_data"], order["application_fee_amount"]
    if fee is not None and sent is None:
        raise invalid(
            "Can only apply an application_fee_amount when the PaymentIntent is attempting a direct payment"
            " (using an OAuth key or Stripe-Account header) or destination payment (using"
            " `transfer_data[destination]`).",
            param="application_fee_amount",
        )
    part = None if sent is None else sent.get("amount")
    if fee is not None and part is not None:
        raise invalid(
            "You may only specify one of these parameters: application_fee_amount, transfer_data[amount].",
            param="transfer_data[amount]",
        )
    for name, value in (("application_fee_amount", fee), ("transfer_data[amount]", part)):
        if value is not None and value > order["amount"]:
            raise invalid(
                f"The {name} ({value}) must not be more than the amount ({order['amount']}).", param=name
            )


def share(call: Call, charge: Obj, txn: Obj) -> Obj:
    """Send a charge's part on, now that it is booked as ``txn``; returns what is new of the charge."""
    sent = charge["transfer_data"]
    if sent is None:
        return {}
    part = sent["amount"]
    order = transfers.Order(
        amount=txn["amount"] if part is None else _settled(charge, txn, part),
        currency=txn["currency"],
        destination=sent["destination"],
        available_on=txn["available_on"],
        charge=charge["id"],
        group=charge["transfer_group"],
    )
    transfer = transfers.make(call, order)
    values = {"transfer": transfer["id"]}
    fee = _settled(charge, txn, charge["application_fee_amount"] or 0)
    if fee:
        made = application_fees.make(call, transfer, fee, available_on=txn["available_on"])
        values["application_fee"] = made["id"]
    return values


def _settled(charge: Obj, txn: Obj, amount: int) -> int:
    """Minor units of the charge's currency in those of its balance transaction, no more than was captured."""
    capped: int = min(amount, charge["amount_captured"])
    if txn["exchange_rate"] is None:
        return capped
    return money.convert(capped, charge["currency"], txn["currency"], exact(txn["exchange_rate"]))


def check_single_capture(order: Obj, *, final: bool) -> None:
    """Raises StripeError (400) for one of several captures of a destination charge."""
    if order["transfer_data"] is not None and not final:
        raise refused(
            "The sandbox captures a payment for a connected account once only.", param="final_capture"
        )


def give_back(call: Call, refund: Obj, charge: Obj, before: int) -> Obj:
    """What a refund asks back of the connected account (``reverse_transfer``) or gives back to it
    (``refund_application_fee``), in proportion; ``before`` is what of the charge was refunded until now.

    Returns what is new of the refund; raises StripeError (400) where there is nothing to give back.
    """
    after, whole = before + refund["amount"], charge["amount_captured"]

    values: Obj = {}
    if call.params.get("reverse_transfer"):
        if charge.get("transfer") is None:
            raise invalid(
                f"Charge {charge['id']} has no transfer that could be reversed.", param="reverse_transfer"
            )
        transfer = call.find("transfer", charge["transfer"])
        amount = between(transfer["amount"], before, after, whole)
        if amount:
            reversal = transfers.reverse(call, transfer, amount, refund=refund["id"])
            values["transfer_reversal"] = reversal["id"]
    if call.params.get("refund_application_fee"):
        fee = application_fees.of_charge(call, charge)
        amount = between(fee["amount"], before, after, whole)
        if amount:
            application_fees.give_back(call, fee, amount)
    return values


def between(amount: int, before: int, after: int, whole: int) -> int:
    """What of ``amount`` falls to the step from ``before`` to ``after`` of ``whole``; all steps make it."""

    def share(part: int) -> int:
        return money.round_minor(Decimal(amount * part) / Decimal(whole))

    return share(after) - share(before)
