"""GET /metrics: who may read it, what it says, and what it says while a server is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.conftest import Databases
from tests.counted import counted, parsed, value
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_health import alone
from tests.integration.api.test_refusals import assert_problem
from tests.integration.api.test_webhook_route import deliver, event

from tallystick.api import auth
from tallystick.embedded import EmbeddedValkey
from tallystick.exposition.listener import listening
from tallystick.exposition.scrape import Scrape
from tallystick.monitoring import metrics
from tallystick.settings import load_settings


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for most tests here: what they look at is their own, or by how much it moves."""
    url = await databases.create()
    async with open_face(url, valkey) as made:
        yield made
    await databases.drop(url)


def scraper(face: Face, **changes: float) -> Scrape:
    """A process's answers that are always fresh."""
    app = face.app
    return Scrape(app.engine, app.queue, app.stripe, app.door, app.inbox, **{"keep_s": 0, **changes})


async def scrape(face: Face, **headers: str) -> httpx.Response:
    return await face.http.get("/metrics", headers=headers)


async def test_a_key_with_its_scope_is_needed(face: Face) -> None:
    assert (await scrape(face)).status_code == 200  # of an administrator
    for scopes, status, code in ((["metrics:read"], 200, ""), (["ledger:read"], 403, "insufficient_scope")):
        answer = await scrape(face, Authorization=f"Bearer {await face.key(*scopes)}")
        assert answer.status_code == status
        if code:
            assert_problem(answer, status, code)
    assert_problem(await scrape(face, Authorization=""), 401, "authentication_required")
    assert_problem(await scrape(face, Authorization="Bearer tsk_" + "x" * 40), 401, "invalid_api_key")


async def test_in_a_closed_network_no_key_is_needed(database_url: str, valkey: EmbeddedValkey) -> None:
    async with open_face(database_url, valkey, metrics_public=True) as face:
        assert (await scrape(face, Authorization="")).status_code == 200


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=x", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=nonsense", "application/openmetrics-text; version=1.0.0"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2",
            "application/openmetrics-text; version=1.0.0",
        ),
    ],
)
async def test_it_speaks_what_prometheus_asks_for(face: Face, accept: str, media_type: str) -> None:
    answer = await scrape(face, Accept=accept)
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.text.endswith("# EOF\n") == media_type.startswith("application")


async def test_everything_declared_is_there(face: Face) -> None:
    """All but what needs something to be named: a dead letter, a list that was read, a currency."""
    await face.pay()
    told = (await scrape(face)).text
    named = {name for name, _ in parsed(told)}
    for reading in metrics.READINGS:
        if not reading.labels or reading in (metrics.BUILD, metrics.ENDPOINTS):
            assert reading.name in named, reading.name
    assert value(told, "tallystick_state_up") == value(told, "tallystick_redis_up") == 1
    assert abs(value(told, "tallystick_database_clock_offset_seconds") or 0) < 60
    assert (value(told, "process_resident_memory_bytes") or 0) > 1e6
    assert value(told, "tallystick_stripe_breaker_open") == 0
    assert value(told, "tallystick_database_connections_max") == face.app.settings.database_pool_size


async def test_what_the_database_holds_is_shown(face: Face) -> None:
    async with face.app.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO webhook_events"
                " (id, type, livemode, body, status, created_at, ring_at, finished_at) VALUES"
                " ('evt_dead', 'charge.updated', false, '{}', 'dead', now(), now(),"
                " now() - interval '1 hour')"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO stripe_listings (name, through, finished_at, found_in_all)"
                " VALUES ('events', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', 7)"
            )
        )
    told = (await scraper(face).answer("api")).body.decode()
    assert value(told, "tallystick_dead_letters", kind="event", code="unexpected") == 1
    age = value(told, "tallystick_dead_letters_oldest_seconds", kind="event", code="unexpected")
    assert age is not None
    assert 3600 <= age < 3700
    assert value(told, "tallystick_stripe_list_found_total", list="events") == 7
    done = value(told, "tallystick_stripe_list_last_success_timestamp_seconds", list="events")
    assert done == 1767312000


async def test_requests_are_counted_under_their_route(face: Face) -> None:
    with counted() as moved:
        paid = await face.pay()
        await face.http.get(f"/payments/{paid['id']}")
        await face.http.get("/payments/pay_of_nobody")
        await face.http.get("/no/such/place")
        await face.http.request("BREW", "/payments")
    requests = "tallystick_http_requests_total"
    assert moved.by(requests, method="POST", route="/payments", status="201") == 1
    assert moved.by(requests, method="GET", route="/payments/{id}", status="200") == 1
    assert moved.by(requests, method="GET", route="/payments/{id}", status="404") == 1
    assert moved.by(requests, method="GET", route=metrics.OTHER, status="404") == 1
    assert moved.family(requests, "method") == {"POST": 1, "GET": 3, metrics.OTHER: 1}
    seconds = "tallystick_http_request_duration_seconds_count"
    assert moved.by(seconds, method="GET", route="/payments/{id}") == 2
    assert (
        moved.by("tallystick_stripe_requests_total", method="POST", resource="payment_intents", outcome="2xx")
        == 1
    )
    assert moved.by("tallystick_stripe_request_duration_seconds_count", method="POST") == 1


