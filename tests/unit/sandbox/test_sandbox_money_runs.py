"""A long random run over everything that moves money: the balance is the sum of its transactions, an
automatic payout is the sum of its members, and no more is refunded than was captured."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tallystick import money
from tallystick.sandbox import (
    accounts,
    application_fees,
    balance,
    bank_debits,
    charges,
    confirmation,
    dispute_calls,
    disputes,
    families,
    payment_intent_captures,
    payment_intent_creation,
    payment_intents,
    payout_calls,
    payouts,
    refunds,
    topups,
    transfer_calls,
)
from tallystick.sandbox.clock import ManualClock
from tallystick.sandbox.config import SandboxConfig
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.settings import Settings
from tallystick.sandbox.state import Call, Sandbox

CARDS = (
    *("pm_card_visa",) * 6,
    "pm_card_bypassPending",
    "pm_card_bypassPending",
    "pm_card_chargeDeclined",
    "pm_card_threeDSecure2Required",
    "pm_card_pendingRefund",
    "pm_card_refundFail",
    "pm_card_createDispute",
    "pm_card_createDisputeInquiry",
    "pm_card_createMultipleDisputes",
)
ACCOUNTS = {
    "usd": (
        "pm_usBankAccount_success",
        "pm_usBankAccount_insufficientFunds",
        "pm_usBankAccount_dispute",
        "pm_usBankAccount_processing",
    ),
    "eur": ("pm_sepaDebit_success_at", "pm_sepaDebit_failedDelayed_at", "pm_sepaDebit_disputed_at"),
}


class Run:
    """One account, and everything that can happen to it at random."""

    def __init__(self, seed: int, *, converting: bool) -> None:
        self.dice = random.Random(seed)
        self.clock = ManualClock()
        account = Settings(settlement_currencies=()) if converting else Settings()
        account = account.changed({"payout_interval": "daily"})
        config = SandboxConfig(clock=self.clock, seed=seed, settings=account)
        self.sandbox = Sandbox(config, families.tables(), families.actions(), families.listeners())
        self.done = 0
        self.connected = [accounts.create(self.sandbox.call())["id"] for _ in range(2)]
        self.operations: list[tuple[int, Callable[[], None]]] = [
            (32, self.pay),
            (6, self.pay_for_another),
            (2, self.transfer),
            (3, self.reverse),
            (2, self.refund_fee),
            (6, self.pay_by_bank),
            (4, self.charge),
            (16, self.refund),
            (8, self.capture),
            (3, self.cancel),
            (4, self.authenticate),
            (3, self.increment),
            (6, self.dispute),
            (8, self.answer_dispute),
            (4, self.bank_answers),
            (8, self.payout),
            (4, self.change_payout),
            (6, self.topup),
            (1, self.movement),
            (9, self.wait),
        ]

    def step(self) -> None:
        weights, operations = zip(*self.operations, strict=True)
        self.dice.choices(operations, weights)[0]()

    def run(self, handler: Any, **values: Any) -> None:
        """As the API would: what is refused is undone."""
        try:
            handler(self.sandbox.call(**values))
            self.done += 1
        except StripeError as error:
            if not error.keeps_work:
                self.sandbox.store.rollback()
        self.sandbox.store.commit()

    def some(self, kind: str) -> dict[str, Any] | None:
        table = self.sandbox.store.tables[kind]
        return table.rows[self.dice.choice(table.order[-60:])] if table.order else None

    def amount(self, code: str) -> int:
        units = self.dice.randint(1, 400) * 100
        return max(units, money.currency(code).minimum)

    def pay(self) -> None:
        code = self.dice.choice(("usd", "usd", "usd", "jpy", "eur", "gbp"))
        several = self.dice.random() < 0.3
        card = dict.fromkeys(_REQUESTED, "if_available") if several else {}
        params = {
            "amount": self.amount(code),
            "currency": code,
            "payment_method": self.dice.choice(CARDS),
            "confirm": True,
            "capture_method": self.dice.choice(("automatic", "automatic_async", "automatic_async", "manual")),
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "payment_method_options": {"card": card},
        }
        self.run(payment_intent_creation.create, params=params)

    def pay_for_another(self) -> None:
        """A destination charge, on a card or by bank."""
        code = self.dice.choice(("usd", "usd", "eur"))
        amount = self.amount(code)
        share: dict[str, Any] = {"destination": self.dice.choice(self.connected)}
        params: dict[str, Any] = {"transfer_data": share}
        if self.dice.random() < 0.6:
            params["application_fee_amount"] = self.dice.randint(0, amount)
        elif self.dice.random() < 0.5:
            share["amount"] = self.dice.randint(1, amount)
        by_bank = self.dice.random() < 0.2
        captures = ("automatic_async",) if by_bank else ("automatic_async", "manual")
        params |= {
            "amount": amount,
            "currency": code,
            "payment_method": self.dice.choice(ACCOUNTS[code] if by_bank else CARDS),
            "confirm": True,
            "capture_method": self.dice.choice(captures),
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
        self.run(payment_intent_creation.create, params=params)

    def transfer(self) -> None:
        params = {"currency": "usd", "destination": self.dice.choice(self.connected)}
        charge = self.some("charge")
        if charge is not None and self.dice.random() < 0.5:
            part = {} if self.dice.random() < 0.5 else {"amount": self.dice.randint(1, charge["amount"])}
            source = {"source_transaction": charge["id"]}
            self.run(transfer_calls.create, params={**params, **source, **part})
        else:
            self.run(transfer_calls.create, params={**params, "amount": self.dice.randint(1, 5_000)})

    def reverse(self) -> None:
        transfer = self.some("transfer")
        if transfer is not None:
            part = {} if self.dice.random() < 0.5 else {"amount": self.dice.randint(1, transfer["amount"])}
            fee = {"refund_application_fee": True} if self.dice.random() < 0.4 else {}
            self.run(transfer_calls.reverse, ids=(transfer["id"],), params={**part, **fee})

    def refund_fee(self) -> None:
        fee = self.some("application_fee")
        if fee is not None:
            part = {} if self.dice.random() < 0.5 else {"amount": self.dice.randint(1, fee["amount"])}
            self.run(application_fees.refund, ids=(fee["id"],), params=part)

    def pay_by_bank(self) -> None:
        code = self.dice.choice(tuple(ACCOUNTS))
        params = {
            "amount": self.amount(code),
            "currency": code,
            "payment_method": self.dice.choice(ACCOUNTS[code]),
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
        self.run(payment_intent_creation.create, params=params)

    def charge(self) -> None:
        source = self.dice.choice(("tok_visa", "tok_chargeDeclined", "tok_createDispute"))
        params = {"amount": self.amount("usd"), "currency": "usd", "source": source}
        self.run(charges.create, params={**params, "capture": self.dice.random() < 0.7})
        made = self.some("charge")
        if made is not None and made["payment_intent"] is None and not made["captured"]:
            self.run(charges.capture, ids=(made["id"],), params={"amount": self.dice.randint(1, 40_000)})

    def refund(self) -> None:
        charge = self.some("charge")
        if charge is not None:
            amount = {} if self.dice.random() < 0.4 else {"amount": self.dice.randint(1, 40_000)}
            back = {}
            if "transfer" in charge and self.dice.random() < 0.6:
                back["reverse_transfer"] = True
            if charge["application_fee"] is not None and self.dice.random() < 0.6:
                back["refund_application_fee"] = True
            self.run(refunds.create, params={"charge": charge["id"], **amount, **back})

    def capture(self) -> None:
        intent = self.some("payment_intent")
        if intent is not None:
            params: dict[str, Any] = {"final_capture": self.dice.random() < 0.5}
            if self.dice.random() < 0.7:
                params["amount_to_capture"] = self.dice.randint(1, max(1, intent["amount_capturable"]))
            self.run(payment_intent_captures.capture, ids=(intent["id"],), params=params)

    def cancel(self) -> None:
        intent = self.some("payment_intent")
        if intent is not None:
            self.run(payment_intents.cancel, ids=(intent["id"],))

    def authenticate(self) -> None:
        intent = self.some("payment_intent")
        if intent is not None:
            success = self.dice.random() < 0.7
            self.run(
                lambda call: confirmation.authenticated(
                    call, call.find("payment_intent", intent["id"]), success=success
                )
            )

    def increment(self) -> None:
        intent = self.some("payment_intent")
        if intent is not None:
            more = intent["amount"] + 100 * self.dice.randint(1, 50)
            self.run(
                payment_intent_captures.increment_authorization, ids=(intent["id"],), params={"amount": more}
            )

    def dispute(self) -> None:
        charge = self.some("charge")
        if charge is not None:
            amount = None if self.dice.random() < 0.5 else self.dice.randint(1, max(1, charge["amount"]))
            claim = disputes.Claim("fraudulent", amount, inquiry=self.dice.random() < 0.2)
            self.run(lambda call: disputes.open_claim(call, call.find("charge", charge["id"]), claim))

    def answer_dispute(self) -> None:
        dispute = self.some("dispute")
        if dispute is not None:
            text = self.dice.choice(
                ("winning_evidence", "losing_evidence", "escalate_inquiry_evidence", "words")
            )
            evidence = {"evidence": {"uncategorized_text": text}}
            self.run(dispute_calls.update, ids=(dispute["id"],), params=evidence)
            if self.dice.random() < 0.3:
                part = self.dice.randint(0, dispute["amount"])
                self.run(lambda call: disputes.settle(call, call.find("dispute", dispute["id"]), "won", part))

    def bank_answers(self) -> None:
        charge = self.some("charge")
        if charge is not None:
            answers: tuple[Callable[[Call, dict[str, Any]], object], ...] = (
                bank_debits.succeed,
                lambda call, found: bank_debits.fail(call, found, "account_closed"),
                lambda call, found: bank_debits.late_failure(call, found, "insufficient_funds"),
            )
            answer = self.dice.choice(answers)
            self.run(lambda call: answer(call, call.find("charge", charge["id"])))

    def payout(self) -> None:
        code = self.dice.choice(("usd", "eur"))
        params = {"amount": self.dice.randint(1, 20_000), "currency": code}
        if self.dice.random() < 0.5:
            self.run(payout_calls.create, params=params)
            made = self.some("payout")
            if made is not None and made["status"] == "pending":
                self.run(payout_calls.cancel, ids=(made["id"],))
        else:
            self.run(lambda call: payouts.pay_out(call, code))

    def change_payout(self) -> None:
        payout = self.some("payout")
        if payout is not None:
            how = self.dice.random()
            if how < 0.4:
                self.run(lambda call: payouts.fail(call, call.find("payout", payout["id"])))
            elif how < 0.8:
                self.run(payout_calls.cancel, ids=(payout["id"],))
            else:
                self.run(payout_calls.reverse, ids=(payout["id"],))

    def topup(self) -> None:
        self.run(topups.create, params={"amount": 5 * self.amount("usd"), "currency": "usd"})

    def movement(self) -> None:
        kind = self.dice.choice(("stripe_fee", "reserve_hold", "climate_order_purchase", "what_is_this"))
        amount, fee = self.dice.randint(-5_000, 5_000), self.dice.randint(-50, 50)
        self.run(
            lambda call: balance.enter(call, kind, amount, "usd", source=None, fee=fee, available_on=call.now)
        )

    def wait(self) -> None:
        self.clock.advance(self.dice.choice((0.3, 1.5, 12.0, 3_600.0, 40_000.0, 90_000.0)))

    # What must hold

    def check_balance(self) -> None:
        sums: dict[str, dict[str, int]] = {}
        for txn in self.sandbox.store.tables["balance_transaction"].rows.values():
            assert txn["net"] == txn["amount"] - txn["fee"]
            assert txn["fee"] == sum(detail["amount"] for detail in txn["fee_details"])
            sums.setdefault(txn["currency"], {"pending": 0, "available": 0})[txn["status"]] += txn["net"]
        held = {code: row for code, row in self.sandbox.balances.items() if any(row.values())}
        assert held == {code: row for code, row in sums.items() if any(row.values())}

    def check_payouts(self) -> None:
        txns = self.sandbox.store.tables["balance_transaction"].rows
        seen: set[str] = set()
        for payout in self.sandbox.store.tables["payout"].rows.values():
            if not payout["automatic"]:
                continue
            members = self.sandbox.store.hidden(payout)["members"]
            assert not seen.intersection(members)
            seen.update(members)
            contents = [txns[ident] for ident in members if txns[ident]["source"] != payout["id"]]
            assert sum(txn["net"] for txn in contents) == payout["amount"]
            assert {txn["currency"] for txn in contents} == {payout["currency"]}

    def check_charges(self) -> None:
        booked: dict[str, int] = {}
        for txn in self.sandbox.store.tables["balance_transaction"].rows.values():
            if txn["type"] in ("charge", "payment", "payment_failure_refund"):
                booked[txn["source"]] = booked.get(txn["source"], 0) + txn["amount"]
        for charge in self.sandbox.store.tables["charge"].rows.values():
            if charge["captured"]:
                assert charge["amount_refunded"] <= charge["amount_captured"] <= charge["amount"]
            if charge["status"] == "failed":
                assert booked.get(charge["id"], 0) == 0
        for intent in self.sandbox.store.tables["payment_intent"].rows.values():
            assert 0 <= intent["amount_received"] <= intent["amount"]
            assert (intent["amount_capturable"] > 0) == (intent["status"] == "requires_capture")
        for dispute in self.sandbox.store.tables["dispute"].rows.values():
            taken = sum(txn["amount"] for txn in dispute["balance_transactions"])
            assert taken <= 0
            assert taken == 0 or dispute["status"] not in ("warning_closed", "warning_under_review")

    def check_connected(self) -> None:
        """What was sent and what came back, on the objects, is what was booked; never more back than sent."""
        tables = self.sandbox.store.tables
        txns: dict[str, int] = {}
        for txn in tables["balance_transaction"].rows.values():
            txns[txn["source"]] = txns.get(txn["source"], 0) + txn["amount"]
        for transfer in tables["transfer"].rows.values():
            back = tables["transfer_reversal"].having("transfer", transfer["id"])
            assert txns[transfer["id"]] == -transfer["amount"]
            assert sum(txns[each["id"]] for each in back) == transfer["amount_reversed"]
            assert transfer["amount_reversed"] <= transfer["amount"]
            assert transfer["reversed"] == (transfer["amount_reversed"] == transfer["amount"])
        for fee in tables["application_fee"].rows.values():
            back = tables["fee_refund"].having("fee", fee["id"])
            assert txns[fee["id"]] == fee["amount"]
            assert -sum(txns[each["id"]] for each in back) == fee["amount_refunded"] <= fee["amount"]
            sent = tables["charge"].rows[fee["originating_transaction"]]["transfer"]
            assert fee["amount"] <= tables["transfer"].rows[sent]["amount"]

    def check(self) -> None:
        self.check_connected()
        self.check_balance()
        self.check_payouts()
        self.check_charges()


_REQUESTED = ("request_multicapture", "request_incremental_authorization")


def run(seed: int, operations: int, *, converting: bool, every: int) -> Run:
    made = Run(seed, converting=converting)
    for count in range(operations):
        made.step()
        if count % every == 0:
            made.check()
    made.clock.advance(40 * 86_400)
    made.check()
    assert all(row["pending"] == 0 for row in made.sandbox.balances.values())
    return made


@pytest.mark.parametrize("converting", [False, True])
def test_money_adds_up_over_some_hundred_operations(
    converting: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made = run(11, 400, converting=converting, every=20)
    assert not caplog.records  # a timer that fails is logged
    assert made.done > 150
    tables = made.sandbox.store.tables
    assert tables["dispute"].order
    assert tables["transfer_reversal"].order
    assert tables["fee_refund"].order
    assert [payout for payout in tables["payout"].rows.values() if payout["automatic"]]


@pytest.mark.long
@pytest.mark.parametrize("converting", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_money_adds_up_over_five_thousand_operations(
    seed: int, converting: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made = run(seed, 5_000, converting=converting, every=250)
    assert not caplog.records
    kinds = {txn["type"] for txn in made.sandbox.store.tables["balance_transaction"].rows.values()}
    assert kinds >= {
        *("charge", "payment", "refund", "payment_refund", "refund_failure", "payment_failure_refund"),
        *("adjustment", "payout", "payout_failure", "payout_cancel", "topup", "what_is_this"),
        *("transfer", "transfer_refund", "application_fee", "application_fee_refund"),
    }
