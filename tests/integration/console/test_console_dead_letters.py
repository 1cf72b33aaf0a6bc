"""Dead letters at the console: replayed and discarded, one, several or all that fit; by whom is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.dead import Dead, bury, more_dead
from tests.integration.api.conftest import Face
from tests.integration.console.conftest import Operator, form_of, text_of
from tests.pipeline_support import event_states

LISTED = "/console/dead-letters"
WHY = "the rule is mended"


@pytest.fixture(scope="module")
async def dead(installation: Face) -> Any:
    """One dead letter of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        yield await bury(installation.app.engine, patch)


@pytest.fixture
async def letters(operator: Operator, dead: Dead) -> list[str]:
    """Four more dead events, the last the latest, and no others."""
    async with operator.face.app.engine.begin() as connection:
        await connection.execute(text("DELETE FROM webhook_events WHERE id LIKE 'evt_more_%'"))
    return await more_dead(operator.face.app.engine, 4, datetime.now(UTC) - timedelta(hours=2))


async def status(operator: Operator, letter: str) -> str:
    return (await event_states(operator.face.app.engine))[letter][0]


async def last_replay(operator: Operator) -> dict[str, Any]:
    found: dict[str, Any] = (await operator.face.http.get("/replays")).json()["data"][0]
    return found


async def actor(operator: Operator) -> str:
    """How the record names who is signed in."""
    async with operator.face.app.engine.connect() as connection:
        last = "SELECT api_key_id FROM console_sessions ORDER BY began_at DESC LIMIT 1"
        return f"test ({(await connection.execute(text(last))).scalar_one()})"


async def test_one_is_replayed_from_its_page(operator: Operator, letters: list[str]) -> None:
    form = form_of(await operator.see(f"{LISTED}/{letters[0]}"), f"{LISTED}/replay")
    answer = await operator.send(form, reason=WHY)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{LISTED}?done=replayed")
    assert "Put back" in text_of(await operator.see(answer.headers["location"]))
    assert await status(operator, letters[0]) == "pending"
    replay = await last_replay(operator)
    assert (replay["reason"], replay["actor"]) == (WHY, await actor(operator))
    assert replay["selection"] == {"dead_letter": letters[0], "kind": "event"}


async def test_one_is_discarded_from_its_page(operator: Operator, letters: list[str]) -> None:
    page = await operator.see(f"{LISTED}/{letters[0]}")
    form = form_of(page, f"{LISTED}/replay")
    form.action = f"{LISTED}/discard"
    assert f'formaction="{form.action}"' in page
    answer = await operator.send(form, reason="<b>spam</b>")
    assert answer.headers["location"] == f"{LISTED}/{letters[0]}?done=discarded"
    assert await status(operator, letters[0]) == "discarded"
    shown = await operator.see(answer.headers["location"])
    assert f"Discarded by {await actor(operator)}" in text_of(shown)
    assert "&lt;b&gt;spam&lt;/b&gt;" in shown
    assert f"{LISTED}/replay" not in shown
    again = await operator.send(form, reason="again")
    assert again.status_code == 409
    assert "The state does not allow this" in again.text


async def test_selected_ones_are_replayed_together(
    operator: Operator, dead: Dead, letters: list[str]
) -> None:
    form = form_of(await operator.see(LISTED), f"{LISTED}/replay")
    assert set(letters) <= set(form.boxes["id"])
    answer = await operator.send(form, id=letters[:2], reason=WHY)
    assert answer.status_code == 303
    assert [await status(operator, each) for each in letters] == ["pending", "pending", "dead", "dead"]


async def test_selected_ones_are_all_done_or_none(operator: Operator, letters: list[str]) -> None:
    form = form_of(await operator.see(LISTED), f"{LISTED}/replay")
    for ids, expected in (([letters[0], "evt_none"], 404), ([], 400)):
        assert (await operator.send(form, id=ids, reason=WHY)).status_code == expected
    form.action = f"{LISTED}/discard"
    assert (await operator.send(form, id=[letters[1], "evt_none"], reason=WHY)).status_code == 404
    assert await status(operator, letters[1]) == "dead"


async def test_all_that_fit_are_put_back_under_one_record(
    operator: Operator, dead: Dead, letters: list[str]
) -> None:
    before = (datetime.now(UTC) - timedelta(hours=2) + timedelta(seconds=2)).replace(tzinfo=None)
    page = await operator.see(LISTED, type="refund.*", dead_before=before.isoformat())
    form = form_of(page, f"{LISTED}/replay-all")
    assert (form.fields["type"], form.fields["dead_before"]) == ("refund.*", before.isoformat())
    answer = await operator.send(form, reason=WHY)
    replay = await last_replay(operator)
    assert answer.headers["location"] == f"/console/replays/{replay['id']}?done=replayed"
    put_back = [each for each in letters if await status(operator, each) == "pending"]
    assert put_back == letters[: len(put_back)]
    assert 0 < len(put_back) < len(letters)
    assert (replay["counts"], replay["outcome"]) == ({"put_back": len(put_back)}, "finished")
    assert replay["selection"]["dead_letters"]["type"] == "refund.*"
    assert await status(operator, dead.event) == "dead"
    assert WHY in text_of(await operator.see(answer.headers["location"]))


async def test_everything_is_put_back_of_both_kinds(
    operator: Operator, dead: Dead, letters: list[str]
) -> None:
    form = form_of(await operator.see(LISTED), f"{LISTED}/replay-all")
    bad = await operator.send(form, reason=WHY, type="[z-a]")
    assert bad.status_code == 400
    answer = await operator.send(form, reason=WHY)
    assert answer.status_code == 303
    replay = await last_replay(operator)
    assert (replay["counts"], replay["selection"]) == ({"put_back": 6}, {"dead_letters": "all"})
    assert "No dead letters" in text_of(await operator.see(LISTED))
    async with operator.face.app.engine.connect() as connection:
        left = text("SELECT status FROM balance_transactions WHERE id = :id")
        assert (await connection.execute(left, {"id": dead.balance_transaction})).scalar_one() == "wanted"


async def test_each_command_wants_its_scope_and_its_token(visitor: Operator, letters: list[str]) -> None:
    visitor.http.cookies.clear()
    await visitor.sign_in("events:read")
    form = form_of(await visitor.see(f"{LISTED}/{letters[0]}"), "/console/sign-out")
    for command in ("replay", "discard", "replay-all"):
        form.action = f"{LISTED}/{command}"
        refused = await visitor.send(form, id=letters[:1], reason=WHY)
        assert refused.status_code == 403
        assert "events:replay" in refused.text
    visitor.http.cookies.clear()
    await visitor.sign_in()
    for command in ("replay", "discard", "replay-all"):
        form.action = f"{LISTED}/{command}"
        forged = await visitor.send(form, id=letters[:1], reason=WHY)  # the token of another session
        assert forged.status_code == 403
        assert "Nothing was done" in forged.text
    assert await status(visitor, letters[0]) == "dead"
