"""Thin events: what is asked for, and what an answer makes of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tallystick.errors import InvalidEventError, PayloadError
from tallystick.events import thin
from tallystick.events.spec import Event, Question
from tallystick.pipeline.incoming import read_event

BODY: dict[str, Any] = {
    "id": "evt_thin_1",
    "object": "v2.core.event",
    "type": "v1.charge.succeeded",
    "created": "2026-11-24T08:00:00.000Z",
    "livemode": False,
    "related_object": {"id": "ch_1", "type": "charge", "url": "/v1/charges/ch_1"},
}
ASKED = Question(thin.OBJECT, "evt_thin_1@/v1/charges/ch_1")
CHARGE = {"id": "ch_1", "object": "charge", "created": 1, "status": "succeeded"}


def test_the_object_is_asked_for_and_stands_for_the_snapshots() -> None:
    assert thin.resolve(BODY, {}) == ASKED
    event = thin.resolve(BODY, {ASKED: CHARGE})
    assert event == Event("evt_thin_1", "charge.succeeded", 1795507200, None, CHARGE)


def test_a_snapshot_that_is_named_is_asked_for_instead() -> None:
    body = {**BODY, "snapshot_event": "evt_1"}
    question = Question(thin.SNAPSHOT, "evt_1")
    assert thin.resolve(body, {}) == question
    snapshot = {
        "id": "evt_1",
        "object": "event",
        "type": "charge.succeeded",
        "created": 1,
        "api_version": "2026-10-28.endive",
        "data": {"object": CHARGE},
    }
    event = thin.resolve(body, {question: snapshot})
    assert event == Event("evt_1", "charge.succeeded", 1, "2026-10-28.endive", CHARGE)


def test_what_stripe_no_longer_knows_is_a_dead_letter() -> None:
    with pytest.raises(PayloadError):
        thin.resolve(BODY, {ASKED: None})


@pytest.mark.parametrize(
    "related",
    [
        None,
        {},
        {"url": 3},
        {"url": "https://elsewhere.example/v1/charges"},
        {"url": "/v2/core/accounts/acct_1"},
    ],
)
def test_nothing_but_an_object_of_api_v1_is_asked_for(related: object) -> None:
    with pytest.raises(PayloadError):
        thin.resolve({**BODY, "related_object": related}, {})


@pytest.mark.parametrize("created", [None, 5, "", "yesterday", "2026-11-24T08:00:00", "99999-01-01"])
def test_a_thin_event_without_a_time_is_none(created: object) -> None:
    with pytest.raises(InvalidEventError):
        read_event(orjson.dumps({**BODY, "created": created}))
