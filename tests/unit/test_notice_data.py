"""What a notice says: enough to act on, the same whichever event tells it first, small, and no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from pydantic import TypeAdapter
from tests.unit.notice_objects import CHARGE, DISPUTE, INTENT, INVOICE, NOTICED_AT, OBJECTS, PAYOUT, REFUND

from tallystick.events.catalog import EVENTS
from tallystick.events.notice_shapes import NOTICE_DATA
from tallystick.events.spec import Event, Question
from tallystick.outbox.notices import NOTICES, Notice
from tallystick.outbox.signing import notice_id, payload

Json = dict[str, Any]
NOTICES_PAGE: Final = Path(__file__).parents[2] / "docs" / "notices.md"
_EXAMPLE: Final = re.compile(r"```json\n(?P<json>\{.*?\n)```", re.DOTALL)
SECRET: Final = "whatever_secret_4f1"


def told(event_type: str, obj: Json, event_id: str = "evt_1") -> list[Notice]:
    """The notices of an event about the object, whatever it has to ask Stripe answered by nothing."""
    event = {"id": event_id, "type": event_type, "created": NOTICED_AT, "data": {"object": obj}}
    facts: dict[Question, Any] = {}
    while True:
        effects = EVENTS[event_type].rule(Event.read(event), facts)
        asked = [question for question in effects.waiting_for if question not in facts]
        if not asked:
            return list(effects.notices)
        facts |= {q: CHARGE if q.kind == "charge" else None for q in asked}


def all_told() -> Iterator[Notice]:
    for event_type, objects in OBJECTS.items():
        for obj in objects:
            yield from told(event_type, deepcopy(obj))


def test_every_notice_of_a_rule_has_the_shape_of_its_family() -> None:
    seen = set()
    for notice in all_told():
        family = notice.type.partition(".")[0]
        shape = TypeAdapter(NOTICE_DATA[family])
        assert shape.validate_python(dict(notice.data), strict=True) == notice.data, "and nothing besides"
        seen.add(notice.type)
    assert seen == {name for name in NOTICES if not name.startswith("webhook_endpoint.")}


def test_a_success_is_told_alike_by_its_charge_and_by_its_intent() -> None:
    (by_charge,) = told("charge.succeeded", CHARGE)
    (by_intent,) = told("payment_intent.succeeded", INTENT)
    assert by_charge == by_intent
    after_a_decline = {**INTENT, "last_payment_error": {"code": "card_declined"}}
    assert told("payment_intent.succeeded", after_a_decline) == [by_charge]
    refunded = {**CHARGE, "amount_refunded": 500, "refunds": None}
    assert by_intent in told("charge.updated", refunded), "what came later changes nothing of it"


def test_the_merchants_own_metadata_is_told_and_ours_is_not() -> None:
    (notice,) = told("payment_intent.succeeded", INTENT)
    assert INTENT["metadata"].keys() - notice.data["metadata"].keys() == {"tallystick_payment"}
    assert notice.data["metadata"] == {"order": "1042"}


def test_a_partial_capture_tells_both_amounts() -> None:
    part = {**CHARGE, "amount_captured": 1500}
    (notice,) = told("charge.captured", part)
    assert (notice.data["amount"], notice.data["amount_captured"]) == (1999, 1500)


def test_no_secret_and_no_card_is_told() -> None:
    card = {"id": "pm_1", "object": "payment_method", "card": {"last4": "4242", "fingerprint": SECRET}}
    link = {"url": f"https://hooks.stripe.com/redirect?client_secret={SECRET}", "return_url": None}
    intent = {
        **INTENT,
        "status": "requires_action",
        "client_secret": f"pi_1_{SECRET}",
        "payment_method": card,
        "next_action": {"type": "redirect_to_url", "redirect_to_url": link},
        "last_payment_error": {"code": "card_declined", "message": "No.", "payment_method": card},
    }
    for event_type in ("payment_intent.requires_action", "payment_intent.payment_failed"):
        (notice,) = told(event_type, intent)
        assert SECRET not in repr(notice)
        assert "4242" not in repr(notice)
        assert notice.data["next_action"] == {"type": "redirect_to_url"}
        assert notice.data["payment_method"] == "pm_1"
    dispute = {**DISPUTE, "evidence": {"customer_name": SECRET}, "payment_method_details": card}
    payout = {**PAYOUT, "destination": {"id": "ba_1", "last4": "4242", "fingerprint": SECRET}}
    invoice = {**INVOICE, "confirmation_secret": {"client_secret": SECRET}, "payment_settings": card}
    for event_type, obj in (
        ("charge.dispute.created", dispute),
        ("payout.paid", payout),
        ("invoice.finalized", invoice),
        ("refund.updated", {**REFUND, "destination_details": card}),
    ):
        (notice,) = told(event_type, obj)
        assert SECRET not in repr(notice)
        assert "4242" not in repr(notice)


def test_a_notice_stays_small_whatever_it_is_about() -> None:
    long = "x" * 100_000
    for event_type, objects in OBJECTS.items():
        for obj in objects:
            huge = {
                name: long if isinstance(value, str) and name in _FREE else value
                for name, value in obj.items()
            }
            huge["metadata"] = obj["metadata"] | {f"{n}{long}": long for n in range(100)}
            for notice in told(event_type, huge):
                assert len(orjson.dumps(dict(notice.data))) < 70_000, notice.type


_FREE: Final = {
    "description", "number", "receipt_email", "reason", "failure_message", "hosted_invoice_url",
    "cancellation_reason", "statement_descriptor", "billing_reason",
}  # fmt: skip


def examples() -> list[Json]:
    """The notices that docs/notices.md shows whole."""
    return [orjson.loads(found["json"]) for found in _EXAMPLE.finditer(NOTICES_PAGE.read_text("utf-8"))]


def test_the_docs_show_one_notice_of_each_family() -> None:
    assert [shown["type"].partition(".")[0] for shown in examples()] == list(NOTICE_DATA)


@pytest.mark.parametrize("shown", examples(), ids=lambda shown: shown["type"])
def test_what_the_docs_show_is_what_is_sent(shown: Json) -> None:
    notice = next(notice for notice in all_told() if notice.type == shown["type"])
    at = datetime.fromtimestamp(NOTICED_AT, UTC)
    sent = payload(notice_id(notice.key), notice.type, at, notice.data)
    assert orjson.loads(sent) == shown
