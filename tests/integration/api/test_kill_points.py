"""Killed before and after each commit of a command, healed by the client or the worker: done once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.conftest import Databases
from tests.faults.kill_points import WHEN, dying
from tests.integration.api.bad_day import COMMANDS, Scene
from tests.integration.api.conftest import Face, open_face

from tallystick.embedded import EmbeddedValkey

LEASE_S = 0.2
SHORT = ("pay", "declined", "refund")


class KilledError(BaseException):
    """Nobody catches it, and nothing is let go, as when the process is killed."""


def kill() -> None:
    raise KilledError


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all cells: each has a payment of its own."""
    url = await databases.create()
    async with open_face(url, valkey, completion_age_s=0, idempotency_lease_s=LEASE_S) as made:
        yield made
    await databases.drop(url)


def cells() -> list[object]:
    return [
        pytest.param(
            command, step, when, healer, id=f"{command}-{when}-{step}-{healer}",
            marks=[] if command in SHORT else [pytest.mark.long],
        )
        for command in COMMANDS
        # a decline's answer has a commit of its own; every other goes with the result
        for step in ("accept", "store", *(["answer"] if command == "declined" else []))
        for when in WHEN
        for healer in ("retry", "completer")
    ]  # fmt: skip


async def begun(face: Face, scene: Scene) -> str | None:
    """What the killed request left under its key: the payment or refund that it began."""
    query = text("SELECT resource_id FROM idempotency_keys WHERE key = :key")
    async with face.app.engine.connect() as connection:
        left: str | None = (await connection.execute(query, {"key": scene.key})).scalar()
        return left


@pytest.mark.parametrize(("command", "step", "when", "healer"), cells())
async def test_a_killed_request_is_done_once(
    face: Face, command: str, step: str, when: str, healer: str
) -> None:
    scene = Scene(face, COMMANDS[command])
    await scene.prepare()
    with dying(step, when, kill), pytest.raises(KilledError):
        await scene.ask()
    left = await begun(face, scene)
    assert (left is None) == ((step, when) == ("accept", "before")), (
        "a request leaves all of a step or nothing"
    )
    scene.payment_id = scene.payment_id or left or ""
    if left is not None:
        stored = (step, when) == ("store", "after") or step == "answer"
        assert await scene.open_calls() == (0 if stored else 1)
        if healer == "completer":
            await scene.complete()
            await scene.assert_done()
    answer = await scene.ask()
    scene.assert_answer(answer)
    answered = (step, when) in {("store", "after"), ("answer", "after")} and (
        command != "declined" or step == "answer"
    )
    assert ("idempotent-replayed" in answer.headers) == answered
    again = await scene.ask()
    assert (again.status_code, again.content) == (answer.status_code, answer.content)
    await scene.assert_done()
    await scene.assert_ledger()
