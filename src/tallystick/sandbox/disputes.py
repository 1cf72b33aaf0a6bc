"""Disputes: opened by test cards, failing bank debits or the control API; answered, won, lost.

created > funds_withdrawn; evidence: updated, then (later) funds_reinstated > closed when won, closed when
lost. A dispute withdraws its amount and a fee that a win does not bring back. Inquiries (``warning_…``) move
no money until they are escalated. ``evidence[uncategorized_text]`` decides, as in Stripe's test mode:
``winning_evidence``, ``losing_evidence``, ``escalate_inquiry_evidence``; any other stays under review until
the control API decides. Without any answer a dispute is lost when its evidence is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick import money
from tallystick.sandbox import balance, payment_methods
from tallystick.sandbox.dispute_evidence import BLANK
from tallystick.sandbox.errors import refused
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("dispute", "dispute", indexes=("charge", "payment_intent"))]

DECIDE: Final = "decide_dispute"
LAPSE: Final = "lapse_dispute"
_OPEN: Final = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
_DUE_DAYS: Final = 9
_NETWORK_REASON: Final = {"fraudulent": "10.4", "product_not_received": "13.1"}

REASONS: Final = (
    "bank_cannot_process check_returned credit_not_processed customer_initiated debit_not_authorized"
    " duplicate fraudulent general incorrect_account_details insufficient_funds noncompliant"
    " product_not_received product_unacceptable subscription_canceled unrecognized"
).split()
VERDICTS: Final = {
    "winning_evidence": "won",
    "losing_evidence": "lost",
    "escalate_inquiry_evidence": "escalated",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What the customer claims. ``amount`` in the charge's minor units; None: all that is not refunded."""

    reason: str
    amount: int | None = None
    inquiry: bool = False
    final: bool = False
    """Nothing can be said against it: a bank debit that came back."""


def open_claim(call: Call, charge: Obj, claim: Claim) -> Obj:
    """Open a dispute on a captured charge. Raises StripeError for a charge that cannot be disputed."""
    if not charge["captured"] or charge["status"] != "succeeded":
        raise refused(f"Charge {charge['id']} has moved no money; it cannot be disputed.", param="charge")
    if claim.inquiry and charge["payment_method_details"]["type"] != "card":
        raise refused("Only payments by card have inquiries.", param="inquiry")
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = left if claim.amount is None else claim.amount
    if not 1 <= amount <= charge["amount_captured"]:
        raise refused(f"Charge {charge['id']} has {left} left; {amount} cannot be disputed.", param="amount")
    warning = "warning_" if claim.inquiry else ""
    dispute = _new(call, charge, amount, claim, f"{warning}needs_response")
    call.store.put(dispute, {"final": claim.final})
    call.store.change(charge, disputed=True, dispute=dispute["id"])
    if not claim.inquiry:
        _withdraw(call, dispute)
    call.emit("charge.dispute.created", dispute)
    if not claim.inquiry:
        call.emit("charge.dispute.funds_withdrawn", dispute)
    if claim.final:
        settle(call, dispute, "lost")
    else:
        call.at(dispute["evidence_details"]["due_by"], LAPSE, dispute["id"])
    return dispute