async def test_deliveries_are_counted_by_their_answer(face: Face) -> None:
    with counted() as moved:
        await deliver(face, event("evt_1"))
        await deliver(face, event("evt_1"))
        await deliver(face, event("evt_2"), age=3600)
        await deliver(face, event("evt_3"), secret="whsec_of_somebody")
        await deliver(face, b"[]")
    assert moved.family("tallystick_webhooks_total", "outcome") == {
        "stored": 1, "duplicate": 1, "signature_expired": 1, "invalid_signature": 1, "invalid_event": 1,
    }  # fmt: skip
    assert moved.by("tallystick_webhook_duration_seconds_count") == 2
    assert moved.family("tallystick_http_requests_total", "route") == {}


async def test_idempotency_keys_are_counted(face: Face) -> None:
    order = {"amount": 1000, "currency": "usd"}
    with counted() as moved:
        await face.post("/payments", order, key="k")
        await face.post("/payments", order, key="k")
        await face.post("/payments", {**order, "amount": 2}, key="k")
        await face.post("/payments", order)
    assert moved.family("tallystick_idempotent_requests_total", "outcome") == {
        "worked": 1, "replayed": 1, "reused": 1,
    }  # fmt: skip


async def test_tries_at_stripe_are_counted_by_what_came_of_them(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    async with open_face(database_url, valkey, stripe_breaker_outages=2) as face:
        with counted() as moved:
            await face.fault(action="status", status=429, path="/v1/payment_intents")
            await face.post("/payments", {"amount": 1000, "currency": "usd"})
            for _ in range(2):
                await face.fault(action="cut", when="before", path="/v1/payment_intents")
                await face.post("/payments", {"amount": 1000, "currency": "usd"})
            await face.fault(action="cut", when="before", path="/v1/payment_intents")
            await face.post("/payments", {"amount": 1000, "currency": "usd"})
        told = (await scrape(face)).text
    assert moved.family("tallystick_stripe_requests_total", "outcome") == {
        "429": 1, "no_answer": 2, "held_back": 1,
    }  # fmt: skip
    assert value(told, "tallystick_stripe_breaker_open") == 1


async def test_servers_that_are_away_fail_no_scrape() -> None:
    async with alone(metrics_public=True) as http:
        told = (await http.get("/metrics")).text
    assert value(told, "tallystick_state_up") == value(told, "tallystick_redis_up") == 0
    assert value(told, "tallystick_queue_length") is None
    assert value(told, "tallystick_inbox_pending_events") is None
    assert value(told, "tallystick_database_connections_in_use") is not None


async def test_a_database_that_does_not_answer_holds_up_no_scrape(face: Face) -> None:
    hasty = scraper(face, patience_s=0.2)
    async with face.app.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE"))
        begun = time.perf_counter()
        told = (await hasty.answer("api")).body.decode()
        assert time.perf_counter() - begun < 5
    assert value(told, "tallystick_state_up") == 0
    assert value(told, "tallystick_redis_up") == 1


async def test_whoever_could_read_it_can_while_the_database_is_away(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REMEMBER_S", 0)
    key, other = await face.key("metrics:read"), await face.key("metrics:read")
    assert (await scrape(face, Authorization=f"Bearer {key}")).status_code == 200

    async def away(*_: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(auth, "find_key", away)
    assert (await scrape(face, Authorization=f"Bearer {key}")).status_code == 200
    assert_problem(await scrape(face, Authorization=f"Bearer {other}"), 503, "database_unavailable")


async def test_scrapes_that_come_together_ask_the_database_once(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    found = Scrape._of_database

    async def counting(self: Scrape) -> Any:
        nonlocal asked
        asked += 1
        return await found(self)

    monkeypatch.setattr(Scrape, "_of_database", counting)
    ours = scraper(face)
    await asyncio.gather(*(ours.answer("api") for _ in range(5)))
    assert asked == 1
    await ours.answer("api")
    assert asked == 2


async def test_a_worker_listens_only_where_it_is_told_to(face: Face) -> None:
    async with listening(face.app.settings, face.app.scrape, "worker") as url:
        assert url is None
    settings = load_settings({}, require=(), worker_metrics_port=0)
    async with listening(settings, face.app.scrape, "worker") as url, httpx.AsyncClient() as http:
        assert url is not None
        told = (await http.get(url)).text
        assert (await http.get(url.removesuffix("/metrics"))).status_code == 404
    versions = [dict(labels) for name, labels in parsed(told) if name == "tallystick_build_info"]
    assert [each["role"] for each in versions] == ["worker"]


async def test_alerts_are_listed_to_who_may_read_metrics(face: Face) -> None:
    async with face.app.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO alerts (name, about, severity, summary, value, fired_at, resolved_at) VALUES"
                " ('TallystickSuspense', 'usd', 'warning', '1.00 USD in suspense', 100, now(), NULL),"
                " ('TallystickSealLag', '', 'warning', 'x', 301, now() - interval '1 hour', now()),"
                " ('TallystickInboxLag', '', 'critical', 'not yet', 61, NULL, NULL)"
            )
        )
    key = {"Authorization": f"Bearer {await face.key('metrics:read')}"}
    answer = (await face.http.get("/alerts", headers=key)).json()
    assert [each["name"] for each in answer["data"]] == ["TallystickSuspense", "TallystickSealLag"]
    first, second = answer["data"]
    assert (first["about"], first["status"], first["value"]) == ("usd", "firing", 100)
    assert (second["about"], second["status"]) == (None, "resolved")
    only = (await face.http.get("/alerts", params={"status": "firing"}, headers=key)).json()
    assert only["data"] == [first]
    assert_problem(
        await face.http.get("/alerts", params={"cursor": "x"}, headers=key), 400, "invalid_request"
    )
    other = {"Authorization": f"Bearer {await face.key('ledger:read')}"}
    assert_problem(await face.http.get("/alerts", headers=other), 403, "insufficient_scope")
