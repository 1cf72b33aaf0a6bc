"""Payouts: manual and automatic, their road to the bank, and back when the bank refuses them.

created (pending) > updated (in transit) > paid > reconciliation_completed (automatic ones); a payout that was
paid can still fail. The contents of an automatic payout are all that was available and in no payout before:
their Σ net is its amount exactly.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import balance, bank_accounts
from tallystick.sandbox.errors import refused
from tallystick.sandbox.params import (
    merged_metadata,
)
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("payout", "payout", indexes=("status",)),
    TableSpec("bank_account", "external account"),
]

ADVANCE: Final = "advance_payout"
FAIL: Final = "fail_payout"


def account(call: Call, code: str) -> Obj:
    """The account's own bank account in a currency, made when it is first needed."""
    number = call.sandbox.settings.payout_account
    ident = f"ba_1{call.sandbox.ids.account}{code}{number[-4:]}"
    known = call.store.get("bank_account", ident)
    if known is not None:
        return known
    return call.store.put(
        {
            "id": ident,
            "object": "bank_account",
            "account": call.sandbox.account_id,
            "account_holder_name": None,
            "account_holder_type": "company",
            "account_type": None,
            "available_payout_methods": ["standard"],
            "bank_name": "STRIPE TEST BANK",
            "country": "US",
            "currency": code,
            "default_for_currency": True,
            "fingerprint": call.sandbox.ids.chars(16),
            "last4": number[-4:],
            "metadata": {},
            "routing_number": "110000000",
            "status": "new",
        },
        {"number": number},
    )


def new(call: Call, amount: int, code: str, params: dict[str, Any], **values: Any) -> Obj:
    """A payout, with its balance transaction; nothing is told yet."""
    payout: Obj = {
        "id": call.sandbox.ids.new("po"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": balance.midnight_after(call.now, 0 if params.get("method") == "instant" else 2),
        "automatic": False,
        "balance_transaction": None,
        "created": call.now,
        "currency": code,
        "description": params.get("description"),
        "destination": account(call, code)["id"],
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "method": params.get("method", "standard"),
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "not_applicable",
        "reversed_by": None,
        "source_type": params.get("source_type", "card"),
        "statement_descriptor": params.get("statement_descriptor"),
        "status": "pending",
        "trace_id": {"status": "pending", "value": None},
        "type": "bank_account",
        **values,
    }
    call.store.put(payout, {})
    book(call, payout, "payout", -amount, "balance_transaction")
    return payout


def book(call: Call, payout: Obj, kind: str, amount: int, field: str) -> Obj:
    """Book the payout (already in settlement currency) and remember the transaction in ``field``."""
    txn = balance.enter(
        call,
        kind,
        amount,
        payout["currency"],
        source=payout["id"],
        available_on=call.now,
        description=payout["description"] or "STRIPE PAYOUT",
    )
    return call.store.change(payout, **{field: txn["id"]})


def begin(call: Call, payout: Obj) -> None:
    call.emit("payout.created", payout)
    call.after(call.sandbox.settings.payout_delay, ADVANCE, payout["id"])


def pay_out(call: Call, code: str) -> Obj | None:
    """Timer and control call: pay out all that is available in a currency; None when there is nothing."""
    amount = balance.available(call, code)
    if code in ("huf", "twd"):
        amount -= amount % 100
    if amount <= 0 or amount != balance.available(call, code):
        return None  # a payout's contents must add up to it: what cannot be paid whole waits
    members = _unpaid(call, code)
    payout = new(call, amount, code, {}, automatic=True, reconciliation_status="in_progress")
    members.append(payout["balance_transaction"])
    call.store.hide(payout, members=members)
    for ident in members:
        call.store.hide(call.find("balance_transaction", ident), payout=payout["id"])
    begin(call, payout)
    return payout


def _unpaid(call: Call, code: str) -> list[str]:
    """The available transactions of a currency that no automatic payout contains, oldest first."""
    table = call.store.tables["balance_transaction"]
    return [
        txn["id"]
        for txn in table.rows.values()
        if (txn["currency"], txn["status"], txn["balance_type"]) == (code, "available", "payments")
        and "payout" not in call.store.hidden(txn)
    ]


def _pay_out_timer(call: Call, code: str) -> None:
    if call.sandbox.settings.payout_interval != "manual":
        pay_out(call, code)


def advance(call: Call, ident: str) -> None:
    """Timer: a payout's next status: in transit, then paid; automatic ones are reconciled then."""
    payout = call.find("payout", ident)
    if payout["status"] == "pending":
        trace = {"status": "supported", "value": f"{call.sandbox.ids.random.randrange(10**12):012}"}
        previous = call.store.change(payout, status="in_transit", trace_id=trace)
        call.emit("payout.updated", payout, previous)
        call.after(call.sandbox.settings.payout_delay, ADVANCE, ident)
        return
    if payout["status"] != "in_transit":
        return
    previous = call.store.change(payout, status="paid")
    call.emit("payout.paid", payout, previous)
    if payout["automatic"]:
        previous = call.store.change(payout, reconciliation_status="completed")
        call.emit("payout.reconciliation_completed", payout, previous)
    number = call.store.hidden(call.find("bank_account", payout["destination"]))["number"]
    account = bank_accounts.us_account(number)
    if account is not None and account.failure:
        call.after(call.sandbox.settings.payout_delay, FAIL, ident)


def fail(call: Call, payout: Obj, code: str = "could_not_process") -> None:
    """The bank refuses a payout, also one that counts as paid: the money comes back."""
    if payout["status"] not in ("pending", "in_transit", "paid") or payout["reversed_by"]:
        status = "reversed" if payout["reversed_by"] else payout["status"]
        raise refused(f"This payout has a status of {status}; it cannot fail.")
    call.sandbox.timers.take(ADVANCE, payout["id"])
    call.sandbox.timers.take(FAIL, payout["id"])
    before = book(call, payout, "payout_failure", payout["amount"], "failure_balance_transaction")
    previous = call.store.change(
        payout,
        status="failed",
        failure_code=code,
        failure_message=_FAILURES.get(code, "The bank could not process this payout."),
    )
    call.emit("payout.failed", payout, before | previous)


_FAILURES: Final = {
    "account_closed": "The bank account has been closed.",
    "no_account": "The bank account details on file are probably incorrect. No bank account could be found"
    " with those details.",
    "could_not_process": "The bank could not process this payout.",
    "debit_not_authorized": "Debit transactions are not approved on your bank account.",
    "insufficient_funds": "Your Stripe account has insufficient funds to cover the payout.",
    "invalid_currency": "The bank was unable to process this payout because of its currency.",
}


def _fail_timer(call: Call, ident: str) -> None:
    payout = call.find("payout", ident)
    number = call.store.hidden(call.find("bank_account", payout["destination"]))["number"]
    account = bank_accounts.us_account(number)
    fail(call, payout, account.failure if account is not None and account.failure else "could_not_process")


ACTIONS: Final = {balance.PAY_OUT: _pay_out_timer, ADVANCE: advance, FAIL: _fail_timer}
