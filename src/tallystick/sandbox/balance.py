"""The balance and its transactions: the only place of the sandbox where money is booked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from tallystick import money
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import created, currency, listing, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec("balance_transaction", "balance transaction", indexes=("source", "available_on")),
]

RELEASE: Final = "release_funds"

_CATEGORY: Final = {
    "charge": "charge",
    "refund": "refund",
    "refund_failure": "refund_failure",
}


def settled(call: Call, amount: int, presentment: str) -> tuple[int, str, Decimal | None]:
    """An amount in the currency in which it reaches the balance, that currency, and the rate if one was used.

    Raises StripeError when a rate is needed and none is set.
    """
    settings = call.sandbox.settings
    target = settings.settlement_currency(presentment)
    if target == presentment:
        return amount, target, None
    rate = settings.exchange_rate(presentment, target)
    if rate is None:
        raise invalid(
            f"The sandbox has no exchange rate from {presentment} to {target}; set exchange_rates through"
            " POST /_control/settings.",
            param="currency",
        )
    return money.convert(amount, presentment, target, rate), target, rate


def book(call: Call, kind: str, source: Obj, *, amount: int, fee: bool = False, at_once: bool = False) -> Obj:
    """Book ``amount`` (presentment minor units, signed) of ``source``; returns the balance transaction.

    ``fee`` takes Stripe's fee off it. ``at_once``: available without waiting.
    """
    settings = call.sandbox.settings
    booked, settlement, rate = settled(call, amount, source["currency"])
    taken = settings.fee(booked, settlement) if fee else 0
    available_on = call.now if at_once else _available_on(call.now, settings.available_after_days)
    status = "available" if available_on <= call.now else "pending"
    txn: Obj = {
        "id": call.sandbox.ids.new("txn", of=source["id"]),
        "object": "balance_transaction",
        "amount": booked,
        "available_on": available_on,
        "balance_type": "payments",
        "created": call.now,
        "currency": settlement,
        "description": _description(kind, source),
        "exchange_rate": None if rate is None else float(rate),  # JSON's number; nothing computes with it
        "fee": taken,
        "fee_details": [
            {
                "amount": taken,
                "application": None,
                "currency": settlement,
                "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ]
        if taken
        else [],
        "net": booked - taken,
        "reporting_category": _CATEGORY[kind],
        "source": source["id"],
        "status": status,
        "type": kind,
    }
    call.store.put(txn)
    _move(call, settlement, status, txn["net"])
    if status == "pending" and not call.sandbox.timers.has(RELEASE, str(available_on)):
        call.sandbox.timers.add(RELEASE, str(available_on), available_on)
    return txn


def _move(call: Call, code: str, status: str, amount: int) -> None:
    call.sandbox.add_to_balance(code, status, amount)
    call.store.on_rollback(lambda: call.sandbox.add_to_balance(code, status, -amount))


def _available_on(now: int, days: int) -> int:
    """Midnight UTC so many days on, as Stripe rounds it; now for no days."""
    if days == 0:
        return now
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight + timedelta(days=days)).timestamp())


def _description(kind: str, source: Obj) -> str | None:
    if kind == "refund":
        return "REFUND FOR CHARGE"
    if kind == "refund_failure":
        return "REFUND FAILURE"
    description: str | None = source.get("description")
    return description


def release(call: Call, available_on: str) -> None:
    """Timer: the funds of one day become available."""
    released = False
    for txn in call.store.tables["balance_transaction"].having("available_on", int(available_on)):
        if txn["status"] == "pending":
            released = True
            call.store.change(txn, status="available")
            _move(call, txn["currency"], "pending", -txn["net"])
            _move(call, txn["currency"], "available", txn["net"])
    if released:
        call.emit("balance.available", shown(call))


ACTIONS: Final = {RELEASE: release}


def shown(call: Call) -> Obj:
    """The balance object."""
    default = call.sandbox.settings.default_currency
    held = call.sandbox.balances
    codes = [default, *sorted(code for code in held if code != default)]

    def amounts(status: str) -> list[Obj]:
        rows = [(code, held.get(code, {}).get(status, 0)) for code in codes]
        return [
            {"amount": amount, "currency": code, "source_types": {"card": amount}} for code, amount in rows
        ]

    return {
        "object": "balance",
        "available": amounts("available"),
        "livemode": False,
        "pending": amounts("pending"),
    }


# Calls


def retrieve_transaction(call: Call) -> Obj:
    """GET /v1/balance_transactions/{id}."""
    return call.find("balance_transaction")


def list_transactions(call: Call) -> Obj:
    """GET /v1/balance_transactions; no payout contains any yet, so the payout filter finds none."""
    payout = call.params.get("payout")
    return page(
        call,
        "balance_transaction",
        "/v1/balance_transactions",
        matches=None if payout is None else lambda txn: call.store.hidden(txn).get("payout") == payout,
        ignore=("payout",),
    )


_LIST: Final = listing(created=created, currency=currency, payout=text(), source=text(), type=text())

ROUTES: Final = [
    Route("GET", "/v1/balance", shown),
    Route("GET", "/v1/balance_transactions", list_transactions, _LIST),
    Route("GET", "/v1/balance_transactions/{}", retrieve_transaction),
    Route("GET", "/v1/balance/history", list_transactions, _LIST),
    Route("GET", "/v1/balance/history/{}", retrieve_transaction),
]
