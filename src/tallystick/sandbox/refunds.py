"""Refunds: at once, pending, failing later, or letting go of what was never captured."""

from __future__ import annotations

from typing import Any, Final

from tallystick import money
from tallystick.sandbox import (
    adaptive_pricing,
    balance,
    bank_accounts,
    captures,
    confirmation,
    destinations,
    disputes,
    payment_methods,
    transfer_payments,
)
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.params import (
    exactly_one,
    merged_metadata,
)
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("refund", "refund", indexes=("charge", "payment_intent"))]

FINISH: Final = "finish_refund"


def _new(call: Call, charge: Obj, amount: int, params: dict[str, Any], **values: Any) -> Obj:
    refund: Obj = {
        "id": call.sandbox.ids.new("re", of=charge["id"]),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": call.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "destination_details": _destination(charge),
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
        **adaptive_pricing.shown(charge, amount),
        **values,
    }
    return refund


_TRANSFERS: Final = {bank_accounts.US: "us_bank_transfer", bank_accounts.SEPA: "eu_bank_transfer"}


def _destination(charge: Obj) -> Obj:
    if charge["payment_method_details"]["type"] == transfer_payments.KIND:
        return {"customer_cash_balance": {}, "type": "customer_cash_balance"}
    kind = _TRANSFERS.get(charge["payment_method_details"]["type"])
    if kind is not None:
        return {kind: {"reference": None, "reference_status": "pending"}, "type": kind}
    card = {
        "reference_status": "pending",
        "reference_type": "acquirer_reference_number",
        "type": "refund",
    }
    return {"card": card, "type": "card"}


def let_go(
    call: Call, charge: Obj, params: dict[str, Any] | None = None, *, event: str = "charge.refunded"
) -> Obj:
    """Reverse an uncaptured charge: a refund that moves no money. Emits both objects' events."""
    call.sandbox.timers.take(captures.EXPIRE, charge["id"])
    details = {"card": {"type": "reversal"}, "type": "card"}
    refund = _new(call, charge, charge["amount"], params or {}, destination_details=details)
    call.store.put(refund)
    previous = call.store.change(charge, amount_refunded=charge["amount"], refunded=True)
    call.emit("refund.created", refund)
    call.emit(event, charge, previous)
    return refund


def expire(call: Call, charge_id: str) -> None:
    """Timer: an authorization that was never captured runs out, and its payment is canceled."""
    charge = call.find("charge", charge_id)
    if charge["captured"]:  # in part, with more to come that never came
        intent = call.find("payment_intent", charge["payment_intent"])
        captures.capture(call, intent, 0)
        return
    let_go(call, charge, {"reason": "expired_uncaptured_charge"}, event="charge.expired")
    _cancel_payment(call, charge, "automatic")


def _cancel_payment(call: Call, charge: Obj, reason: str | None) -> None:
    """Cancel the PaymentIntent of a charge that is let go of; older charges have none."""
    if charge["payment_intent"] is not None:
        intent = call.find("payment_intent", charge["payment_intent"])
        confirmation.mark_canceled(call, intent, reason)


