"""The webhook route: what is signed is stored byte for byte, once; everything else is refused in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text
from tests.conftest import Databases
from tests.integration.api.conftest import SECRETS, Face, open_face
from tests.integration.api.test_refusals import assert_problem

from tallystick.embedded import EmbeddedValkey
from tallystick.stripe_gateway.signature import sign

OLD, NEW = SECRETS
PATH = "/webhooks/stripe"


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all tests here: each has its own event ids."""
    async with open_face(await databases.create(), valkey) as made:
        yield made


def event(ident: str, **fields: Any) -> bytes:
    body = {
        "id": ident,
        "object": "event",
        "type": "charge.succeeded",
        "created": int(time.time()),
        "api_version": "2026-10-28.endive",
        "livemode": False,
        "data": {"object": {"id": "ch_1"}},
    }
    return orjson.dumps({name: value for name, value in {**body, **fields}.items() if value is not ...})


async def deliver(
    face: Face, body: Any, *, secret: str = NEW, age: int = 0, **headers: str
) -> httpx.Response:
    signed = body if isinstance(body, bytes) else b""
    given = {"Stripe-Signature": sign(signed, secret, int(time.time()) - age), **headers}
    return await face.http.post(PATH, content=body, headers={k: v for k, v in given.items() if v})


async def stored(face: Face, ident: str) -> list[Any]:
    async with face.app.engine.connect() as connection:
        rows = await connection.execute(text("SELECT body FROM webhook_events WHERE id = :id"), {"id": ident})
        return list(rows.scalars())


async def count(face: Face) -> int:
    return (await face.rows())["webhook_events"]


@pytest.mark.parametrize("secret", SECRETS)
async def test_an_event_is_stored_as_it_came(face: Face, secret: str) -> None:
    ident = f"evt_stored_{secret}"
    body = event(ident).replace(b":", b" : ") + b"\n"
    answer = await deliver(face, body, secret=secret)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert answer.headers["x-request-id"]
    assert await stored(face, ident) == [body]


async def test_a_duplicate_is_a_200_and_stored_once(face: Face) -> None:
    body = event("evt_twice")
    answers = await asyncio.gather(*(deliver(face, body) for _ in range(20)))
    answers.append(await deliver(face, body))
    assert {answer.status_code for answer in answers} == {200}
    assert await stored(face, "evt_twice") == [body]


async def test_an_unknown_type_is_taken(face: Face) -> None:
    answer = await deliver(face, event("evt_unknown", type="quantum.teleported"))
    assert answer.status_code == 200
    assert len(await stored(face, "evt_unknown")) == 1


async def test_an_event_without_a_version_is_taken(face: Face) -> None:
    assert (await deliver(face, event("evt_no_version", api_version=None))).status_code == 200


@pytest.mark.parametrize("created", [..., None, "1790000000", 1790000000.0])
async def test_an_event_that_tells_its_time_otherwise_is_taken(face: Face, created: Any) -> None:
    ident = f"evt_time_{created}"
    assert (await deliver(face, event(ident, created=created))).status_code == 200
    assert len(await stored(face, ident)) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret": "whsec_wrong"}, "invalid_signature"),
        ({"Stripe-Signature": ""}, "invalid_signature"),
        ({"Stripe-Signature": "nonsense"}, "invalid_signature"),
        ({"age": 301}, "signature_expired"),
        ({"age": -400}, "signature_expired"),
    ],
)
async def test_a_signature_that_does_not_hold(face: Face, change: dict[str, Any], code: str) -> None:
    before = await count(face)
    assert_problem(await deliver(face, event("evt_bad_signature"), **change), 400, code)
    assert await count(face) == before


async def test_a_touched_body(face: Face) -> None:
    body = event("evt_touched")
    header = {"Stripe-Signature": sign(body, NEW, int(time.time()))}
    answer = await face.http.post(PATH, content=body + b" ", headers=header)
    assert_problem(answer, 400, "invalid_signature")
    assert await stored(face, "evt_touched") == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"[]", "invalid_event"),
        (b"null", "invalid_event"),
        (event("evt_1", object="charge"), "invalid_event"),
        (event("evt_1", object="v2.core.event"), "invalid_event"),
        (event("evt_1", id=...), "invalid_event"),
        (event("evt_1", id=7), "invalid_event"),
        (event("evt_\0"), "invalid_event"),
        (event("evt_" + "x" * 300), "invalid_event"),
        (event(""), "invalid_event"),
        (event("evt_1", type="a\0b"), "invalid_event"),
        (event("evt_1", type=...), "invalid_event"),
        (event("evt_1", type="x" * 256), "invalid_event"),
        (event("evt_1", api_version="v\0"), "invalid_event"),
        (event("evt_1", api_version=3), "invalid_event"),
        (event("evt_1", created="2026-01-01T00:00:00Z"), "invalid_event"),
        (event("evt_1", created=True), "invalid_event"),
        (event("evt_1", created=-1), "invalid_event"),
        (event("evt_1", created=10**15), "invalid_event"),
    ],
)
async def test_what_is_signed_but_no_event(face: Face, body: bytes, code: str) -> None:
    before = await count(face)
    assert_problem(await deliver(face, body), 400, code)
    assert await count(face) == before


async def test_a_body_over_the_limit(face: Face) -> None:
    body = event("evt_large", padding="x" * 1_048_576)
    assert_problem(await deliver(face, body), 413, "body_too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    answer = await face.http.post(
        PATH, content=chunks(), headers={"Stripe-Signature": sign(body, NEW, int(time.time()))}
    )
    assert_problem(answer, 413, "body_too_large")
    assert await stored(face, "evt_large") == []


async def test_a_body_at_the_limit_is_taken(face: Face) -> None:
    body = event("evt_full", padding="")
    body = body.replace(b'"padding":""', b'"padding":"' + b"x" * (1_048_576 - len(body)) + b'"')
    assert len(body) == 1_048_576
    assert (await deliver(face, body)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_another_method(face: Face, method: str) -> None:
    answer = await face.http.request(method, PATH)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
