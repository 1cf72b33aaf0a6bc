"""Alerts without Prometheus: they fire once, are told, told again, resolved, and told so; whoever does it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.alerting import conditions as rules
from tallystick.alerting.conditions import Condition, conditions
from tallystick.alerting.evaluation import Alerting
from tallystick.alerting.record import list_alerts
from tallystick.errors import ConfigurationError
from tallystick.pipeline.views.state import Backlog, DeadLetters, EndpointStates, ListingState, State
from tallystick.settings import Settings, load_settings

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WELL = State(
    at=NOW,
    pending_events=Backlog(0, None),
    retried_events=0,
    events_overdue_since=None,
    unposted_balance_transactions=Backlog(0, None),
    dead_letters=(),
    listings=(),
    pending_notices=Backlog(0, None),
    endpoints=EndpointStates(1, 1, 0, 0, None),
    unfinished_stripe_calls=Backlog(0, None),
    seal_blocks=1,
    unsealed_since=None,
    suspense={"usd": 0},
    unapplied={"usd": 0},
)


def ago(**of: float) -> datetime:
    return NOW - timedelta(**of)


def audit(**given: Any) -> tuple[ListingState, ...]:
    fields = {"name": "events", "read_through": NOW, "finished_at": NOW, "found_last": 0, "found_in_all": 9}
    return (ListingState(**{**fields, **given}),)


WRONG: dict[str, dict[str, Any]] = {
    "TallystickInboxLag": {"events_overdue_since": ago(seconds=61)},
    "TallystickEventsStuck": {"pending_events": Backlog(1, ago(hours=6.1))},
    "TallystickDeadLetters": {"dead_letters": (DeadLetters("event", "unexpected", 1, NOW),)},
    "TallystickDeadLettersMany": {"dead_letters": (DeadLetters("event", "other", 101, None),)},
    "TallystickDeadLetterOld": {"dead_letters": (DeadLetters("event", "unexpected", 1, ago(days=3.1)),)},
    "TallystickKeyConflict": {"dead_letters": (DeadLetters("event", "effect_differs", 1, NOW),)},
    "TallystickGapAuditLate": {"listings": audit(finished_at=ago(days=1.1))},
    "TallystickGapAuditEdge": {"listings": audit(read_through=ago(days=7.1))},
    "TallystickEventsMissed": {"listings": audit(found_last=1)},
    "TallystickSettlementStale": {
        "listings": audit(name="balance_transactions:minutes", finished_at=ago(minutes=16))
    },
    "TallystickSettlementUnposted": {"unposted_balance_transactions": Backlog(1, ago(hours=6.1))},
    "TallystickCallsUnfinished": {"unfinished_stripe_calls": Backlog(1, ago(hours=1.1))},
    "TallystickSealLag": {"unsealed_since": ago(minutes=6)},
    "TallystickSuspense": {"suspense": {"usd": -250, "eur": 0}},
    "TallystickUnapplied": {"unapplied": {"usd": 1}},
    "TallystickNoticesFailing": {"endpoints": EndpointStates(1, 0, 0, 1, ago(hours=1.1))},
    "TallystickNoticeEndpointDisabled": {"endpoints": EndpointStates(1, 0, 1, 0, None)},
    "TallystickNoticesLate": {"pending_notices": Backlog(1, ago(hours=1.1))},
}


def state(**changes: Any) -> State:
    fields = {name: getattr(WELL, name) for name in State.__slots__}
    return State(**{**fields, **changes})


def settings(**given: Any) -> Settings:
    return load_settings({}, require=(), **given)


def test_all_is_well() -> None:
    assert conditions(WELL, settings()) == []
    assert conditions(state(listings=audit()), settings()) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(name: str) -> None:
    found = {each.name: each for each in conditions(state(**WRONG[name]), settings())}
    assert name in found
    assert set(found) <= {name, "TallystickDeadLetters"}
    assert found[name].summary


def test_every_rule_is_tried_and_explained() -> None:
    source = Path(rules.__file__).read_text("utf-8")
    names = set(re.findall(r'"(Tallystick\w+)"', source))
    assert names == set(WRONG)
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text("utf-8")
    assert names <= set(re.findall(r"^## (\w+)$", page, re.MULTILINE))


def test_amounts_and_times_are_said_as_people_say_them() -> None:
    found = conditions(state(**WRONG["TallystickSuspense"], **WRONG["TallystickGapAuditEdge"]), settings())
    assert [each.summary for each in found] == [
        "Events are not audited since 7.1 days; Stripe keeps them for 30 days",
        "-2.50 USD in suspense",
    ]


@pytest.mark.parametrize(
    "given", [{"alert_email": True}, {"alert_webhook_url": "ftp://x"}, {"alert_webhook_url": "nonsense"}]
)
def test_who_cannot_be_told_is_said_at_the_start(given: dict[str, Any], engine: AsyncEngine) -> None:
    with pytest.raises(ConfigurationError):
        Alerting(engine, settings(**given))


@asynccontextmanager
async def chat() -> AsyncIterator[tuple[str, list[str], list[int]]]:
    """An incoming webhook: its URL, what it was told, and the statuses that it answers next."""
    heard: list[str] = []
    answers: list[int] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append((await request.json())["text"])
        return web.Response(status=answers.pop(0) if answers else 200)

    application = web.Application()
    application.router.add_post("/hook", hear)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", heard, answers
    finally:
        await runner.cleanup()


@asynccontextmanager
async def alerting(engine: AsyncEngine, url: str = "", **given: Any) -> AsyncIterator[Alerting]:
    made = Alerting(engine, settings(alert_webhook_url=SecretStr(url), **given))
    try:
        yield made
    finally:
        await made.close()


async def run(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement))


DIE = (
    "INSERT INTO webhook_events (id, type, livemode, body, status, created_at, ring_at, finished_at)"
    " VALUES ('evt_1', 'charge.updated', false, '{}', 'dead', now(), now(), now())"
)
LATER = (
    "UPDATE alerts SET held_since = held_since - interval '1 hour', tell_at = tell_at - interval '5 hours'"
)
FIRING = (
    "[warning] FIRING: TallystickDeadLetters: 1 dead letter. What to do: docs/alerts.md#tallystickdeadletters"
)


async def firing(engine: AsyncEngine) -> list[tuple[str, str]]:
    async with engine.connect() as connection:
        found, _ = await list_alerts(connection, limit=100)
    return [(each.name, each.status) for each in found]


async def test_an_alert_fires_when_it_has_held_and_is_resolved_when_it_has_not(engine: AsyncEngine) -> None:
    async with chat() as (url, heard, _), alerting(engine, url) as ours:
        await ours.step()
        await run(engine, DIE)
        await ours.step()
        assert (heard, await firing(engine)) == ([], [])  # it may pass by itself
        await run(engine, LATER)
        await ours.step()
        assert heard == [FIRING]
        await ours.step()
        assert len(heard) == 1
        await run(engine, "UPDATE webhook_events SET status = 'processed'")
        await ours.step()
        await ours.step()
        assert len(heard) == 2
        assert re.fullmatch(
            r"RESOLVED: TallystickDeadLetters after \d:\d\d:\d\d. It was: 1 dead letter.", heard[1]
        )
        assert await firing(engine) == [("TallystickDeadLetters", "resolved")]
        await run(engine, "UPDATE webhook_events SET status = 'dead'")
        await ours.step()
        await run(engine, LATER)
        await ours.step()
        assert heard[2:] == [FIRING]


async def test_what_passes_by_itself_is_told_to_nobody(engine: AsyncEngine) -> None:
    async with chat() as (url, heard, _), alerting(engine, url) as ours:
        await run(engine, DIE)
        await ours.step()
        await run(engine, "UPDATE webhook_events SET status = 'processed'")
        await ours.step()
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM alerts"))).scalar_one() == 0
        assert heard == []


async def test_an_alert_that_goes_on_is_told_again(engine: AsyncEngine) -> None:
    async with chat() as (url, heard, _), alerting(engine, url) as ours:
        await run(engine, DIE)
        await ours.step()
        for times in (1, 2):
            await run(engine, LATER)
            await ours.step()
            assert heard == [FIRING] * times


async def test_what_could_not_be_told_is_told_later(engine: AsyncEngine) -> None:
    async with chat() as (url, heard, answers), alerting(engine, url) as ours:
        await run(engine, DIE)
        await ours.step()
        await run(engine, LATER)
        answers.append(500)
        await ours.step()
        await ours.step()
        assert len(heard) == 1  # the lease of two minutes
        await run(engine, "UPDATE alerts SET tell_at = tell_at - interval '2 minutes'")
        await ours.step()
        await ours.step()
        assert heard == [FIRING] * 2


async def test_of_many_workers_one_tells(engine: AsyncEngine) -> None:
    async with chat() as (url, heard, _):
        workers = [Alerting(engine, settings(alert_webhook_url=SecretStr(url))) for _ in range(5)]
        await run(engine, DIE)
        await workers[0].step()
        await run(engine, LATER)
        await asyncio.gather(*(each.step() for each in workers))
        await asyncio.gather(*(each.step() for each in workers))
        for each in workers:
            await each.close()
    assert heard == [FIRING]


async def test_there_is_one_for_each_currency(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = timedelta(0)
    found = [
        Condition("TallystickSuspense", "warning", amount, "money", about=currency, patience=at_once)
        for currency, amount in (("usd", 5), ("eur", -7))
    ]
    monkeypatch.setattr("tallystick.alerting.evaluation.conditions", lambda *_: found)
    async with chat() as (url, heard, _), alerting(engine, url) as ours:
        await ours.step()
        found.pop()
        await ours.step()
    assert [line.partition(")")[0] for line in sorted(heard)] == [
        "RESOLVED: TallystickSuspense (eur",
        "[warning] FIRING: TallystickSuspense (eur",
        "[warning] FIRING: TallystickSuspense (usd",
    ]


async def test_they_are_listed_page_by_page(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Condition(f"A{n}", "critical", n, "x", patience=timedelta(0)) for n in range(5)]
    monkeypatch.setattr("tallystick.alerting.evaluation.conditions", lambda *_: found)
    async with alerting(engine) as ours:
        await ours.step()
        del found[2:]
        await ours.step()
    names: list[str] = []
    cursor: str | None = None
    async with engine.connect() as connection:
        while True:
            page, cursor = await list_alerts(connection, limit=2, cursor=cursor)
            names += [each.name for each in page]
            if cursor is None:
                break
        ended, _ = await list_alerts(connection, status="resolved", limit=9)
        going_on, _ = await list_alerts(connection, status="firing", limit=9)
    assert sorted(names) == ["A0", "A1", "A2", "A3", "A4"]
    assert {each.name for each in ended} == {"A2", "A3", "A4"}
    assert {(each.name, each.value) for each in going_on} == {("A0", 0), ("A1", 1)}
