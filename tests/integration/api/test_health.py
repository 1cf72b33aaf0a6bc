"""What the API says when a server behind it is away, and what it says of itself."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import text
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_refusals import assert_problem
from tests.road import owner_engine

from tallystick.api.server import create_app
from tallystick.app import open_app
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import ConfigurationError
from tallystick.settings import load_settings
from tallystick.stripe_gateway.breaker import BreakerState
from tallystick.stripe_gateway.signature import sign

NOWHERE = {
    "database_url": "postgresql://x@127.0.0.1:9/x",
    "database_timeout_s": 0.5,
    "redis_url": "redis://127.0.0.1:9/0",
    "stripe_secret_key": "sk_test_abc",
    "stripe_webhook_secrets": "whsec_x",
    "stripe_api_base": "http://127.0.0.1:9",
}


@asynccontextmanager
async def alone(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API with nothing behind it, unless ``changes`` say where."""
    async with open_app(load_settings({}, **{**NOWHERE, **changes})) as app:
        transport = httpx.ASGITransport(create_app(app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield http


async def test_all_is_well(face: Face) -> None:
    assert (await face.http.get("/healthz")).json() == {"status": "ok"}
    answer = await face.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "database": "ok", "schema": "current", "redis": "ok", "stripe": "ok"},
    )


async def test_a_stripe_that_is_away_is_not_asked_for_a_while(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    quick = {"stripe_breaker_outages": 2, "stripe_breaker_pause_s": 1.0}
    async with open_face(database_url, valkey, **quick) as face:
        order = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
        await face.fault(action="status", status=500, count=2)
        for _ in range(2):
            assert_problem(await face.post("/payments", order), 503, "stripe_unavailable")
        before = await face.rows()
        answer = await face.post("/payments", order)
        assert_problem(answer, 503, "stripe_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert "payment_id" not in answer.json()
        assert await face.rows() == before  # nothing was sent, and nothing is left behind
        state = await face.http.get("/readyz")
        assert (state.status_code, state.json()["status"], state.json()["stripe"]) == (
            200,
            "degraded",
            "away",
        )
        while face.app.stripe.breaker is BreakerState.OPEN:  # noqa: ASYNC110 - time passes, nobody tells
            await asyncio.sleep(0.01)
        assert (await face.post("/payments", order)).status_code == 201
        assert (await face.http.get("/readyz")).json()["status"] == "ready"


async def test_redis_away_is_no_reason_to_take_no_requests(face: Face) -> None:
    async with alone(database_url=face.app.settings.database_url) as http:
        answer = await http.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["status"] == "degraded"
        body = b'{"id": "evt_1", "object": "event", "type": "x", "created": 1, "livemode": false}'
        signed = {"Stripe-Signature": sign(body, "whsec_x", int(time.time()))}
        assert (await http.post("/webhooks/stripe", content=body, headers=signed)).status_code == 200


async def test_an_old_schema_is_not_ready(face: Face) -> None:
    async with owner_engine(face.app.settings.database_url) as owner, owner.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    answer = await face.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["schema"] == "outdated"


async def test_the_database_away() -> None:
    async with alone() as http:
        assert (await http.get("/healthz")).status_code == 200
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["database"]) == (503, "away")
        key = {"Authorization": "Bearer tsk_" + "a" * 40}
        answer = await http.get("/payments", headers=key)
        assert_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        body = b'{"id": "evt_1", "object": "event", "type": "x", "created": 1, "livemode": false}'
        signed = {"Stripe-Signature": sign(body, "whsec_x", int(time.time()))}
        answer = await http.post("/webhooks/stripe", content=body, headers=signed)
        assert_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("sent", "kept"), [("my-id.1_x", True), ("x" * 129, False), ("a b", False), ("", False)]
)
async def test_a_sane_request_id_is_kept(sent: str, kept: bool) -> None:
    async with alone() as http:
        for path in ("/healthz", "/nothing", "/webhooks/stripe"):
            found = (await http.get(path, headers={"X-Request-Id": sent})).headers["x-request-id"]
            assert (found == sent) is kept
            assert found


async def test_every_answer_carries_the_security_headers() -> None:
    async with alone() as http:
        for path in ("/healthz", "/nothing", "/webhooks/stripe", "/openapi.json"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "default-src 'none'" in headers["content-security-policy"]


async def test_the_reference_loads_nothing_from_elsewhere() -> None:
    async with alone() as http:
        page = await http.get("/docs")
        policy = page.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= {
            *policy
        }
        assert not [source for source in policy if "http" in source or "unsafe" in source]
        parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(parts) == 4
        for part in parts:
            answer = await http.get(f"/{part}")
            assert (answer.status_code, bool(answer.content)) == (200, True)
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert "https://" not in page.text + (await http.get("/docs/start.js")).text
        for path in ("/docs/other.js", "/docs/redoc.standalone.js", "/redoc", "/docs/oauth2-redirect"):
            assert_problem(await http.get(path), 404, "not_found")


PREFLIGHT = {
    "Origin": "https://ops.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


async def test_no_other_origin_may_call_unless_it_is_named() -> None:
    async with alone() as http:
        for answer in (
            await http.options("/payments", headers=PREFLIGHT),
            await http.get("/healthz", headers={"Origin": "https://ops.example"}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    async with alone(cors_origins="https://ops.example, http://localhost:3000") as http:
        allowed = await http.options("/payments", headers=PREFLIGHT)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (
            200,
            "https://ops.example",
        )
        assert "access-control-allow-credentials" not in allowed.headers
        refused = await http.get("/payments", headers={"Origin": "https://ops.example"})
        assert_problem(refused, 401, "authentication_required")
        assert refused.headers["access-control-allow-origin"] == "https://ops.example"
        assert "X-Request-Id" in refused.headers["access-control-expose-headers"]
        other = await http.options("/payments", headers={**PREFLIGHT, "Origin": "https://evil.example"})
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("origins", ["*", "ops.example", "https://ops.example/path"])
def test_an_origin_is_a_whole_one(origins: str) -> None:
    with pytest.raises(ConfigurationError, match="TALLYSTICK_CORS_ORIGINS"):
        load_settings({}, require=(), cors_origins=origins)


async def test_every_log_line_of_a_request_carries_its_id() -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with alone() as http:
            headers = {"X-Request-Id": "mine-1", "Authorization": "Bearer tsk_" + "a" * 40}
            assert (await http.get("/payments", headers=headers)).status_code == 503
    assert {line["event"] for line in lines} >= {"request", "request_refused"}
    assert {line["request_id"] for line in lines} == {"mine-1"}
