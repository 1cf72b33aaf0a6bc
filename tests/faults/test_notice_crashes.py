"""A worker that is killed while it sends notices: each arrives, in order, and always under its id."""

from __future__ import annotations

import random

import pytest
from aiohttp import web
from tests.builders import StripeStory
from tests.faults.conftest import Install
from tests.faults.installation import Installation, Process, until
from tests.integration.notices.receiver import Message, receiving

from tallystick.outbox.notices import Notice
from tallystick.outbox.signing import notice_id
from tallystick.outbox.staging import stage
from tallystick.pipeline.notices.endpoints import create_endpoint

PAYMENTS = 20
OF_EACH = 10


def told() -> list[Notice]:
    return [
        Notice(f"payment.failed:{payment}:{n}", "payment.failed", f"pay_{payment}", {"n": n})
        for n in range(OF_EACH)
        for payment in range(PAYMENTS)
    ]


async def end_leases(installation: Installation) -> None:
    """As if the time of whatever the dead worker had claimed were over."""
    async with installation.engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE notice_deliveries SET due_at = now() WHERE status = 'pending'"
        )


@pytest.mark.parametrize(
    "kills", [pytest.param(2, id="short"), pytest.param(30, id="long", marks=pytest.mark.long)]
)
async def test_kill_9_between_sending_and_writing_down(install: Install, kills: int) -> None:
    chance = random.Random(4)
    notices = told()
    worker: list[Process] = []
    kill_at: list[int] = []

    async def answer(message: Message) -> web.StreamResponse:
        if kill_at and message.number >= kill_at[0]:
            kill_at.clear()
            await installation.kill(worker.pop())  # it has sent this one and hears no answer
        return web.Response()

    async with install(StripeStory()) as (installation, _), receiving() as receiver:
        receiver.answer = answer
        installation._environment["TALLYSTICK_WEBHOOKS_ALLOW_PRIVATE"] = "true"
        installation._environment["TALLYSTICK_WEBHOOKS_INTERVAL_S"] = "0.05"
        async with installation.engine.begin() as connection:
            secret = await create_endpoint(
                connection, None, "whe_1", url=receiver.url, event_types=["*"], description=None
            )
        for n in range(
            OF_EACH
        ):  # in transactions of their own, so that their order is their order of staging
            async with installation.engine.begin() as connection:
                await stage(connection, notices[n * PAYMENTS : (n + 1) * PAYMENTS])
        for _ in range(kills):
            kill_at.append(len(receiver.messages) + chance.randint(1, 150 // kills))
            worker.append(installation.start_worker())

            async def killed() -> bool:
                return not worker

            await until(killed)
            await end_leases(installation)
        worker.append(installation.start_worker())

        async def done() -> bool:
            return not await installation.scalar(
                "SELECT (SELECT count(*) FROM outbox_new)"
                " + (SELECT count(*) FROM notice_deliveries WHERE status = 'pending')"
            )

        await until(done)
        assert await installation.stop(worker.pop()) == 0
        delivered = await installation.scalar(
            "SELECT count(*) FROM notice_deliveries WHERE status = 'delivered'"
        )
    assert delivered == len(notices)
    first_times = list(dict.fromkeys(message.id for message in receiver.messages))
    assert set(first_times) == {notice_id(notice.key) for notice in notices}
    assert len(receiver.messages) >= len(notices) + kills, "what was sent and not written down comes again"
    for payment in range(PAYMENTS):
        ids = [notice_id(notice.key) for notice in notices if notice.payment_id == f"pay_{payment}"]
        assert [each for each in first_times if each in ids] == ids
    for message in receiver.messages:
        message.verify(secret)
