"""Many requests at the same moment: all of them succeed, or hear soon that they did not."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.load.conftest import Install, client

Json = dict[str, Any]
ORDER = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
POOL = 3
BEGINNING = 1
"""Half of them are for what begins."""
FIRST = asyncio.FIRST_COMPLETED
SIZES = [pytest.param(200, id="200"), pytest.param(1000, id="1000", marks=pytest.mark.long)]


async def pay(session: aiohttp.ClientSession, key: str) -> tuple[int, Json]:
    async with session.post("/payments", json=ORDER, headers={"Idempotency-Key": key}) as answer:
        return answer.status, await answer.json(content_type=None)


async def until_paid(session: aiohttp.ClientSession, key: str) -> None:
    """As a caller does: again with the same key, as long as the answer is 503."""
    while (await pay(session, key))[0] != 201:  # noqa: ASYNC110
        await asyncio.sleep(0.5)


async def scalar(engine: AsyncEngine, query: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(text(query))).scalar_one()


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.timeout(600)
async def test_payments_at_the_same_moment_all_succeed(
    install: Install, engine: AsyncEngine, count: int
) -> None:
    # however busy the machine is: that somebody would wait too long is another test's
    async with install(TALLYSTICK_REQUEST_WAIT_S="600") as urls, client(urls) as session:
        assert urls.sandbox is not None
        async with session.post(
            f"{urls.sandbox}/_control/settings", json={"latency_ms": [200, 800]}
        ) as answer:
            assert answer.status == 200
        answers = await asyncio.gather(*(pay(session, f"key-{number}") for number in range(count)))
        refused = [(status, body.get("code")) for status, body in answers if status != 201]
        assert not refused
        assert {body["status"] for _, body in answers} == {"succeeded"}
        assert len({body["stripe"]["payment_intent"] for _, body in answers}) == count
        await _worked_off(engine, count)
        async with session.get("/ledger/trial-balance") as answer:
            balance = await answer.json()
    sales = [each["balance"] for each in balance["data"] if each["account"] == "revenue:payments"]
    assert sales == [count * ORDER["amount"]]  # type: ignore[operator]
    assert all(total["balanced"] for total in balance["totals"])
    kept = "SELECT count(*) FROM idempotency_keys WHERE response_status = 201"
    assert await scalar(engine, kept) == count
    assert await scalar(engine, "SELECT count(*) FROM payments WHERE status = 'succeeded'") == count


async def _worked_off(engine: AsyncEngine, payments: int) -> None:
    """Until every sale is in the ledger and no event is pending."""
    sales = "SELECT count(*) FROM ledger_transactions WHERE kind = 'sale'"
    pending = "SELECT count(*) FROM webhook_events WHERE status = 'pending'"
    async with asyncio.timeout(90):
        while await scalar(engine, sales) < payments or await scalar(engine, pending):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "count", [pytest.param(300, id="300"), pytest.param(2000, id="2000", marks=pytest.mark.long)]
)
async def test_requests_before_a_database_that_is_locked_hear_so_and_all_is_well_afterwards(
    install: Install, engine: AsyncEngine, count: int
) -> None:
    async with (
        install(TALLYSTICK_DATABASE_POOL_SIZE=str(POOL), TALLYSTICK_DATABASE_WAIT_S="1") as urls,
        client(urls) as session,
    ):
        assert (await pay(session, "before"))[0] == 201
        async with engine.begin() as locker:
            await locker.execute(text("LOCK TABLE idempotency_keys, payments IN ACCESS EXCLUSIVE MODE"))
            waiting = [asyncio.create_task(pay(session, f"key-{number}")) for number in range(count)]
            async with asyncio.timeout(60):
                # all but the one that holds a connection, whose own limit is longer
                while sum(each.done() for each in waiting) < count - BEGINNING:
                    await asyncio.wait([each for each in waiting if not each.done()], return_when=FIRST)
            answers = [each.result() for each in waiting if each.done()]
            assert {(status, body["code"]) for status, body in answers} == {(503, "database_unavailable")}
            async with session.get("/healthz") as alive:
                assert alive.status == 200
        statuses = [status for status, _ in await asyncio.gather(*waiting)]
        assert statuses.count(503) == count - BEGINNING
        assert statuses.count(201) == BEGINNING  # it went on as soon as the lock was gone
        assert (await pay(session, "after"))[0] == 201
        async with asyncio.timeout(60):
            await asyncio.gather(*(until_paid(session, f"key-{number}") for number in range(100)))
    paid = {number for number, status in enumerate(statuses) if status == 201} | {*range(100)}
    assert await scalar(engine, "SELECT count(*) FROM payments") == len(paid) + len(("before", "after"))