def create(call: Call) -> Obj:
    """POST /v1/refunds, of a charge or of a PaymentIntent's latest charge."""
    params = call.params
    if exactly_one(params, "charge", "payment_intent") == "charge":
        charge = call.find("charge", params["charge"])
    else:
        intent = call.find("payment_intent", params["payment_intent"])
        if intent["latest_charge"] is None:
            raise refused(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = call.find("charge", intent["latest_charge"])
    if charge["status"] == "pending":
        raise refused(
            f"Charge {charge['id']} is pending; it can be refunded once it has succeeded.",
            code="charge_not_refundable",
        )
    if charge["status"] == "failed":
        raise refused(f"Charge {charge['id']} failed; it cannot be refunded.", param="charge")
    if charge["refunded"]:
        raise refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not charge["captured"]:
        return _refund_uncaptured(call, charge)
    disputes.check_refundable(call, charge)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    _check(charge, amount, left)
    return _refund(call, charge, amount)


def create_of_charge(call: Call) -> Obj:
    """POST /v1/charges/{id}/refunds, the older way."""
    call.params["charge"] = call.find("charge")["id"]
    return create(call)


def _check(charge: Obj, amount: int, left: int) -> None:
    code = charge["currency"]
    if amount < 1:
        raise invalid("Invalid positive integer", param="amount", code="parameter_invalid_integer")
    if amount > left:
        asked, unrefunded = money.decimal_text(amount, code), money.decimal_text(left, code)
        raise refused(
            f"Refund amount ({asked} {code}) is greater than unrefunded amount on charge"
            f" ({unrefunded} {code})",
            param="amount",
        )
    step = money.currency(code).step
    if amount % step:
        raise invalid(f"An amount in {code} must be a multiple of {step} minor units.", param="amount")


def _refund_uncaptured(call: Call, charge: Obj) -> Obj:
    """A refund of what was only authorized cancels the payment."""
    if call.params.get("amount", charge["amount"]) != charge["amount"]:
        raise refused(
            "You cannot partially refund an uncaptured charge. Instead, capture the charge for an amount less"
            " than the original amount",
            param="amount",
        )
    refund = let_go(call, charge, call.params)
    _cancel_payment(call, charge, None)
    return refund


def _refund(call: Call, charge: Obj, amount: int) -> Obj:
    """Pay back; the money leaves the balance at once, whatever becomes of the refund."""
    captures.settle_now(call, charge)
    method = call.find("payment_method", charge["payment_method"])
    bank = method["type"] != "card"
    to_cash = method["type"] == transfer_payments.KIND
    pending = (bank and not to_cash) or payment_methods.card_of(call, method).refund == "pending"
    values = {"pending_reason": "processing", "status": "pending"} if pending else {}
    refund = _new(call, charge, amount, call.params, **values)
    call.store.put(refund)
    txn = balance.book(call, "payment_refund" if bank else "refund", refund, amount=-amount)
    call.store.change(refund, balance_transaction=txn["id"])
    total = charge["amount_refunded"] + amount
    call.store.change(refund, **destinations.give_back(call, refund, charge, charge["amount_refunded"]))
    previous = call.store.change(charge, amount_refunded=total, refunded=total == charge["amount_captured"])
    if to_cash:
        transfer_payments.give_back(call, refund, charge)
    else:
        call.after(call.sandbox.settings.refund_delay, FINISH, refund["id"])
    call.emit("refund.created", refund)
    call.emit("charge.refunded", charge, previous)
    return refund


def finish(call: Call, refund_id: str) -> None:
    """Timer: a pending refund succeeds, a doomed one fails, any other one learns its reference number."""
    refund = call.find("refund", refund_id)
    charge = call.find("charge", refund["charge"])
    card = payment_methods.card_of(call, call.find("payment_method", charge["payment_method"]))
    if card.refund == "fails":
        _fail(call, refund, charge)
        return
    details = refund["destination_details"]
    kind = details["type"]
    number = f"{call.sandbox.ids.random.randrange(10**11):011}"
    values: Obj = {
        "destination_details": {
            **details,
            kind: {**details[kind], "reference": number, "reference_status": "available"},
        },
        "status": "succeeded",
    }
    previous = call.store.change(refund, **values)
    if "pending_reason" in refund:
        previous |= call.store.drop(refund, "pending_reason")
    updated(call, refund, previous)


def _fail(call: Call, refund: Obj, charge: Obj) -> None:
    """The money comes back to the balance, and the charge counts as not refunded by so much."""
    txn = balance.book(call, "refund_failure", refund, amount=refund["amount"])
    previous = call.store.change(
        refund,
        status="failed",
        failure_balance_transaction=txn["id"],
        failure_reason="expired_or_canceled_card",
    )
    before = call.store.change(
        charge, amount_refunded=charge["amount_refunded"] - refund["amount"], refunded=False
    )
    updated(call, refund, previous)
    call.emit("refund.failed", refund)
    call.emit("charge.updated", charge, before)


def updated(call: Call, refund: Obj, previous: Obj) -> None:
    call.emit("refund.updated", refund, previous)
    call.emit("charge.refund.updated", refund, previous)


ACTIONS: Final = {FINISH: finish, captures.EXPIRE: expire}
