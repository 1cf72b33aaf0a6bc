"""When a failure happened: the transaction of the failure knows, and events; what came before it does not."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.builders import START, Json, StripeStory
from tests.unit.test_events import OURS, last, read

from tallystick.events.balance_transactions import balance_transaction_effects
from tallystick.events.spec import Effects, moment


def _dates(effects: Effects) -> dict[str, datetime]:
    return {item.effect_key: item.occurred_at for item in effects.transactions}


def _failed_refund() -> tuple[StripeStory, Json, Json]:
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours=OURS))
    refund = story.refund(charge, 400, status="pending", ours=True)
    story.update_refund(charge, refund, "failed")
    out, back = story.balance_transactions[1:]
    return story, out, back


def test_the_transaction_of_a_refund_that_failed_later_does_not_date_its_failure() -> None:
    """It is listed with the refund as it stands now."""
    story, out, back = _failed_refund()
    refund = f"refund:{out['source']['id']}"
    assert _dates(balance_transaction_effects(out, {})).keys() == {
        f"balance_transaction:{out['id']}", refund, f"{refund}:applied",
    }  # fmt: skip
    failed = _dates(balance_transaction_effects(back, {}))
    assert failed[f"{refund}:reversed"] == failed[f"{refund}:applied:reversed"] == moment(back["created"])
    assert failed[refund] == moment(out["source"]["created"]) < failed[f"{refund}:reversed"]
    told = last(story, "refund.failed")
    assert _dates(read(told))[f"{refund}:reversed"] == moment(told["created"])


def test_the_transaction_of_a_bank_debit_that_failed_later_does_not_date_its_failure() -> None:
    story = StripeStory()
    charge = story.succeed(story.intent(1000, ours=OURS))
    [paid] = story.balance_transactions
    back = story.balance_transaction("payment_failure_refund", charge, -1000, 0, [])
    charge.update(status="failed", captured=False, failure_balance_transaction=back["id"])
    captured = f"charge:{charge['id']}:captured"
    first, second = (_dates(balance_transaction_effects(txn, {})) for txn in (paid, back))
    assert first[captured] == moment(paid["created"])
    assert f"{captured}:reversed" not in first
    assert second[f"{captured}:reversed"] == moment(back["created"])


@pytest.mark.parametrize("failed_at", [START + 3_600, START + 400_000])
def test_a_payout_is_paid_no_later_than_it_came_back(failed_at: int) -> None:
    """It is expected at the bank after a day, and can fail before that."""
    story = StripeStory()
    payout = story.payout(5000, "usd", ["failed"])
    event = {**last(story, "payout.failed"), "created": failed_at}
    dates = _dates(read(event))
    paid, unpaid = (dates[f"payout:{payout['id']}:{which}"] for which in ("paid", "unpaid"))
    assert unpaid == moment(failed_at)
    assert paid == min(moment(START + 86_400), unpaid)
