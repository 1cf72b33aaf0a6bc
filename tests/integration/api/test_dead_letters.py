"""Dead letters and events over HTTP: listed, shown, replayed, discarded; by whom and why is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.dead import Dead, bury, died_at, more_dead
from tests.integration.api.conftest import Face
from tests.pipeline_support import event_states

from tallystick.ledger.trial_balances import trial_balance

WHY = {"reason": "the rule is mended"}


@pytest.fixture
async def dead(face: Face, monkeypatch: pytest.MonkeyPatch) -> Dead:
    return await bury(face.app.engine, monkeypatch)


async def got(face: Face, path: str, **params: Any) -> Any:
    answer = await face.http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def balance(face: Face, account: str) -> int | None:
    async with face.app.engine.connect() as connection:
        return {row.account: row.balance for row in await trial_balance(connection)}.get(account)


async def test_both_kinds_are_listed_with_their_error(face: Face, dead: Dead) -> None:
    page = await got(face, "/dead-letters")
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    letters = {each["kind"]: each for each in page["data"]}
    event, txn = letters["event"], letters["balance_transaction"]
    assert (event["id"], event["type"], event["failed_attempts"]) == (dead.event, "charge.updated", 2)
    assert event["last_error"]["code"] == "unexpected"
    assert event["last_error"]["message"].startswith("ZeroDivisionError: a bug")
    assert (txn["id"], txn["type"], txn["failed_attempts"]) == (
        dead.balance_transaction, "balance_transaction", 8,
    )  # fmt: skip
    assert txn["last_error"]["code"] == "not_found"
    summary = await got(face, "/dead-letters/summary")
    assert summary["count"] == 2
    assert summary["oldest_at"] == min(each["dead_at"] for each in page["data"])


async def test_a_dead_letter_is_shown_with_every_attempt_and_no_secret(face: Face, dead: Dead) -> None:
    found = await got(face, f"/dead-letters/{dead.event}")
    assert [each["attempt"] for each in found["attempts"]] == [1, 2]
    assert all("ZeroDivisionError" in each["traceback"] for each in found["attempts"])
    assert "in broken" in found["attempts"][0]["traceback"]
    charge = found["payload"]["data"]["object"]
    assert (charge["id"], charge["client_secret"]) == (dead.charge, "***")
    assert charge["payment_method_details"]["card"] == {"exp_month": 4, "fingerprint": "***"}
    assert "VerySecret" not in str(found)
    txn = await got(face, f"/dead-letters/{dead.balance_transaction}")
    assert [each["attempt"] for each in txn["attempts"]] == list(range(1, 9))
    assert txn["payload"] is None, "it never came"


async def test_replayed_dead_letters_are_processed_and_in_the_books(face: Face, dead: Dead) -> None:
    assert await balance(face, "assets:stripe:balance") is None
    dead.mend()
    for letter in (dead.event, dead.balance_transaction):
        answer = await face.post(f"/dead-letters/{letter}/replay", WHY)
        assert answer.status_code == 200, answer.text
        replay = answer.json()
        assert (replay["outcome"], replay["counts"]) == ("finished", {"put_back": 1})
        assert replay["reason"] == WHY["reason"]
        assert "test (key_" in replay["actor"]
    await dead.road.finish()
    assert (await event_states(face.app.engine))[dead.event] == ("processed", 0)
    assert await balance(face, "assets:stripe:balance") == 2500 - 102
    assert await got(face, "/dead-letters/summary") == {
        "object": "dead_letter_summary", "count": 0, "oldest_at": None,
    }  # fmt: skip
    kept = (await got(face, "/replays"))["data"]
    assert [each["selection"]["dead_letter"] for each in kept] == [dead.balance_transaction, dead.event]
    again = await face.post(f"/dead-letters/{dead.event}/replay", WHY)
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    event = await got(face, f"/events/{dead.event}")
    assert len(event["attempts"]) == 2, "what failed before is kept"


async def test_a_replay_that_fails_again_is_a_dead_letter_again(face: Face, dead: Dead) -> None:
    await face.post(f"/dead-letters/{dead.event}/replay", WHY)
    await dead.road.process([dead.event])
    await dead.road.process([dead.event])
    found = await got(face, f"/dead-letters/{dead.event}")
    assert (found["failed_attempts"], len(found["attempts"])) == (2, 4)


async def test_a_discarded_letter_keeps_who_and_why_and_has_no_effect(face: Face, dead: Dead) -> None:
    dead.mend()
    for letter in (dead.event, dead.balance_transaction):
        answer = await face.post(f"/dead-letters/{letter}/discard", {"reason": "test data"})
        assert answer.status_code == 200, answer.text
        found = await got(face, f"/dead-letters/{letter}")
        assert answer.json() == found
        assert found["status"] == "discarded"
        [gone] = found["discards"]
        assert gone["reason"] == "test data"
        assert gone["actor"].startswith("test (key_")
        for verb in ("discard", "replay"):
            refused = await face.post(f"/dead-letters/{letter}/{verb}", WHY)
            assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    assert (await got(face, "/dead-letters"))["data"] == []
    await dead.road.process([dead.event])
    assert (await event_states(face.app.engine))[dead.event] == ("discarded", 2)
    assert (await got(face, f"/events/{dead.event}"))["discards"][0]["reason"] == "test data"


async def test_an_idempotency_key_replays_and_discards_once(face: Face, dead: Dead) -> None:
    for path in (f"/dead-letters/{dead.event}/replay", f"/dead-letters/{dead.balance_transaction}/discard"):
        first = await face.post(path, WHY, key=path)
        again = await face.post(path, WHY, key=path)
        assert first.status_code == again.status_code == 200
        assert first.json() == again.json()
        assert again.headers["Idempotent-Replayed"] == "true"
    assert len((await got(face, "/replays"))["data"]) == 1


async def test_letters_are_filtered_by_type_code_kind_and_age(face: Face, dead: Dead) -> None:
    now = datetime.now(UTC)
    await died_at(face.app.engine, dead.event, now - timedelta(days=3))
    await died_at(face.app.engine, dead.balance_transaction, now - timedelta(hours=1))

    async def ids(**params: Any) -> list[str]:
        return [each["id"] for each in (await got(face, "/dead-letters", **params))["data"]]

    event, txn = dead.event, dead.balance_transaction
    assert await ids() == [txn, event]
    assert await ids(type="charge.*") == [event]
    assert await ids(type="balance*") == [txn]
    assert await ids(type="charge") == []
    assert await ids(code="not_found") == [txn]
    assert await ids(code="unexpected") == [event]
    assert await ids(kind="event") == [event]
    day_ago = (now - timedelta(days=1)).isoformat()
    assert await ids(dead_before=day_ago) == [event]
    assert await ids(dead_after=day_ago) == [txn]


async def test_pages_of_letters_and_events_follow_each_other(face: Face, dead: Dead) -> None:
    made = await more_dead(face.app.engine, 7, datetime.now(UTC) + timedelta(minutes=1))
    letters = [*reversed(made), *[each["id"] for each in (await got(face, "/dead-letters"))["data"][7:]]]
    for path, expected in (
        ("/dead-letters", letters),
        ("/events", [each["id"] for each in (await got(face, "/events", limit=100))["data"]]),
    ):
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await got(face, path, limit=2, **cursor)
            seen += [each["id"] for each in page["data"]]
            assert page["has_more"] is (page["next_cursor"] is not None)
            if not page["has_more"]:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert seen == expected
        assert len(set(seen)) == len(seen) > 4


async def test_an_event_is_shown_with_the_effects_that_it_had(face: Face, dead: Dead) -> None:
    succeeded = next(each for each in dead.story.events if each["type"] == "payment_intent.succeeded")
    found = await got(face, f"/events/{succeeded['id']}")
    effects = {each["key"]: each for each in found["effects"]}
    captured = effects[f"charge:{dead.charge}:captured"]
    assert captured["standing"] == "there"
    assert captured["source"] in {each["id"] for each in dead.story.events}
    assert isinstance(captured["ledger_transaction"], int)
    assert {each["kind"] for each in found["effects"]} == {"ledger_transaction", "payment", "notice"}
    assert found["payload"]["data"]["object"]["client_secret"] == "***"
    assert (await got(face, f"/events/{dead.event}"))["effects"] == [], "its rule raises"


async def test_events_are_filtered(face: Face, dead: Dead) -> None:
    async def ids(**params: Any) -> set[str]:
        return {each["id"] for each in (await got(face, "/events", limit=100, **params))["data"]}

    every = {each["id"] for each in dead.story.events}
    assert await ids() == every
    assert await ids(status="dead") == {dead.event}
    assert await ids(type="charge.*", status="processed") == {
        each["id"] for each in dead.story.events if each["type"] == "charge.succeeded"
    }
    assert await ids(error="A BUG") == {dead.event}
    assert (
        await ids(received_after="2026-01-01T00:00:00+02:00", created_before="2100-01-01T00:00:00Z") == every
    )
    assert await ids(received_before="2020-01-01T00:00:00Z") == set()


async def test_a_processed_event_is_replayed_without_a_second_effect(face: Face, dead: Dead) -> None:
    event = next(each["id"] for each in dead.story.events if each["type"] == "charge.succeeded")
    revenue = await balance(face, "revenue:payments")
    answer = await face.post(f"/events/{event}/replay", WHY)
    assert answer.json()["selection"] == {"ids": [event]}
    assert (await event_states(face.app.engine))[event] == ("pending", 0)
    await dead.road.process([event])
    assert (await event_states(face.app.engine))[event] == ("processed", 0)
    assert await balance(face, "revenue:payments") == revenue == 2500


_READING = (
    "GET /events", "GET /events/evt_1", "GET /replays", "GET /dead-letters", "GET /dead-letters/summary",
    "GET /dead-letters/evt_1",
)  # fmt: skip
_REPLAYING = (
    "POST /events/evt_1/replay", "POST /dead-letters/evt_1/replay", "POST /dead-letters/evt_1/discard",
)  # fmt: skip


async def test_each_route_needs_its_scope(face: Face) -> None:
    keys = {scope: await face.key(scope) for scope in ("events:read", "events:replay")}
    for scope, paths in (("events:read", _READING), ("events:replay", _REPLAYING)):
        for each in paths:
            method, _, path = each.partition(" ")
            body = WHY if method == "POST" else None
            for given, key in keys.items():
                headers = {"Authorization": f"Bearer {key}"}
                answer = await face.http.request(method, path, headers=headers, json=body)
                assert (answer.status_code == 403) is (given != scope), (each, given, answer.text)


_NO_REASONS: tuple[Any, ...] = (
    None, {}, {"reason": ""}, {"reason": "a\0b"}, {"reason": "x" * 501}, {"reason": "x", "by": "me"},
)  # fmt: skip


async def test_a_replay_needs_a_reason(face: Face, dead: Dead) -> None:
    for body in _NO_REASONS:
        for path in (f"/dead-letters/{dead.event}/discard", f"/events/{dead.event}/replay"):
            answer = await face.post(path, body)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), body
    assert (await event_states(face.app.engine))[dead.event] == ("dead", 2)


_UNREADABLE = (
    "/events?type=[z-a]", "/events?type=%00", "/events?error=%00", "/events?status=gone", "/events?limit=0",
    "/events?created_after=2026-01-01", "/events?received_after=0001-01-01T00:00:00%2B14:00",
    "/events?cursor=nonsense", "/dead-letters?kind=letter", "/dead-letters?cursor=nonsense",
    "/dead-letters?type=[z-a]", "/dead-letters?dead_after=soon", "/replays?cursor=nonsense",
)  # fmt: skip


async def test_what_cannot_be_read_is_refused(face: Face) -> None:
    for query in _UNREADABLE:
        answer = await face.http.get(query)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), (query, answer.text)


async def test_what_is_not_there_is_not_found(face: Face) -> None:
    for name in ("evt_nowhere", "%00", "é", "a" * 3000, "' OR 1=1"):
        for path in (f"/events/{name}", f"/dead-letters/{name}"):
            assert (await face.http.get(path)).status_code == 404
        for path in (
            f"/events/{name}/replay", f"/dead-letters/{name}/replay", f"/dead-letters/{name}/discard",
        ):  # fmt: skip
            assert (await face.post(path, WHY)).status_code == 404
