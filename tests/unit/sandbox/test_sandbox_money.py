"""Whatever is done, in whatever order: the balance is the sum of its transactions, and no cent more is
refunded than was captured; what is refused leaves no trace."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick import money
from tallystick.sandbox import (
    balance,
    confirmation,
    families,
    payment_intent_captures,
    payment_intent_creation,
    payment_intents,
    refunds,
)
from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.config import SandboxConfig
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.settings import Settings
from tallystick.sandbox.state import Call, Sandbox

METHODS = (
    "pm_card_visa",
    "pm_card_chargeDeclined",
    "pm_card_threeDSecure2Required",
    "pm_card_pendingRefund",
    "pm_card_refundFail",
    "pm_card_bypassPending",
)

operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("pay"),
            st.sampled_from(METHODS),
            st.integers(1, 400).map(lambda units: units * 100),
            st.sampled_from(("usd", "jpy", "eur", "kwd")),
            st.sampled_from(("automatic", "automatic_async", "manual")),
        ),
        st.tuples(st.just("refund"), st.integers(0, 9), st.one_of(st.none(), st.integers(1, 50_000))),
        st.tuples(st.just("capture"), st.integers(0, 9), st.one_of(st.none(), st.integers(1, 50_000))),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("authenticate"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("pass"), st.sampled_from((0.3, 1.0, 86_400.0, 300_000.0))),
    ),
    max_size=25,
)


def fresh(*, converting: bool) -> tuple[Sandbox, ManualClock]:
    clock = ManualClock()
    account = Settings(settlement_currencies=()) if converting else Settings()
    rates = {"jpy:usd": Decimal("0.00665"), "eur:usd": Decimal("1.0847"), "kwd:usd": Decimal("3.2513")}
    account = account.changed({"exchange_rates": rates})
    config = SandboxConfig(clock=clock, seed=1, settings=account)
    return Sandbox(config, families.tables(), families.actions()), clock


def run(sandbox: Sandbox, handler: Any, **values: Any) -> None:
    """Run a handler as the API would: undo what is refused, keep what a decline leaves."""
    call = sandbox.call(**values)
    before = digest(sandbox)
    try:
        handler(call)
    except StripeError as error:
        if not error.keeps_work:
            sandbox.store.rollback()
            assert digest(sandbox) == before
    sandbox.store.commit()


def digest(sandbox: Sandbox) -> bytes:
    rows = {kind: dict(table.rows) for kind, table in sandbox.store.tables.items()}
    indexes = {
        kind: {name: {str(key): table.ids_having(name, key) for key in by} for name, by in table.by.items()}
        for kind, table in sandbox.store.tables.items()
    }
    timers = sorted((timer.action, timer.target, timer.due) for timer in sandbox.timers.pending.values())
    return orjson.dumps([rows, indexes, timers, sandbox.balances], option=orjson.OPT_SORT_KEYS)


def apply(sandbox: Sandbox, clock: ManualClock, operation: tuple[Any, ...]) -> None:
    kind, *rest = operation
    intents = sandbox.store.tables["payment_intent"].order
    if kind == "pass":
        clock.advance(rest[0])
    elif kind == "pay":
        method, amount, code, capture = rest
        run(
            sandbox,
            payment_intent_creation.create,
            params={
                "amount": max(amount, money.currency(code).minimum),
                "currency": code,
                "payment_method": method,
                "confirm": True,
                "capture_method": capture,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            },
        )
    elif rest[0] < len(intents):
        ident = intents[rest[0]]
        if kind == "refund":
            amount = {} if rest[1] is None else {"amount": rest[1]}
            run(sandbox, refunds.create, params={"payment_intent": ident, **amount})
        elif kind == "capture":
            amount = {} if rest[1] is None else {"amount_to_capture": rest[1]}
            run(sandbox, payment_intent_captures.capture, ids=(ident,), params=amount)
        elif kind == "cancel":
            run(sandbox, payment_intents.cancel, ids=(ident,))
        else:

            def answer(call: Call) -> None:
                confirmation.authenticated(call, call.find("payment_intent", ident), success=rest[1])

            run(sandbox, answer)


def check(sandbox: Sandbox) -> None:
    txns = list(sandbox.store.tables["balance_transaction"].rows.values())
    sums: dict[str, dict[str, int]] = {}
    for txn in txns:
        assert txn["net"] == txn["amount"] - txn["fee"]
        assert txn["fee"] == sum(detail["amount"] for detail in txn["fee_details"])
        of_currency = sums.setdefault(txn["currency"], {"pending": 0, "available": 0})
        of_currency[txn["status"]] += txn["net"]
    assert {code: row for code, row in sandbox.balances.items() if any(row.values())} == {
        code: row for code, row in sums.items() if any(row.values())
    }
    shown = balance.shown(sandbox.call())
    assert sum(row["amount"] for row in shown["pending"]) == sum(row["pending"] for row in sums.values())
    sources = [txn["source"] for txn in txns if txn["type"] == "charge"]
    assert len(sources) == len(set(sources))
    for charge in sandbox.store.tables["charge"].rows.values():
        made = sandbox.refunds_of(charge["id"])
        if charge["captured"]:
            standing = sum(refund["amount"] for refund in made if refund["status"] != "failed")
            assert charge["amount_refunded"] == standing <= charge["amount_captured"] <= charge["amount"]
            assert charge["refunded"] == (standing == charge["amount_captured"])
    for intent in sandbox.store.tables["payment_intent"].rows.values():
        assert intent["amount_received"] in (0, *range(1, intent["amount"] + 1))
        assert (intent["amount_capturable"] > 0) == (intent["status"] == "requires_capture")


@given(operations, st.booleans())
@settings(max_examples=150, deadline=None)
def test_money_adds_up(steps: list[tuple[Any, ...]], converting: bool) -> None:
    sandbox, clock = fresh(converting=converting)
    for step in steps:
        apply(sandbox, clock, step)
        check(sandbox)
    clock.advance(1_000_000)
    check(sandbox)
    assert not sandbox.timers.pending
    assert all(row["pending"] == 0 for row in sandbox.balances.values())
    for charge in sandbox.store.tables["charge"].rows.values():
        assert (charge["balance_transaction"] is not None) == charge["captured"]
