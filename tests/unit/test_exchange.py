"""Exchange differences: what goes back at another rate than it came at, told in any order, counted once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.builders import Json, StripeStory
from tests.unit.test_events import legs, transaction

from tallystick.events.balance_transactions import balance_transaction_effects
from tallystick.events.exchange import SETTLED_CHARGE
from tallystick.events.spec import Facts, Question

OURS = "pay_" + "0" * 26
CHARGE: Json = {
    "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 1000, "amount_captured": 1000,
    "captured": True, "currency": "eur", "created": 1, "payment_intent": "pi_1", "metadata": {},
    "balance_transaction": "txn_0",
}  # fmt: skip
ASKED = Question(SETTLED_CHARGE, "ch_1")


def _facts(**values: Any) -> Facts:
    """That the charge of 10.00 EUR settled as 11.50 USD."""
    settled = transaction(id="txn_0", amount=1150, fee=0, net=1150, fee_details=[], source="ch_1", **values)
    return {ASKED: {**CHARGE, "balance_transaction": settled}}


def _moved(amount: int, kind: str = "refund", of: int = 1000, **values: Any) -> Json:
    refund = {
        "id": "re_1", "object": "refund", "status": "succeeded", "amount": of, "currency": "eur",
        "created": 2, "charge": "ch_1", "payment_intent": "pi_1", "balance_transaction": "txn_1",
        "metadata": {"tallystick_payment": OURS, "tallystick_refund": "ref_" + "0" * 26},
    }  # fmt: skip
    body = transaction(type=kind, reporting_category=kind, amount=amount, net=amount, fee=0, fee_details=[])
    return {**body, "source": refund, **values}


def _difference(body: Json, facts: Facts) -> dict[str, int] | None:
    effects = balance_transaction_effects(body, facts)
    assert effects.waiting_for == ()
    return legs(effects).get("fx:txn_1")


@pytest.mark.parametrize(
    ("amount", "of", "kind", "posted"),
    [
        (-1200, 1000, "refund", {"expenses:fx_losses": 50, "equity:fx": -50}),
        (-1100, 1000, "refund", {"revenue:fx_gains": -50, "equity:fx": 50}),
        (-470, 400, "payment_refund", {"expenses:fx_losses": 10, "equity:fx": -10}),
        (1200, 1000, "refund_failure", {"revenue:fx_gains": -50, "equity:fx": 50}),
        (1100, 1000, "refund_failure", {"expenses:fx_losses": 50, "equity:fx": -50}),
        (-460, 400, "refund", None),
    ],
)
def test_what_goes_back_at_another_rate_gains_or_loses(
    amount: int, of: int, kind: str, posted: dict[str, int] | None
) -> None:
    """400/1000 of 11.50 USD are 4.60; a refund that fails comes back at a rate of its own."""
    assert _difference(_moved(amount, kind, of), _facts()) == posted


def test_after_a_full_refund_nothing_is_left_converted() -> None:
    came = transaction(id="txn_0", amount=1150, net=1150, fee=0, fee_details=[], source=CHARGE)
    left: Counter[str] = Counter()
    for body in (came, _moved(-1233)):
        for posted in legs(balance_transaction_effects(body, _facts())).values():
            left.update({account: n for account, n in posted.items() if account.startswith("equity:fx")})
    assert set(left.values()) == {0}


def test_it_waits_for_the_charges_own_transaction_and_the_rest_does_not() -> None:
    effects = balance_transaction_effects(_moved(-1200), {})
    assert effects.waiting_for == (ASKED,)
    assert legs(effects).keys() >= {"balance_transaction:txn_1", "refund:re_1"}
    assert "fx:txn_1" not in legs(effects)


@pytest.mark.parametrize(
    "facts",
    [
        {ASKED: None},
        {ASKED: CHARGE},
        _facts(currency="gbp"),
    ],
)
def test_without_a_rate_to_compare_with_there_is_none(facts: Facts) -> None:
    """Stripe knows no such charge; it shows no transaction; it settled in a third currency."""
    assert _difference(_moved(-1200), facts) is None


def test_in_one_currency_nothing_is_asked() -> None:
    refund = {**_moved(-1000)["source"], "currency": "usd"}
    assert balance_transaction_effects(_moved(-1000, source=refund), {}).waiting_for == ()


def test_a_bank_debit_that_fails_at_another_rate() -> None:
    failed = {
        **CHARGE, "status": "failed", "captured": False, "amount_captured": 0,
        "failure_balance_transaction": "txn_1",
    }  # fmt: skip
    body = _moved(-1200, "payment_failure_refund", source=failed)
    assert _difference(body, _facts()) == {"expenses:fx_losses": 50, "equity:fx": -50}


@pytest.mark.parametrize("kind", ["charge", "dispute", "dispute_reversal"])
def test_what_comes_for_the_first_time_has_none_and_disputes_have_their_own(kind: str) -> None:
    """A dispute's difference is told with its decision, between the two rates of the dispute itself."""
    story = StripeStory(settlement="usd")
    story.dispute(story.succeed(story.intent(5000, "eur")), ["needs_response", "under_review", "won"])
    [body] = [txn for txn in story.balance_transactions if txn["reporting_category"] == kind]
    effects = balance_transaction_effects(body, {})
    assert effects.waiting_for == ()
    assert not any(key.startswith("fx:") for key in legs(effects))
