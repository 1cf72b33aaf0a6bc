"""Payouts over the API: made by hand, read, canceled, taken back. Their road is in ``payouts``."""

from __future__ import annotations

from typing import Final

from tallystick import money
from tallystick.sandbox import balance, payouts
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
from tallystick.sandbox.store import Obj


def create(call: Call) -> Obj:
    """POST /v1/payouts: a manual payout."""
    params = call.params
    amount, code = params["amount"], params["currency"]
    if amount < 1:
        raise invalid("Invalid positive integer", param="amount", code="parameter_invalid_integer")
    if "destination" in params and params["destination"] != payouts.account(call, code)["id"]:
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
    payout = payouts.new(call, amount, code, params)
    payouts.begin(call, payout)
    return payout


def _whole(amount: int, code: str) -> str | None:
    """HUF and TWD are paid out in whole units only, as ISK and UGX are charged."""
    step = 100 if code in ("huf", "twd") else money.currency(code).step
    return f"An amount in {code} must be a multiple of {step} minor units." if amount % step else None


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
    call.sandbox.timers.take(payouts.ADVANCE, payout["id"])
    before = payouts.book(call, payout, "payout_cancel", payout["amount"], "failure_balance_transaction")
    previous = call.store.change(payout, status="canceled")
    call.emit("payout.canceled", payout, before | previous)
    return payout


def reverse(call: Call) -> Obj:
    """POST /v1/payouts/{id}/reverse: a payout of the negative amount that takes a paid one back."""
    payout = call.find("payout")
    if payout["status"] != "paid" or payout["reversed_by"] or payout["original_payout"]:
        raise refused("Only a paid payout that has not been reversed can be reversed.")
    reversal = payouts.new(
        call, -payout["amount"], payout["currency"], call.params, original_payout=payout["id"]
    )
    previous = call.store.change(payout, reversed_by=reversal["id"])
    call.sandbox.timers.take(payouts.FAIL, payout["id"])  # its money is on the way back already
    payouts.begin(call, reversal)
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
