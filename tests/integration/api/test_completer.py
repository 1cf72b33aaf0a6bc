"""What the completer does when time has passed, Stripe says no, or the payment has gone on without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.integration.api.bad_day import COMMANDS, Command, Scene
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_refusals import assert_problem

from tallystick.embedded import EmbeddedValkey
from tallystick.pipeline.completer import Completer


@pytest.fixture
async def face(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    async with open_face(database_url, valkey, completion_age_s=0) as made:
        yield made


async def lost(face: Face, command: Command, **fault: object) -> Scene:
    """A command whose call to Stripe was struck by the fault."""
    scene = Scene(face, command)
    await scene.prepare()
    await face.fault(**fault, path=command.stripe_path, method="POST")
    assert (await scene.ask()).status_code == 503
    return scene


async def due_again(face: Face) -> None:
    """What was put off is due."""
    async with face.app.engine.begin() as connection:
        await connection.execute(text("UPDATE stripe_calls SET due_at = now()"))


@pytest.mark.parametrize("command", ["create", "pay", "declined", "confirm", "capture", "cancel", "refund"])
async def test_a_day_later_it_is_looked_up(face: Face, command: str) -> None:
    """Asked for again it would be done twice: Stripe has forgotten the key."""
    scene = await lost(face, COMMANDS[command], action="cut", when="after")
    await face.a_day_later()
    await scene.complete()
    await scene.assert_done()
    answer = await scene.ask()
    scene.assert_answer(answer)
    await scene.assert_done()


@pytest.mark.parametrize("stored", [False, True], ids=["cut off", "a 500 that Stripe keeps"])
async def test_a_payment_that_was_never_made_ends(face: Face, stored: bool) -> None:
    """Stripe repeats a 500 for as long as it keeps the key, so only then can it be known."""
    fault = {"action": "status", "status": 500, "stored": True} if stored else {"action": "cut"}
    scene = await lost(face, COMMANDS["pay"], **fault)
    if stored:
        await scene.complete()
        await scene.assert_undecided()
    await face.a_day_later()
    await due_again(face)
    await scene.complete()
    read = await scene.read()
    assert (read["status"], read["last_error"]["code"]) == ("canceled", "never_made")
    assert await scene.intents() == []
    problem = assert_problem(await scene.ask(), 400, "stripe_refused")
    assert (problem["payment_id"], problem["stripe_code"]) == (scene.payment_id, "never_made")


async def test_a_refund_that_was_never_made_lets_go_of_its_part(face: Face) -> None:
    scene = await lost(face, COMMANDS["refund"], action="cut")
    await face.a_day_later()
    await scene.complete()
    (refund,) = (await scene.read())["refunds"]
    assert (refund["status"], refund["failure_reason"]) == ("failed", "never_made")
    assert await scene.refunds() == []
    again = await face.post(f"/payments/{scene.payment_id}/refund", {})
    assert again.json()["amount"] == 1000, "all of it can be refunded"


async def test_between_both_it_waits(face: Face) -> None:
    """Stripe may have forgotten the key, and its search may not know the payment yet."""
    scene = await lost(face, COMMANDS["pay"], action="cut", when="after")
    async with face.app.engine.begin() as connection:
        await connection.execute(
            text("UPDATE stripe_calls SET created_at = created_at - interval '23.5 hours'")
        )
    await scene.complete()
    await scene.assert_undecided()


async def test_a_creation_that_stripe_refuses_ends_the_payment(face: Face) -> None:
    """It had been seen as unknown, so it is not taken away."""
    order = Command("create", {"customer": "cus_none"}, "canceled", 400)
    scene = await lost(face, order, action="cut")
    await scene.complete()
    read = await scene.read()
    assert (read["status"], read["last_error"]["code"]) == ("canceled", "resource_missing")
    problem = assert_problem(await scene.ask(), 400, "stripe_refused")
    assert (problem["payment_id"], problem["stripe_code"]) == (scene.payment_id, "resource_missing")


async def test_a_refund_that_stripe_refuses_lets_go_of_its_part(face: Face) -> None:
    scene = await lost(face, COMMANDS["refund"], action="cut")
    (intent,) = await scene.intents()
    await face.app.stripe.create_refund({"payment_intent": intent["id"], "amount": 900}, "elsewhere")
    await scene.complete()
    (refund,) = (await scene.read())["refunds"]
    assert refund["status"] == "failed"
    assert_problem(await scene.ask(), 400, "stripe_refused")


@pytest.mark.parametrize("command", ["confirm", "capture", "cancel"])
async def test_a_change_is_not_made_again_on_a_payment_that_has_changed(face: Face, command: str) -> None:
    """Its client went another way: the old request may not be wanted any more."""
    scene = await lost(face, COMMANDS[command], action="cut")
    path = f"/payments/{scene.payment_id}"
    if command == "confirm":
        other = await face.post(f"{path}/confirm", {"payment_method": "pm_card_chargeDeclined"})
        assert other.status_code == 402
    else:
        other = await face.post(f"{path}/{'cancel' if command == 'capture' else 'capture'}", {})
        assert other.status_code == 200
    expected = {"confirm": "requires_payment_method", "capture": "canceled", "cancel": "succeeded"}[command]
    await scene.complete()
    (intent,) = await scene.intents()
    assert intent["status"] == (await scene.read())["status"] == expected
    assert await scene.open_calls() == 0


async def test_several_at_once_do_each_call_once(face: Face) -> None:
    scenes = [await lost(face, COMMANDS["pay"], action="cut") for _ in range(4)]
    completers = [Completer(face.app.engine, face.app.stripe, face.app.settings) for _ in range(3)]
    assert sum(await asyncio.gather(*(each.complete_due() for each in completers))) == 4
    for scene in scenes:
        await scene.assert_done()


async def test_while_stripe_is_away_it_is_put_off(face: Face) -> None:
    scene = await lost(face, COMMANDS["pay"], action="cut")
    await face.fault(action="cut", path="/v1/payment_intents", method="POST")
    completer = Completer(face.app.engine, face.app.stripe, face.app.settings)
    assert await completer.complete_due() == 1
    await scene.assert_undecided()
    await due_again(face)
    await scene.complete()
    await scene.assert_done()


async def test_a_young_call_is_left_to_its_request(database_url: str, valkey: EmbeddedValkey) -> None:
    async with open_face(database_url, valkey, completion_age_s=60) as face:
        scene = await lost(face, COMMANDS["pay"], action="cut")
        await scene.complete()
        await scene.assert_undecided()
