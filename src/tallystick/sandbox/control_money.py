"""Control calls about money: disputes, payouts, bank debits, and what must not be: money that disagrees.

Amounts are minor units. Everything keeps the one law of the sandbox, that the balance is the sum of its
transactions: a transaction that is made to disagree with its charge moves the balance with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tallystick import money
from tallystick.sandbox import balance, bank_debits, disputes, payouts
from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

SETTLES: Final = {bank_debits.ANSWER, disputes.DECIDE, payouts.ADVANCE, payouts.FAIL}


def _text(control: Control, name: str, default: str | None = None) -> str:
    value = control.body.get(name, default)
    if not isinstance(value, str) or not value:
        raise StripeError(400, f"{name} must be a text.")
    return value


def _whole(control: Control, name: str, default: int | None = None) -> int:
    value = control.body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise StripeError(400, f"{name} must be a whole number of minor units.")
    return value


def _currency(control: Control) -> str:
    code = control.body.get("currency", control.sandbox.settings.default_currency)
    if code not in money.CURRENCIES:
        raise StripeError(400, f"{code!r} is not a currency that Stripe takes.")
    return str(code)


# Disputes


def open_dispute(control: Control) -> Obj:
    """Dispute ``charge`` (or the latest one of ``payment_intent``): ``amount``, ``reason``, ``inquiry``."""
    call = control.call()
    ident = control.body.get("charge")
    if ident is None:
        intent = call.find("payment_intent", _text(control, "payment_intent"))
        ident = intent["latest_charge"]
    charge = call.find("charge", str(ident))
    amount = None if "amount" not in control.body else _whole(control, "amount")
    reason = control.choice("reason", "fraudulent", *disputes.REASONS)
    inquiry = bool(control.body.get("inquiry", False))
    claim = disputes.Claim(reason, amount, inquiry=inquiry, final=bool(control.body.get("final", False)))
    return disputes.open_claim(call, charge, claim)


def win_dispute(control: Control) -> Obj:
    """Decide a dispute for the merchant; ``amount``: what comes back, all of it by default."""
    call = control.call()
    dispute = call.find("dispute")
    amount = None if "amount" not in control.body else _whole(control, "amount")
    disputes.settle(call, dispute, "won", amount)
    return dispute


def lose_dispute(control: Control) -> Obj:
    """Decide a dispute for the customer."""
    call = control.call()
    dispute = call.find("dispute")
    disputes.settle(call, dispute, "lost")
    return dispute


def escalate_dispute(control: Control) -> Obj:
    """Make a dispute that takes money of an inquiry."""
    call = control.call()
    dispute = call.find("dispute")
    disputes.settle(call, dispute, "escalated")
    return dispute


# Payouts


def run_payouts(control: Control) -> Obj:
    """Pay out now what is available, as the daily timer does; ``currency`` for one currency only."""
    call = control.call()
    codes = [_currency(control)] if "currency" in control.body else sorted(control.sandbox.balances)
    made = [payouts.pay_out(call, code) for code in codes]
    return {"payouts": [payout["id"] for payout in made if payout is not None]}


def advance_payout(control: Control) -> Obj:
    """Bring a payout to its next status now: pending, in transit, paid."""
    call = control.call()
    payout = call.find("payout")
    if not control.sandbox.timers.take(payouts.ADVANCE, payout["id"]):
        raise StripeError(400, f"The payout has a status of {payout['status']}; there is no next one.")
    payouts.advance(call, payout["id"])
    return payout


def fail_payout(control: Control) -> Obj:
    """Have the bank refuse a payout, also one that was paid; ``code``: why."""
    call = control.call()
    payout = call.find("payout")
    payouts.fail(call, payout, _text(control, "code", "could_not_process"))
    return payout


# Bank debits


def _debit(call: Call) -> Obj:
    intent = call.find("payment_intent")
    if intent["latest_charge"] is None:
        raise StripeError(400, "This PaymentIntent has no charge yet.")
    return call.find("charge", intent["latest_charge"])


def settle_debit(control: Control) -> Obj:
    """Have the bank pay the debit of a PaymentIntent that is processing."""
    call = control.call()
    bank_debits.succeed(call, _debit(call))
    return call.find("payment_intent")


def fail_debit(control: Control) -> Obj:
    """Have the bank refuse a debit (``code``); one that had succeeded is disputed (``reason``)."""
    call = control.call()
    charge = _debit(call)
    if charge["status"] == "succeeded":
        reason = control.choice("reason", "insufficient_funds", *disputes.REASONS)
        bank_debits.late_failure(call, charge, reason)
    else:
        bank_debits.fail(call, charge, _text(control, "code", "insufficient_funds"))
    return call.find("payment_intent")


# Money that nobody asked for


def add_movement(control: Control) -> Obj:
    """Book a balance transaction of any ``type``: ``amount``, ``fee``, ``currency``, ``source``, ….

    ``available``: at once, which is the default; ``reporting_category`` follows from the type if not given.
    ``fee_details``: the lines of the fee as ``{"type": …, "amount": …}``, in place of one of Stripe's own.
    """
    call, body = control.call(), control.body
    days = 0 if body.get("available", True) else control.sandbox.settings.available_after_days
    source = body.get("source")
    code = _currency(control)
    lines = [
        {**balance.fee_detail(_whole(line, "amount"), code), "type": _text(line, "type")}
        for line in _lines(control, "fee_details")
    ]
    txn = balance.enter(
        call,
        _text(control, "type", "adjustment"),
        _whole(control, "amount"),
        code,
        source=None if source is None else str(source),
        fee=sum(line["amount"] for line in lines) if lines else _whole(control, "fee", 0),
        available_on=balance.available_on(call.now, days),
        description=body.get("description"),
        category=body.get("reporting_category"),
        balance_type=_text(control, "balance_type", "payments"),
    )
    if lines:
        call.store.change(txn, fee_details=lines)
    return txn


def _lines(control: Control, name: str) -> list[Control]:
    """The objects of a list in the body, each to be read as a body."""
    given = control.body.get(name, [])
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise StripeError(400, f"{name} must be a list of objects.")
    return [replace(control, body=item) for item in given]


def change_movement(control: Control) -> Obj:
    """Make a balance transaction disagree with its source: other ``amount``, ``fee``, ``currency``, ``type``.

    Stripe never does this: it is what a reconciliation must find. No event tells of it.
    """
    call = control.call()
    txn = call.find("balance_transaction")
    amount, fee = _whole(control, "amount", txn["amount"]), _whole(control, "fee", txn["fee"])
    code = _currency(control) if "currency" in control.body else txn["currency"]
    balance.move(call, txn, txn["status"], -txn["net"])
    balance.move(call, {**txn, "currency": code}, txn["status"], amount - fee)
    details = [{**detail, "amount": fee, "currency": code} for detail in txn["fee_details"][:1]]
    values: Obj = {"amount": amount, "fee": fee, "net": amount - fee, "currency": code}
    if fee != txn["fee"] or code != txn["currency"]:
        values["fee_details"] = (details or [balance.fee_detail(fee, code)]) if fee else []
    for name in ("type", "reporting_category", "description", "source"):
        if name in control.body:
            values[name] = control.body[name]
    call.store.change(txn, **values)
    return txn


CONTROLS: Final[Controls] = {
    ("POST", "disputes"): open_dispute,
    ("POST", "disputes", "{}", "win"): win_dispute,
    ("POST", "disputes", "{}", "lose"): lose_dispute,
    ("POST", "disputes", "{}", "escalate"): escalate_dispute,
    ("POST", "payouts", "run"): run_payouts,
    ("POST", "payouts", "{}", "advance"): advance_payout,
    ("POST", "payouts", "{}", "fail"): fail_payout,
    ("POST", "payment_intents", "{}", "settle"): settle_debit,
    ("POST", "payment_intents", "{}", "fail"): fail_debit,
    ("POST", "balance_transactions"): add_movement,
    ("POST", "balance_transactions", "{}"): change_movement,
}
