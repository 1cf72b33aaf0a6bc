"""Every call to Stripe, struck by every fault, healed by everyone: done once, with the right answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conftest import Databases
from tests.integration.api.bad_day import COMMANDS, FAULTS, NEVER_HEARD, Scene
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_refusals import assert_problem

from tallystick.embedded import EmbeddedValkey

HEALERS = ("retry", "completer", "webhook")
UNHEARD = ("cut-before", "cut-after")
SHORT = {(command, fault, "completer") for command in COMMANDS for fault in UNHEARD}
SHORT |= {
    (command, fault, healer) for command in ("pay", "refund") for fault in UNHEARD for healer in HEALERS
}
SHORT |= {("pay", "429", "retry"), ("refund", "429", "retry")}
"""The short form: the work not done, done and unheard, refused by Stripe."""


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all cells: each has a payment of its own."""
    url = await databases.create()
    async with open_face(url, valkey, stripe_timeout_s=0.3, completion_age_s=0) as made:
        yield made
    await databases.drop(url)


def cells() -> list[object]:
    return [
        pytest.param(
            command, fault, healer, id=f"{command}-{fault}-{healer}",
            marks=[] if (command, fault, healer) in SHORT else [pytest.mark.long],
        )
        for command in COMMANDS
        for fault in FAULTS
        for healer in HEALERS
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "fault", "healer"), cells())
async def test_a_cell(face: Face, command: str, fault: str, healer: str) -> None:
    scene = Scene(face, COMMANDS[command])
    await scene.prepare()
    await face.fault(**FAULTS[fault], path=scene.command.stripe_path, method="POST")
    lost = await scene.ask()
    problem = assert_problem(lost, 503, "stripe_unavailable")
    assert int(lost.headers["retry-after"]) > 0
    under_way = fault not in NEVER_HEARD
    assert ("payment_id" in problem or "refund_id" in problem) is under_way, "an id says so"
    if fault in NEVER_HEARD:
        assert scene.payment_id == "" or await scene.open_calls() == 0, "there is nothing to heal"
    else:
        await scene.assert_undecided()
        if healer == "completer":
            await scene.complete()
            await scene.assert_done()
        elif healer == "webhook":
            await scene.hear_webhooks()
            if fault.endswith("-after"):
                read = await scene.read()
                if command == "refund":
                    assert [refund["status"] for refund in read["refunds"]] == ["succeeded"]
                else:
                    assert read["status"] == scene.command.status
            else:
                await scene.assert_undecided()  # nothing was done, so there are no events
            await scene.complete()
            await scene.assert_done()
    answer = await scene.ask()
    scene.assert_answer(answer)
    again = await scene.ask()
    assert (again.status_code, again.content) == (answer.status_code, answer.content)
    assert again.headers["idempotent-replayed"] == "true"
    await scene.assert_done()
    await scene.assert_ledger()
