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
    TableSpec(
        "balance_transaction", "balance transaction", indexes=("source", "available_on"), resident=True
    ),
]

RELEASE: Final = "release_funds"
PAY_OUT: Final = "pay_out_automatically"
"""The timer that pays out whatever is available in a currency; its work is in ``payouts``."""

CATEGORY: Final = {
    "charge": "charge",
    "payment": "charge",
    "refund": "refund",
    "payment_refund": "refund",
    "refund_failure": "refund_failure",
    "payment_failure_refund": "charge_failure",
    "payment_reversal": "charge_failure",
    "payout": "payout",
    "payout_cancel": "payout_reversal",
    "payout_failure": "payout_reversal",
    "topup": "topup",
    "topup_reversal": "topup_reversal",
    "transfer": "transfer",
    "transfer_refund": "transfer_reversal",
    "application_fee": "platform_earning",
    "application_fee_refund": "platform_earning_refund",
    "stripe_fee": "fee",
    "stripe_fx_fee": "fee",
    "network_cost": "network_cost",
}
"""The reporting category of a type; of any other, its own name."""

_DESCRIPTION: Final = {
    "refund": "REFUND FOR CHARGE",
    "payment_refund": "REFUND FOR PAYMENT",
    "refund_failure": "REFUND FAILURE",
    "payment_failure_refund": "REFUND FOR FAILED PAYMENT",
    "payout": "STRIPE PAYOUT",
    "payout_failure": "STRIPE PAYOUT FAILURE",
    "payout_cancel": "STRIPE PAYOUT CANCEL",
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
    return enter(
        call,
        kind,
        booked,
        settlement,
        source=source["id"],
        fee=taken,
        rate=rate,
        description=_DESCRIPTION.get(kind, source.get("description")),
        available_on=call.now if at_once else available_on(call.now, settings.available_after_days),
    )


def enter(
    call: Call,
    kind: str,
    amount: int,
    settlement: str,
    *,
    source: str | None,
    available_on: int,
    fee: int = 0,
    rate: Decimal | None = None,
    description: str | None = None,
    category: str | None = None,
    fee_description: str = "Stripe processing fees",
    balance_type: str = "payments",
) -> Obj:
    """Enter a balance transaction of ``amount`` and ``fee`` in minor units of the settlement currency."""
    status = "available" if available_on <= call.now else "pending"
    txn: Obj = {
        "id": call.sandbox.ids.new("txn", of=source),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": available_on,
        "balance_type": balance_type,
        "created": call.now,
        "currency": settlement,
        "description": description,
        "exchange_rate": None if rate is None else float(rate),  # JSON's number; nothing computes with it
        "fee": fee,
        "fee_details": [fee_detail(fee, settlement, fee_description)] if fee else [],
        "net": amount - fee,
        "reporting_category": category or CATEGORY.get(kind, kind),
        "source": source,
        "status": status,
        "type": kind,
    }
    call.store.put(txn)
    move(call, txn, status, txn["net"])
    if status == "pending":
        if not call.sandbox.timers.has(RELEASE, str(available_on)):
            call.sandbox.timers.add(RELEASE, str(available_on), available_on)
    elif balance_type == "payments":
        arm_payout(call, settlement)
    return txn


def fee_detail(fee: int, code: str, description: str = "Stripe processing fees") -> Obj:
    """One entry of ``fee_details``."""
    return {
        "amount": fee,
        "application": None,
        "currency": code,
        "description": description,
        "type": "stripe_fee",
    }


def move(call: Call, txn: Obj, status: str, amount: int) -> None:
    """Move the kept sums of the balance that ``txn`` is in, by ``amount``; undone with the request."""
    code, kind = txn["currency"], txn["balance_type"]
    call.sandbox.add_to_balance(code, status, amount, kind)
    call.store.on_rollback(lambda: call.sandbox.add_to_balance(code, status, -amount, kind))


def within(value: int, bounds: dict[str, int]) -> bool:
    """Whether a number lies inside ``{"gte": …, "lt": …}``."""
    return all(_BOUNDS[name](value, bound) for name, bound in bounds.items())


_BOUNDS: Final = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}


