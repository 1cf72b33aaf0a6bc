"""Webhook endpoints at the console: what was sent to them, and sending it again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import text
from tests.integration.api.conftest import Face
from tests.integration.console.conftest import Operator, form_of, text_of

ENDPOINTS = "/console/webhooks"

_NOTICE = text("""
INSERT INTO outbox (notice_key, type, payment_id, data)
VALUES (:key, 'payment.succeeded', 'pay_1', '{"id": "pay_1"}') RETURNING id
""")
_DELIVERY = text("""
INSERT INTO notice_deliveries (endpoint_id, notice_id, status, attempts, due_at, finished_at, response_status,
                               error_code, error)
VALUES (:endpoint, :notice, 'failed', 1, now(), now(), 500, 'bad_status', 'It answered 500.') RETURNING id
""")
_ATTEMPT = text("""
INSERT INTO notice_attempts (delivery_id, attempt, attempted_at, duration_ms, response_status,
                             response_body, error_code, error)
VALUES (:delivery, 1, now(), 1234, 500, '<script>alert(1)</script>', 'bad_status', 'It answered 500.')
""")


@dataclass
class Failed:
    """An endpoint, and the delivery that it answered 500."""

    endpoint: str
    delivery: str


@pytest.fixture
async def failed(installation: Face) -> Failed:
    order = {"url": "https://shop.example/hooks", "event_types": ["payment.*"]}
    made = (await installation.post("/webhook-endpoints", order)).json()["id"]
    async with installation.app.engine.begin() as connection:
        notice = (await connection.execute(_NOTICE, {"key": made})).scalar_one()
        delivery = (await connection.execute(_DELIVERY, {"endpoint": made, "notice": notice})).scalar_one()
        await connection.execute(_ATTEMPT, {"delivery": delivery})
    return Failed(made, f"whd_{delivery}")


async def test_a_failed_delivery_is_found_and_sent_again(operator: Operator, failed: Failed) -> None:
    assert f'href="{ENDPOINTS}/{failed.endpoint}"' in await operator.see(ENDPOINTS)
    log = await operator.see(f"{ENDPOINTS}/{failed.endpoint}", status="failed")
    address = f"{ENDPOINTS}/deliveries/{failed.delivery}"
    assert f'href="{address}"' in log
    assert "No delivery fits" in await operator.see(f"{ENDPOINTS}/{failed.endpoint}", status="delivered")
    page = await operator.see(address)
    said = text_of(page)
    assert "1,234 ms" in said
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    form = form_of(page, f"{address}/redeliver")
    answer = await operator.send(form)
    assert answer.headers["location"] == f"{address}?done=redelivered"
    assert "A worker sends it again" in text_of(await operator.see(answer.headers["location"]))
    assert (await operator.send(form)).status_code == 409  # it is on its way
    seen = (await operator.face.http.get(f"/webhook-deliveries/{failed.delivery}")).json()
    assert seen["status"] == "pending"


async def test_who_may_only_read_sends_nothing(visitor: Operator, failed: Failed) -> None:
    await visitor.sign_in("webhooks:read")
    address = f"{ENDPOINTS}/deliveries/{failed.delivery}"
    page = await visitor.see(address)
    assert "/redeliver" not in page
    form = form_of(page, "/console/sign-out")
    form.action = f"{address}/redeliver"
    refused = await visitor.send(form)
    assert refused.status_code == 403
    assert "webhooks:write" in refused.text
    visitor.http.cookies.clear()
    await visitor.sign_in("payments:read")
    for path in (ENDPOINTS, f"{ENDPOINTS}/{failed.endpoint}", address):
        assert "webhooks:read" in await visitor.see(path, 403)


async def test_what_is_not_there_is_said(operator: Operator) -> None:
    for path in ("whe_none", "%00", "deliveries/whd_0", "deliveries/whd_x", "deliveries/%00"):
        assert "Not found" in await operator.see(f"{ENDPOINTS}/{path}", 404)
    assert "not valid" in await operator.see(ENDPOINTS, 400, cursor="%%%")
