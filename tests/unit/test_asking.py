"""Questions on their way to Stripe: asked once, for all that wait, and given up with the process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import pytest

from tallystick.events.spec import Question
from tallystick.pipeline.asking import Asking
from tallystick.pipeline.lookups import Lookups
from tallystick.settings import load_settings
from tallystick.stripe_gateway.client import StripeGateway

FIRST, SECOND = Question("invoice_payments", "pi_1"), Question("invoice_payments", "pi_2")


class SlowLookups:
    """Answers when it is told to; what it was asked, and which events it heard of by then."""

    def __init__(self, *, knows: bool = True) -> None:
        self.go = asyncio.Event()
        self.asked: list[Question] = []
        self.waited: dict[Question, list[str]] = {}
        self._knows = knows

    async def answer(self, questions: Mapping[Question, Iterable[str]]) -> set[Question]:
        self.asked += questions
        await self.go.wait()
        self.waited |= {question: sorted(events) for question, events in questions.items()}
        return set(questions) if self._knows else set()


@pytest.fixture
def rung() -> list[list[str]]:
    return []


async def _done(asking: Asking) -> None:
    await asyncio.gather(*asking._tasks)


async def test_whoever_comes_upon_a_question_under_way_is_rung_with_it(rung: list[list[str]]) -> None:
    lookups = SlowLookups()
    asking = Asking(cast("Lookups", lookups), lambda events: rung.append(list(events)))
    asking.ask({FIRST: ["evt_1"], SECOND: ["evt_2"]})
    await asyncio.sleep(0)
    asking.ask({FIRST: ["evt_3"]})
    lookups.go.set()
    await _done(asking)
    assert lookups.asked == [FIRST, SECOND]
    assert sorted(rung) == [["evt_1", "evt_3"], ["evt_2"]]
    assert lookups.waited[FIRST] == ["evt_1", "evt_3"]  # a refusal is counted for both
    asking.ask({FIRST: ["evt_4"]})
    await _done(asking)
    assert rung[-1] == ["evt_4"]


async def test_without_an_answer_nothing_rings(rung: list[list[str]]) -> None:
    lookups = SlowLookups(knows=False)
    asking = Asking(cast("Lookups", lookups), lambda events: rung.append(list(events)))
    lookups.go.set()
    asking.ask({FIRST: ["evt_1"]})
    await _done(asking)
    assert rung == []


async def test_what_is_under_way_ends_with_the_process(rung: list[list[str]]) -> None:
    asking = Asking(cast("Lookups", SlowLookups()), lambda events: rung.append(list(events)))
    asking.ask({FIRST: ["evt_1"]})
    await asyncio.sleep(0)
    await asking.close()
    assert rung == []


async def test_an_invoice_with_many_payments_is_read_with_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = StripeGateway(load_settings({}, require=(), stripe_secret_key="sk_test_x"))
    found: dict[str, Any] = {"id": "in_1", "payments": {"data": [{"id": "inpay_1"}], "has_more": True}}
    asked = []

    async def find(path: str, params: Mapping[str, object]) -> dict[str, Any]:
        asked.append((path, dict(params)))
        return found

    async def rows(path: str, params: Mapping[str, object]) -> Sequence[dict[str, str]]:
        asked.append((path, dict(params)))
        return [{"id": "inpay_1"}, {"id": "inpay_2"}]

    monkeypatch.setattr(gateway, "_find", find)
    monkeypatch.setattr(gateway, "_list", rows)
    invoice = await gateway.find_invoice("in_1")
    assert asked == [
        ("/v1/invoices/in_1", {"expand": ["payments"]}),
        ("/v1/invoice_payments", {"invoice": "in_1"}),
    ]
    assert invoice is not None
    assert [row["id"] for row in invoice["payments"]["data"]] == ["inpay_1", "inpay_2"]