def available(call: Call, code: str) -> int:
    """What can be paid out in a currency, minor units."""
    return call.sandbox.balances.get(code, {}).get("available", 0)


def arm_payout(call: Call, code: str) -> None:
    """Have the coming midnight's automatic payout look at this currency, where payouts are automatic."""
    timers = call.sandbox.timers
    if call.sandbox.settings.payout_interval == "manual" or available(call, code) <= 0:
        return
    if not timers.has(PAY_OUT, code):
        timers.add(PAY_OUT, code, midnight_after(int(call.sandbox.clock.now()), 1))


def midnight_after(now: int, days: int) -> int:
    """Midnight UTC so many days on."""
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight + timedelta(days=days)).timestamp())


def available_on(now: int, days: int) -> int:
    """Midnight UTC so many days on, as Stripe rounds it; now for no days."""
    return now if days == 0 else midnight_after(now, days)


def release(call: Call, day: str) -> None:
    """Timer: the funds of one day become available."""
    released = set()
    for txn in call.store.tables["balance_transaction"].having("available_on", int(day)):
        if txn["status"] == "pending":
            released.add(txn["currency"])
            call.store.change(txn, status="available")
            move(call, txn, "pending", -txn["net"])
            move(call, txn, "available", txn["net"])
    if released:
        call.emit("balance.available", shown(call))
    for code in sorted(released):
        arm_payout(call, code)


ACTIONS: Final = {RELEASE: release}


def shown(call: Call) -> Obj:
    """The balance object."""
    default = call.sandbox.settings.default_currency
    others = call.sandbox.other_balances

    def amounts(held: dict[str, dict[str, int]], status: str) -> list[Obj]:
        codes = [default, *sorted(code for code in held if code != default)]
        rows = [(code, held.get(code, {}).get(status, 0)) for code in codes]
        return [
            {"amount": amount, "currency": code, "source_types": {"card": amount}} for code, amount in rows
        ]

    balance: Obj = {
        "object": "balance",
        "available": amounts(call.sandbox.balances, "available"),
        "livemode": False,
        "pending": amounts(call.sandbox.balances, "pending"),
    }
    for name, statuses in _OTHER_BALANCES.items():
        if name in others:
            balance[name] = {status: amounts(others[name], status) for status in statuses}
    return balance


_OTHER_BALANCES: Final = {
    "issuing": ("available",),
    "refund_and_dispute_prefunding": ("available", "pending"),
}
"""Balances that the balance object shows beside the main one, by ``balance_type``."""


# Calls


def retrieve_transaction(call: Call) -> Obj:
    """GET /v1/balance_transactions/{id}."""
    return call.find("balance_transaction")


def list_transactions(call: Call) -> Obj:
    """GET /v1/balance_transactions; ``payout`` gives the contents of an automatic payout only."""
    wanted = call.params.get("payout")
    among = None
    if wanted is not None:
        payout = call.find("payout", wanted, param="payout")
        if not payout["automatic"]:
            raise invalid(
                "Balance transaction history can only be filtered on automatic transfers, not manual.",
                param="payout",
            )
        among = call.store.hidden(payout).get("members", [])
    return page(call, "balance_transaction", "/v1/balance_transactions", ignore=("payout",), among=among)


_LIST: Final = listing(created=created, currency=currency, payout=text(), source=text(), type=text())

ROUTES: Final = [
    Route("GET", "/v1/balance", shown),
    Route("GET", "/v1/balance_transactions", list_transactions, _LIST),
    Route("GET", "/v1/balance_transactions/{}", retrieve_transaction),
    Route("GET", "/v1/balance/history", list_transactions, _LIST),
    Route("GET", "/v1/balance/history/{}", retrieve_transaction),
]
