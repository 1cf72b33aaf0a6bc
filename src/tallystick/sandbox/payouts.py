"""Payouts: manual and automatic, their road to the bank, and back when the bank refuses them.

created (pending) > updated (in transit) > paid > reconciliation_completed (automatic ones); a payout that was
paid can still fail. The contents of an automatic payout are all that was available and in no payout before:
their Σ net is its amount exactly.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick import money
from tallystick.sandbox import balance, bank_accounts
from tallystick.sandbox.errors import invalid, missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Params,
    clearable,
    created,
    currency,
    integer,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("payout", "payout", indexes=("status",)),
    TableSpec("bank_account", "external account"),
]

ADVANCE: Final = "advance_payout"
FAIL: Final = "fail_payout"


def _account(call: Call, code: str) -> Obj:
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


def _new(call: Call, amount: int, code: str, params: dict[str, Any], **values: Any) -> Obj:
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
        "destination": _account(call, code)["id"],
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
    _book(call, payout, "payout", -amount, "balance_transaction")
    return payout


def _book(call: Call, payout: Obj, kind: str, amount: int, field: str) -> Obj:
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


def create(call: Call) -> Obj:
    """POST /v1/payouts: a manual payout."""
    params = call.params
    amount, code = params["amount"], params["currency"]
    if amount < 1:
        raise invalid("Invalid positive integer", param="amount", code="parameter_invalid_integer")
    if "destination" in params and params["destination"] != _account(call, code)["id"]:
        raise missing("external account", params["destination"], "destination")
    if problem := _whole(amount, code):
        raise invalid(problem, param="amount")
    if amount > balance.available(call, code):
        raise refused(
            "You have insufficient funds in your Stripe account. One likely reason you have insufficient"
            " funds is that your funds are automatically being paid out; try enabling manual payouts by"
            " going to https://dashboard.stripe.com/account/payouts.",
            code="balance_insufficient",
            param="amount",
        )
    payout = _new(call, amount, code, params)
    _begin(call, payout)
    return payout


def _whole(amount: int, code: str) -> str | None:
    """HUF and TWD are paid out in whole units only, as ISK and UGX are charged."""
    step = 100 if code in ("huf", "twd") else money.currency(code).step
    return f"An amount in {code} must be a multiple of {step} minor units." if amount % step else None


def _begin(call: Call, payout: Obj) -> None:
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
    payout = _new(call, amount, code, {}, automatic=True, reconciliation_status="in_progress")
    members.append(payout["balance_transaction"])
    call.store.hide(payout, members=members)
    for ident in members:
        call.store.hide(call.find("balance_transaction", ident), payout=payout["id"])
    _begin(call, payout)
    return payout


def _unpaid(call: Call, code: str) -> list[str]:
    """The available transactions of a currency that no automatic payout contains, oldest first."""
    table = call.store.tables["balance_transaction"]
    return [
        txn["id"]
        for txn in table.rows.values()
        if txn["currency"] == code and txn["status"] == "available" and "payout" not in call.store.hidden(txn)
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
    if payout["status"] not in ("pending", "in_transit", "paid"):
        raise refused(f"This payout has a status of {payout['status']}; it cannot fail.")
    call.sandbox.timers.take(ADVANCE, payout["id"])
    call.sandbox.timers.take(FAIL, payout["id"])
    before = _book(call, payout, "payout_failure", payout["amount"], "failure_balance_transaction")
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


# Calls


def retrieve(call: Call) -> Obj:
    """GET /v1/payouts/{id}."""
    return call.find("payout")


def update(call: Call) -> Obj:
    """POST /v1/payouts/{id}: metadata only."""
    payout = call.find("payout")
    if "metadata" in call.params:
        previous = call.store.change(
            payout, metadata=merged_metadata(payout["metadata"], call.params["metadata"])
        )
        if previous:
            call.emit("payout.updated", payout, previous)
    return payout


def cancel(call: Call) -> Obj:
    """POST /v1/payouts/{id}/cancel: only while pending; the money comes back."""
    payout = call.find("payout")
    if payout["status"] != "pending" or payout["automatic"]:
        raise refused("Payouts can only be canceled while they are pending and were created manually.")
    call.sandbox.timers.take(ADVANCE, payout["id"])
    before = _book(call, payout, "payout_cancel", payout["amount"], "failure_balance_transaction")
    previous = call.store.change(payout, status="canceled")
    call.emit("payout.canceled", payout, before | previous)
    return payout


def reverse(call: Call) -> Obj:
    """POST /v1/payouts/{id}/reverse: a payout of the negative amount that takes a paid one back."""
    payout = call.find("payout")
    if payout["status"] != "paid" or payout["reversed_by"] or payout["original_payout"]:
        raise refused("Only a paid payout that has not been reversed can be reversed.")
    reversal = _new(call, -payout["amount"], payout["currency"], call.params, original_payout=payout["id"])
    previous = call.store.change(payout, reversed_by=reversal["id"])
    _begin(call, reversal)
    call.emit("payout.updated", payout, previous)
    return reversal


def list_all(call: Call) -> Obj:
    """GET /v1/payouts, by status, destination, and times."""
    bounds = call.params.get("arrival_date", {})
    return page(
        call,
        "payout",
        "/v1/payouts",
        matches=lambda payout: balance.within(payout["arrival_date"], bounds),
        ignore=("arrival_date",),
    )


ROUTES: Final = [
    Route(
        "POST",
        "/v1/payouts",
        create,
        Params(
            {
                "amount": integer,
                "currency": currency,
                "description": clearable(text()),
                "destination": text(),
                "metadata": metadata,
                "method": one_of("instant", "standard"),
                "source_type": one_of("bank_account", "card", "fpx"),
                "statement_descriptor": text(22),
            },
            required=("amount", "currency"),
        ),
    ),
    Route(
        "GET",
        "/v1/payouts",
        list_all,
        listing(arrival_date=created, created=created, destination=text(), status=text()),
    ),
    Route("GET", "/v1/payouts/{}", retrieve),
    Route("POST", "/v1/payouts/{}", update, Params({"metadata": metadata})),
    Route("POST", "/v1/payouts/{}/cancel", cancel),
    Route("POST", "/v1/payouts/{}/reverse", reverse, Params({"metadata": metadata})),
]