def _new(call: Call, charge: Obj, amount: int, claim: Claim, status: str) -> Obj:
    due = None if claim.final else balance.midnight_after(call.now, _DUE_DAYS) - 1
    dispute: Obj = {
        "id": call.sandbox.ids.new("du", of=charge["id"]),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": call.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict(BLANK),
        "evidence_details": {
            "due_by": due,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": claim.inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": claim.reason,
        "status": status,
    }
    card = charge["payment_method_details"].get("card")
    if card is not None:
        code = "10" if claim.inquiry else _NETWORK_REASON.get(claim.reason)
        dispute["payment_method_details"] = {
            "card": {
                "brand": card["brand"],
                "case_type": "inquiry" if claim.inquiry else "chargeback",
                "network": card["network"],
                "network_reason_code": code,
            },
            "type": "card",
        }
    return dispute


def _withdraw(call: Call, dispute: Obj) -> None:
    amount, settlement, rate = balance.settled(call, -dispute["amount"], dispute["currency"])
    settings = call.sandbox.settings
    txn = balance.enter(
        call,
        "adjustment",
        amount,
        settlement,
        source=dispute["id"],
        fee=settings.flat_fee(settings.dispute_fee, settlement),
        rate=rate,
        available_on=call.now,
        description=f"Chargeback withdrawal for {dispute['charge']}",
        category="dispute",
        fee_description="Dispute fee",
    )
    call.store.change(dispute, balance_transactions=[dict(txn)])


def _reinstate(call: Call, dispute: Obj, amount: int) -> None:
    """Bring ``amount`` back, at the rate at which it was taken."""
    taken = dispute["balance_transactions"][0]
    back = money.allocate(-taken["amount"], [amount, dispute["amount"] - amount])[0]
    txn = balance.enter(
        call,
        "adjustment",
        back,
        taken["currency"],
        source=dispute["id"],
        available_on=call.now,
        description=f"Chargeback reversal for {dispute['charge']}",
        category="dispute_reversal",
    )
    txns = [*dispute["balance_transactions"], dict(txn)]
    previous = call.store.change(dispute, balance_transactions=txns)
    call.emit("charge.dispute.funds_reinstated", dispute, previous)


def settle(call: Call, dispute: Obj, verdict: str, amount: int | None = None) -> None:
    """Decide a dispute: ``won``, ``lost`` or ``escalated``. ``amount``: what a win brings back, minor units.

    Raises StripeError (400) for one that is closed or a verdict that it cannot have.
    """
    check_open(dispute)
    if amount is not None and not 0 <= amount <= dispute["amount"]:
        raise refused(f"At most {dispute['amount']} can be reinstated.", param="amount")
    call.sandbox.timers.take(DECIDE, dispute["id"])
    inquiry = dispute["status"].startswith("warning_")
    if verdict == "escalated":
        _escalate(call, dispute, inquiry=inquiry)
        return
    call.sandbox.timers.take(LAPSE, dispute["id"])
    status = "warning_closed" if inquiry else verdict
    refundable = inquiry or verdict == "won"
    previous = call.store.change(dispute, status=status, is_charge_refundable=refundable)
    if verdict == "won" and not inquiry:
        _reinstate(call, dispute, dispute["amount"] if amount is None else amount)
    call.emit("charge.dispute.closed", dispute, previous)
    if not inquiry and verdict == "lost":
        call.emit("charge.updated", call.find("charge", dispute["charge"]), {})


def _escalate(call: Call, dispute: Obj, *, inquiry: bool) -> None:
    if not inquiry:
        raise refused(f"Dispute {dispute['id']} is no inquiry; it cannot be escalated.")
    details = dispute["payment_method_details"]
    card = {**details["card"], "case_type": "chargeback", "network_reason_code": "10.4"}
    previous = call.store.change(
        dispute,
        status="needs_response",
        is_charge_refundable=False,
        payment_method_details={**details, "card": card},
    )
    _withdraw(call, dispute)
    call.emit("charge.dispute.updated", dispute, previous)
    call.emit("charge.dispute.funds_withdrawn", dispute)


def check_open(dispute: Obj) -> None:
    """Raises StripeError (400) for a dispute that is decided."""
    if dispute["status"] not in _OPEN:
        raise refused("This dispute is already closed")


def check_refundable(call: Call, charge: Obj) -> None:
    """Raises StripeError (400) while a dispute holds a charge's money, or has lost it."""
    for dispute in call.store.tables["dispute"].having("charge", charge["id"]):
        if not dispute["is_charge_refundable"]:
            raise refused(
                f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
            )


def draw(call: Call, charge: Obj) -> None:
    """The disputes that a charge's test card draws, unless all of it has been refunded already."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    card = payment_methods.card_of(call, call.find("payment_method", charge["payment_method"]))
    for reason in card.dispute.split() if left > 1 else ():
        inquiry = reason == "inquiry"
        half = left // 2 if " " in card.dispute else None
        open_claim(call, charge, Claim("general" if inquiry else reason, half, inquiry=inquiry))


def decide(call: Call, ident: str) -> None:
    """Timer: the bank decides upon the evidence."""
    dispute = call.find("dispute", ident)
    verdict = VERDICTS.get(dispute["evidence"]["uncategorized_text"] or "")
    inquiry = dispute["status"].startswith("warning_")
    if verdict is None or dispute["status"] not in _OPEN:
        return
    if inquiry or verdict != "escalated":  # what is no inquiry stays under review
        settle(call, dispute, verdict)


def lapse(call: Call, ident: str) -> None:
    """Timer: the evidence is due; a dispute that has got no answer is lost."""
    dispute = call.find("dispute", ident)
    call.store.change(dispute, evidence_details={**dispute["evidence_details"], "past_due": True})
    if dispute["status"] in ("needs_response", "warning_needs_response"):
        settle(call, dispute, "lost")


ACTIONS: Final = {DECIDE: decide, LAPSE: lapse}
