"""Payouts and top-ups: what arrived at the bank, whatever was heard of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.builders import START, Json, StripeStory
from tests.unit.test_events import last, legs, read

from tallystick.events.balance_transactions import balance_transaction_effects
from tallystick.events.spec import Effects

PAID = {"assets:bank": 5000, "assets:stripe:payouts_in_transit": -5000}
UNPAID = {account: -amount for account, amount in PAID.items()}


def _told(course: list[str], amount: int = 5000) -> tuple[StripeStory, Json]:
    story = StripeStory()
    return story, story.payout(amount, "usd", course)


@pytest.mark.parametrize("course", [[], ["in_transit"], ["canceled"]])
def test_what_did_not_arrive_is_not_posted(course: list[str]) -> None:
    story, _ = _told(course)
    assert all(legs(read(event)) == {} for event in story.events)


def test_a_payout_arrives_on_its_day() -> None:
    story, payout = _told(["in_transit", "paid"])
    effects = read(last(story, "payout.paid"))
    assert legs(effects) == {f"payout:{payout['id']}:paid": PAID}
    assert effects.transactions[0].occurred_at == datetime.fromtimestamp(START + 86_400, UTC)


@pytest.mark.parametrize("course", [["paid", "failed"], ["failed"]])
def test_a_failed_payout_is_paid_and_unpaid_whether_or_not_it_was_paid_before(course: list[str]) -> None:
    story, payout = _told(course)
    key = f"payout:{payout['id']}"
    assert legs(read(last(story, "payout.failed"))) == {f"{key}:paid": PAID, f"{key}:unpaid": UNPAID}


def test_a_payout_of_a_negative_amount_comes_from_the_bank() -> None:
    story, payout = _told(["paid"], amount=-700)
    assert legs(read(last(story, "payout.paid"))) == {
        f"payout:{payout['id']}:paid": {"assets:bank": -700, "assets:stripe:payouts_in_transit": 700}
    }


def test_its_balance_transactions_tell_of_it_too() -> None:
    story, payout = _told(["paid", "failed"])
    out, back = (balance_transaction_effects(txn, {}) for txn in story.balance_transactions)
    in_transit = {"assets:stripe:balance": -5000, "assets:stripe:payouts_in_transit": 5000}
    key = f"payout:{payout['id']}"
    assert legs(out) == {f"balance_transaction:{payout['balance_transaction']}": in_transit}
    assert legs(back).keys() == {
        f"balance_transaction:{payout['failure_balance_transaction']}", f"{key}:paid", f"{key}:unpaid",
    }  # fmt: skip
    assert legs(back)[f"{key}:unpaid"] == UNPAID
    assert _sums(out, back)["assets:stripe:payouts_in_transit"] == 0


def _topup(status: str) -> Json:
    return {
        "id": "tu_1", "object": "topup", "status": status, "amount": 900, "currency": "usd",
        "created": START,
        "balance_transaction": "txn_in",
    }  # fmt: skip


def _event(kind: str, obj: Json) -> dict[str, Any]:
    return {"id": "evt_1", "type": kind, "created": START, "data": {"object": obj}}


def test_a_top_up_leaves_the_bank_and_comes_back_when_it_is_reversed() -> None:
    succeeded = {"assets:stripe:topups_in_transit": 900, "assets:bank": -900}
    first = legs(read(_event("topup.succeeded", _topup("succeeded"))))
    both = legs(read(_event("topup.reversed", _topup("reversed"))))
    assert first == {"topup:tu_1:succeeded": succeeded}
    back = {account: -amount for account, amount in succeeded.items()}
    assert both == {"topup:tu_1:succeeded": succeeded, "topup:tu_1:reversed": back}


def test_a_top_up_and_its_balance_transactions_leave_nothing_in_transit() -> None:
    story = StripeStory()
    story.balance_transaction("topup", _topup("reversed"), 900, 0, [])["id"] = "txn_in"
    story.balance_transaction("topup_reversal", _topup("reversed"), -900, 0, [])
    seen = [balance_transaction_effects(txn, {}) for txn in story.balance_transactions]
    assert "topup:tu_1:reversed" not in legs(seen[0])
    assert set(_sums(*seen).values()) == {0}


def _sums(*seen: Effects) -> dict[str, int]:
    """The sums by account of all that was told, each key once."""
    facts: dict[str, dict[str, int]] = {}
    for effects in seen:
        facts |= legs(effects)
    sums: dict[str, int] = {}
    for posted in facts.values():
        for account, amount in posted.items():
            sums[account] = sums.get(account, 0) + amount
    return sums
