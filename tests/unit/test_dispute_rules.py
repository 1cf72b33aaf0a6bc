"""What a decided dispute comes to, from whichever of its events it is heard."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import Json, StripeStory
from tests.unit.test_events import legs, read

from tallystick.events.spec import Question


def _told(course: list[str], **changes: Any) -> tuple[StripeStory, Json, Json]:
    story = StripeStory()
    charge = story.succeed(story.intent(3000))
    dispute = story.dispute(charge, course)
    dispute.update(changes)
    return story, charge, dispute


def _read(story: StripeStory, charge: Json, dispute: Json, *, place: int = -1) -> dict[str, dict[str, int]]:
    """What its last event means, had the object these changes."""
    events = [event for event in story.events if event["type"].startswith("charge.dispute.")]
    event = {**events[place]}
    if place == -1:
        event["data"] = {"object": dispute}
    return legs(read(event, {Question("charge", charge["id"]): charge}))


def _sums(posted: dict[str, dict[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in posted.values():
        for account, amount in entry.items():
            sums[account] = sums.get(account, 0) + amount
    return sums


@pytest.mark.parametrize("course", [["needs_response"], ["warning_needs_response", "warning_closed"]])
def test_what_is_open_or_moved_nothing_posts_nothing(course: list[str]) -> None:
    assert _read(*_told(course)) == {}


def test_a_lost_dispute_is_a_loss() -> None:
    story, charge, dispute = _told(["needs_response", "lost"])
    (txn,) = dispute["balance_transactions"]
    assert _read(story, charge, dispute) == {
        f"dispute:{dispute['id']}:decided:{txn['id']}": {
            "expenses:dispute_losses": 3000, "assets:stripe:disputed": -3000,
        }
    }  # fmt: skip


@pytest.mark.parametrize("reason", ["insufficient_funds", "incorrect_account_details", "bank_cannot_process"])
def test_a_bank_debit_that_came_back_late_is_owed_again(reason: str) -> None:
    posted = _read(*_told(["needs_response", "lost"], reason=reason))
    assert _sums(posted) == {"assets:receivable_returned": 3000, "assets:stripe:disputed": -3000}


def test_of_a_won_dispute_what_did_not_come_back_is_a_loss() -> None:
    posted = _read(*_told(["needs_response", "under_review", "won"]))
    assert len(posted) == 2
    assert _sums(posted) == {"expenses:dispute_losses": 300, "assets:stripe:disputed": -300}


def test_a_lost_dispute_that_is_won_in_the_end_says_the_same_of_what_it_took() -> None:
    told = _told(["needs_response", "lost", "won"])
    lost, won = _read(*told, place=1), _read(*told)
    assert lost.items() <= won.items()
    assert _sums(won)["expenses:dispute_losses"] == 300


def test_what_came_back_at_another_rate_is_exchange() -> None:
    story, charge, dispute = _told(["needs_response", "won"])
    taken, back = (dict(txn) for txn in dispute["balance_transactions"])
    taken.update(amount=-3300, exchange_rate=1.1)
    back.update(amount=3000, exchange_rate=1.0)
    dispute["balance_transactions"] = [taken, back]
    assert _sums(_read(story, charge, dispute)) == {
        "expenses:dispute_losses": 0, "expenses:fx_losses": 300, "assets:stripe:disputed": -300,
    }  # fmt: skip


def test_an_object_that_does_not_carry_what_it_moved_is_asked_for() -> None:
    story, charge, dispute = _told(["needs_response", "lost"])
    event = story.events[-1]
    question = Question("dispute", f"{dispute['id']}:{event['id']}")
    bare = {key: value for key, value in dispute.items() if key != "balance_transactions"}
    event["data"] = {"object": bare}
    facts = {Question("charge", charge["id"]): charge}
    assert read(event, facts).waiting_for == (question,)
    assert _sums(legs(read(event, {**facts, question: dispute})))["expenses:dispute_losses"] == 3000
