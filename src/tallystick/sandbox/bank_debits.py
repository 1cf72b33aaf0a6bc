"""Payments from bank accounts: pending for days, then succeeded or failed, or drawn back by a dispute.

payment_intent.processing and charge.pending; later charge.succeeded > payment_intent.succeeded, or
charge.failed > payment_intent.payment_failed. The money is booked as ``payment`` when the debit is sent; a
failure books ``payment_failure_refund``, which brings the fee back as well.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import (
    balance,
    bank_accounts,
    charge_shape,
    destinations,
    disputes,
    mandates,
    payment_methods,
)
from tallystick.sandbox.errors import StripeError, doc_url, refused
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

ANSWER: Final = "answer_bank_debit"
_SLOW: Final = 10
"""How many times longer the slow test accounts take."""


def submit(call: Call, intent: Obj, method: Obj, mandate_data: dict[str, Any] | None) -> Obj:
    """Send the debit of a PaymentIntent to the bank; returns the pending charge."""
    account = bank_accounts.stored(method["type"], call.store.hidden(method)["number"])
    expected = bank_accounts.CURRENCY_OF[account.kind]
    if intent["currency"] != expected:
        raise refused(
            f"The currency provided ({intent['currency']}) is invalid for {account.kind}, which only supports"
            f" {expected}.",
            param="currency",
        )
    options = intent["payment_method_options"].get(account.kind, {})
    keeps = (intent["setup_future_usage"] or options.get("setup_future_usage") or "none") != "none"
    single = None if keeps or method["customer"] is not None else intent
    mandate = mandates.given(call, method, mandate_data, once=single)
    charge = charge_shape.make_debit(call, intent, method, account, mandate["id"])
    txn = balance.book(call, "payment", charge, amount=charge["amount"], fee=True)
    call.store.change(charge, balance_transaction=txn["id"])
    call.store.change(
        intent,
        status="processing",
        latest_charge=charge["id"],
        next_action=None,
        last_payment_error=None,
    )
    if not account.stuck:
        delay = call.sandbox.settings.bank_debit_delay
        call.after(delay * (_SLOW if account.slow else 1), ANSWER, charge["id"])
    call.emit("charge.pending", charge)
    call.emit("payment_intent.processing", intent)
    return charge


def answer(call: Call, charge_id: str) -> None:
    """Timer: the bank answers as the test account says."""
    charge = call.find("charge", charge_id)
    method = call.find("payment_method", charge["payment_method"])
    account = payment_methods.account_of(call, method)
    if account is None or charge["status"] != "pending":
        return
    if account.failure:
        fail(call, charge, account.failure)
        return
    succeed(call, charge)
    if account.dispute:
        late_failure(call, charge, account.dispute)


def _check_pending(call: Call, charge: Obj) -> None:
    if charge["status"] != "pending":
        raise refused(f"Charge {charge['id']} is not pending: its status is {charge['status']}.")
    call.sandbox.timers.take(ANSWER, charge["id"])


def succeed(call: Call, charge: Obj) -> None:
    """The bank has paid; raises StripeError (400) for a charge that does not wait for it."""
    _check_pending(call, charge)
    previous = call.store.change(charge, status="succeeded", paid=True)
    booked = call.find("balance_transaction", charge["balance_transaction"])
    previous |= call.store.change(charge, **destinations.share(call, charge, booked))
    call.emit("charge.succeeded", charge, previous)
    intent = _intent(call, charge)
    call.store.change(intent, status="succeeded", amount_received=charge["amount"])
    call.emit("payment_intent.succeeded", intent)


def fail(call: Call, charge: Obj, code: str) -> None:
    """The bank refuses; raises StripeError (400) for a charge that does not wait for it."""
    _check_pending(call, charge)
    _take_back(call, charge, code)
    intent = _intent(call, charge)
    method = call.find("payment_method", charge["payment_method"])
    call.store.change(
        intent,
        status="requires_payment_method",
        payment_method=None,
        last_payment_error={
            "charge": charge["id"],
            "code": code,
            "doc_url": doc_url(code),
            "message": charge["failure_message"],
            "payment_method": dict(method),
            "type": "invalid_request_error",
        },
    )
    call.emit("payment_intent.payment_failed", intent)


def _take_back(call: Call, charge: Obj, code: str) -> None:
    booked = call.find("balance_transaction", charge["balance_transaction"])
    txn = balance.enter(
        call,
        "payment_failure_refund",
        -booked["amount"],
        booked["currency"],
        source=charge["id"],
        fee=-booked["fee"],
        available_on=max(call.now, booked["available_on"]),
        description="REFUND FOR FAILED PAYMENT",
    )
    call.store.change(
        charge,
        status="failed",
        captured=False,
        amount_captured=0,
        failure_balance_transaction=txn["id"],
        failure_code=code,
        failure_message=bank_accounts.failure_message(code),
        receipt_url=None,
    )
    call.emit("charge.failed", charge)


def cancel(call: Call, charge: Obj) -> None:
    """Call a pending debit back before the bank has answered."""
    _check_pending(call, charge)
    _take_back(call, charge, "debit_canceled")


def late_failure(call: Call, charge: Obj, reason: str) -> Obj:
    """A debit that had succeeded comes back: a dispute against which nothing can be said."""
    if charge["payment_method_details"]["type"] not in bank_accounts.KINDS:
        raise StripeError(400, f"Charge {charge['id']} is no bank debit.")
    return disputes.open_claim(call, charge, disputes.Claim(reason, final=True))


def _intent(call: Call, charge: Obj) -> Obj:
    return call.find("payment_intent", charge["payment_intent"])


ACTIONS: Final = {ANSWER: answer}
