"""API keys over HTTP: made, listed, rotated, revoked; and how often each may call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face
from tests.integration.api.test_refusals import assert_problem

from tallystick.api import auth, rate_limits
from tallystick.api.keys import Scope
from tallystick.embedded import EmbeddedValkey


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all."""
    async with open_face(await databases.create(), valkey) as made:
        yield made


READER = {"name": "shop", "scopes": ["payments:read"]}


@pytest.fixture(autouse=True)
def forget_keys_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation shows at once rather than within three seconds; and a slow machine is no Redis away."""
    monkeypatch.setattr(auth, "REMEMBER_S", 0.0)
    monkeypatch.setattr(rate_limits, "_PATIENCE_S", 30.0)


async def made(face: Face, **fields: Any) -> dict[str, Any]:
    answer = await face.post("/api-keys", {**READER, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def read(face: Face, key: str) -> httpx.Response:
    return await face.http.get("/payments", headers={"Authorization": f"Bearer {key}"})


async def test_a_key_is_made_shown_once_and_works(face: Face) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=1)
    key = await made(face, expires_at=expires_at.isoformat(), rate_limit="100/second")
    assert re.fullmatch("tsk_[0-9A-Za-z]{40}", key["api_key"])
    assert key["hint"] == key["api_key"][-4:]
    assert (await read(face, key["api_key"])).status_code == 200
    shown = (await face.http.get(f"/api-keys/{key['id']}")).json()
    assert shown["last_used_at"] is not None
    assert datetime.fromisoformat(shown["expires_at"]) == expires_at
    assert {**shown, "last_used_at": None} == {name: key[name] for name in key if name != "api_key"}
    assert_problem(await face.http.get("/api-keys/key_none"), 404, "not_found")


async def test_the_key_itself_is_kept_nowhere_not_even_under_an_idempotency_key(face: Face) -> None:
    first = await face.post("/api-keys", READER, key="once")
    again = await face.post("/api-keys", READER, key="once")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**first.json(), "api_key": None}
    async with face.app.engine.connect() as connection:
        kept = await connection.execute(
            text("SELECT convert_from(response_body, 'UTF8') FROM idempotency_keys")
        )
        assert first.json()["api_key"] not in kept.scalar_one()
    assert (await read(face, first.json()["api_key"])).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"name": ""}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"rate_limit": "0/second"}, "rate_limit"),
        ({"rate_limit": "5/fortnight"}, "rate_limit"),
    ],
)
async def test_what_a_key_cannot_be(face: Face, fields: dict[str, Any], param: str) -> None:
    answer = await face.post("/api-keys", {**READER, **fields})
    assert_problem(answer, 400, "invalid_request")
    assert answer.json()["param"] == param


async def test_keys_are_listed_in_pages_without_themselves(face: Face) -> None:
    secrets = [(await made(face, name=f"key {n}"))["api_key"] for n in range(3)]
    names, cursor = [], ""
    while True:
        page = await face.http.get("/api-keys", params={"limit": 4, **({"cursor": cursor} if cursor else {})})
        assert not [secret for secret in secrets if secret in page.text]
        names += [key["name"] for key in page.json()["data"]]
        cursor = page.json()["next_cursor"]
        if not page.json()["has_more"]:
            break
    assert names[0] == "test"
    assert names[-3:] == ["key 0", "key 1", "key 2"]


async def test_revoking_ends_a_key_and_can_be_repeated(face: Face) -> None:
    key = await made(face)
    for _ in range(2):
        answer = await face.post(f"/api-keys/{key['id']}/revoke")
        assert (answer.status_code, answer.json()["revoked_at"] is None) == (200, False)
    assert_problem(await read(face, key["api_key"]), 401, "invalid_api_key")
    assert_problem(await face.post("/api-keys/key_none/revoke"), 404, "not_found")
    assert_problem(await face.post(f"/api-keys/{key['id']}/rotate"), 409, "invalid_state")


async def test_rotating_makes_a_like_key_and_the_old_one_ends_after_its_grace(face: Face) -> None:
    old = await made(face, rate_limit="7/minute")
    new = (await face.post(f"/api-keys/{old['id']}/rotate", {"grace_s": 3600})).json()
    assert [new[name] for name in ("name", "scopes", "rate_limit", "expires_at")] == [
        "shop", ["payments:read"], "7/minute", None,
    ]  # fmt: skip
    ends = datetime.fromisoformat((await face.http.get(f"/api-keys/{old['id']}")).json()["expires_at"])
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)
    for key in (old, new):
        assert (await read(face, key["api_key"])).status_code == 200
    await face.post(f"/api-keys/{new['id']}/rotate", {"grace_s": 0})
    assert_problem(await read(face, new["api_key"]), 401, "invalid_api_key")


async def test_only_admin_may_manage_keys(face: Face) -> None:
    others = set(Scope) - {Scope.ADMIN}
    key = {"Authorization": f"Bearer {await face.key(*others)}"}
    for method, path in (
        ("GET", "/api-keys"), ("POST", "/api-keys"), ("GET", "/api-keys/key_1"),
        ("POST", "/api-keys/key_1/revoke"), ("POST", "/api-keys/key_1/rotate"),
    ):  # fmt: skip
        assert_problem(await face.http.request(method, path, headers=key), 403, "insufficient_scope")


async def test_a_key_past_its_limit_is_told_when_to_come_back(face: Face) -> None:
    slow = await made(face, rate_limit="3/minute")
    answers = [await read(face, slow["api_key"]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"api_key";q=3;w=60'}
    assert_problem(answers[3], 429, "rate_limited")
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    other = await made(face, rate_limit="3/minute")
    assert (await read(face, other["api_key"])).status_code == 200


async def test_many_at_once_do_not_slip_past_the_limit(face: Face) -> None:
    key = await made(face, rate_limit="5/hour")
    answers = await asyncio.gather(*(read(face, key["api_key"]) for _ in range(200)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 195


async def test_the_limit_of_the_settings_holds_for_keys_without_their_own(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    async with open_face(database_url, valkey, rate_limit="2/hour") as face:
        assert [(await face.http.get("/payments")).status_code for _ in range(3)] == [200, 200, 429]


async def test_without_redis_requests_pass_and_it_is_logged_once(
    database_url: str,
    valkey: EmbeddedValkey,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limits, "_FORGIVE_S", 0.0)
    async with open_face(database_url, valkey, redis_url="redis://127.0.0.1:9/0") as face:
        key = await made(face, rate_limit="1/hour")
        for _ in range(3):
            answer = await read(face, key["api_key"])
            assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
    assert capsys.readouterr().out.count("rate_limits_not_counted") == 1
