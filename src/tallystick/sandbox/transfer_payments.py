"""PaymentIntents paid by bank transfer: customers send money first, and their cash is put to what they owe.

A confirmed PaymentIntent of type ``customer_balance`` shows where to send the money (requires_action). Funds
that arrive (``cash_balance``) pay the customer's waiting PaymentIntents, the oldest first:
payment_intent.partially_funded until the rest has come. The cash is the customer's: it reaches the account's
balance as a ``payment`` when a PaymentIntent is paid in full.
Source: https://docs.stripe.com/payments/customer-balance
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import balance, cash_balance, charge_shape, destinations
from tallystick.sandbox.errors import refused
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import Params, currency, one_of
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

KIND: Final = "customer_balance"
ACTION: Final = "display_bank_transfer_instructions"
_TRANSFER: Final = {"usd": "us", "eur": "eu", "gbp": "gb", "jpy": "jp", "mxn": "mx"}


def held(call: Call, customer: Obj, code: str) -> int:
    """A customer's cash in a currency, minor units."""
    amount: int = (call.store.hidden(customer).get("cash") or {}).get(code, 0)
    return amount


def _enter(call: Call, intent_or_charge: Obj, kind: str, amount: int, details: Obj) -> None:
    """Enter a movement of the cash of an object's customer, with its event."""
    customer = call.find("customer", intent_or_charge["customer"])
    code = intent_or_charge["currency"]
    ending = held(call, customer, code) + amount
    call.store.hide(customer, cash={**(call.store.hidden(customer).get("cash") or {}), code: ending})
    txn: Obj = {
        "id": call.sandbox.ids.new("ccsbtxn"),
        "object": cash_balance.KIND,
        "created": call.now,
        "currency": code,
        "customer": customer["id"],
        "customer_account": None,
        "ending_balance": ending,
        "livemode": False,
        "net_amount": amount,
        "type": kind,
        kind: details,
    }
    call.store.put(txn)
    call.emit("customer_cash_balance_transaction.created", txn)


def ask(call: Call, intent: Obj) -> None:
    """Confirm a PaymentIntent that is paid by bank transfer: what is there pays, the rest is asked for."""
    code = intent["currency"]
    if intent["customer"] is None:
        raise refused("A payment by bank transfer needs a customer.", param="customer")
    if code not in _TRANSFER:
        raise refused(f"Bank transfers in {code} are not supported.", param="currency")
    reference = call.sandbox.ids.chars(12).upper()
    instructions: Obj = {
        "amount_remaining": intent["amount"],
        "currency": code,
        "financial_addresses": [],
        "hosted_instructions_url": f"{call.base_url}/bank_transfers/{reference}",
        "reference": reference,
        "type": f"{_TRANSFER[code]}_bank_transfer",
    }
    action = {ACTION: instructions, "type": ACTION}
    call.store.change(intent, status="requires_action", next_action=action, last_payment_error=None)
    customer = call.find("customer", intent["customer"])
    here = min(held(call, customer, code), intent["amount"])
    if here < intent["amount"]:
        call.emit("payment_intent.requires_action", intent)
    if here:
        apply(call, intent, here)


def apply(call: Call, intent: Obj, amount: int) -> None:
    """Put ``amount`` of the customer's cash to a PaymentIntent that waits for a bank transfer."""
    _enter(call, intent, "applied_to_payment", -amount, {"payment_intent": intent["id"]})
    instructions = intent["next_action"][ACTION]
    left = instructions["amount_remaining"] - amount
    if left:
        action = {ACTION: {**instructions, "amount_remaining": left}, "type": ACTION}
        call.store.change(intent, next_action=action)
        call.emit("payment_intent.partially_funded", intent)
        return
    method = call.find("payment_method", intent["payment_method"])
    charge = charge_shape.make_transfer(call, intent, method)
    txn = balance.book(call, "payment", charge, amount=charge["amount"], fee=True)
    call.store.change(charge, balance_transaction=txn["id"], **destinations.share(call, charge, txn))
    call.store.change(
        intent,
        status="succeeded",
        latest_charge=charge["id"],
        next_action=None,
        amount_received=charge["amount"],
    )
    call.emit("charge.succeeded", charge)
    call.emit("payment_intent.succeeded", intent)


def give_back(call: Call, refund: Obj, charge: Obj) -> None:
    """A refund of a payment by bank transfer goes to the customer's cash."""
    _enter(call, charge, "refunded_from_payment", refund["amount"], {"refund": refund["id"]})


def let_go(call: Call, intent: Obj) -> None:
    """What was put to a PaymentIntent that is canceled is the customer's again."""
    back = intent["amount"] - intent["next_action"][ACTION]["amount_remaining"]
    if back:
        _enter(call, intent, "unapplied_from_payment", back, {"payment_intent": intent["id"]})


def waits(intent: Obj) -> bool:
    """Whether a PaymentIntent waits for a bank transfer."""
    return bool(intent["status"] == "requires_action" and intent["next_action"]["type"] == ACTION)


def funded(call: Call, cash: Obj) -> None:
    """Listener: money has come; it pays what waits, unless this customer's cash is put to use by hand."""
    customer = call.find("customer", cash["customer"])
    if call.store.hidden(customer).get("cash_manual"):
        return
    for intent in call.store.tables["payment_intent"].having("customer", customer["id"]):
        here = held(call, customer, intent["currency"])
        if here and waits(intent):
            apply(call, intent, min(here, intent["next_action"][ACTION]["amount_remaining"]))


LISTENERS: Final = {"cash_balance.funds_available": funded}


def apply_call(call: Call) -> Obj:
    """POST /v1/payment_intents/{id}/apply_customer_balance: all that fits, or ``amount``."""
    intent, params = call.find("payment_intent"), call.params
    if not waits(intent):
        raise refused(
            "This PaymentIntent does not wait for a bank transfer.", code="payment_intent_unexpected_state"
        )
    if params.get("currency", intent["currency"]) != intent["currency"]:
        raise refused("The currency must be the PaymentIntent's.", param="currency")
    here = held(call, call.find("customer", intent["customer"]), intent["currency"])
    most = min(here, intent["next_action"][ACTION]["amount_remaining"])
    amount = params.get("amount", most)
    if not 1 <= amount <= most:
        raise refused("The customer's cash balance does not have this amount to apply.", param="amount")
    apply(call, intent, amount)
    return intent


def transfer_type(value: Any, name: str) -> str:
    """The kind of bank transfer; ``jp_bank_account`` is what Stripe's CLI calls the Japanese one."""
    kinds = [f"{code}_bank_transfer" for code in _TRANSFER.values()]
    sent: str = one_of(*kinds, "jp_bank_account")(value, name)
    return sent.replace("account", "transfer")


ROUTES: Final = [
    Route(
        "POST",
        "/v1/payment_intents/{}/apply_customer_balance",
        apply_call,
        Params({"amount": at_least(1), "currency": currency}),
    ),
]
