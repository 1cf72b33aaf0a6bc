"""Every refusal has its own status and code, is a problem document, and leaves nothing half-written."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import structlog
from sqlalchemy import text
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face

from tallystick.embedded import EmbeddedValkey
from tallystick.stripe_gateway.keyring import Credentials


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all tests here: none of them leaves a row."""
    async with open_face(await databases.create(), valkey) as made:
        yield made


GOOD = {"amount": 1000, "currency": "usd"}


def assert_problem(answer: httpx.Response, status: int, code: str, param: str | None = None) -> Any:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code), document
    assert document["status"] == status
    assert document["type"] == f"urn:tallystick:error:{code}"
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["title"]
    assert document["detail"]
    if param is not None:
        assert document["param"] == param
    return document


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({**GOOD, "amount": 0}, "invalid_amount", "amount"),
        ({**GOOD, "amount": -5}, "invalid_amount", "amount"),
        ({**GOOD, "amount": 49}, "invalid_amount", "amount"),
        ({**GOOD, "amount": 100_000_000}, "invalid_amount", "amount"),
        ({**GOOD, "amount": 10**30}, "invalid_amount", "amount"),
        ({"amount": 1001, "currency": "kwd"}, "invalid_amount", "amount"),
        ({"amount": 1050, "currency": "isk"}, "invalid_amount", "amount"),
        ({**GOOD, "amount": "1000"}, "invalid_request", "amount"),
        ({**GOOD, "amount": 10.0}, "invalid_request", "amount"),
        ({**GOOD, "amount": True}, "invalid_request", "amount"),
        ({**GOOD, "amount": None}, "invalid_request", "amount"),
        ({"currency": "usd"}, "invalid_request", "amount"),
        ({**GOOD, "currency": "xyz"}, "unknown_currency", "currency"),
        ({**GOOD, "currency": "USD"}, "unknown_currency", "currency"),
        ({**GOOD, "currency": "us\0"}, "unknown_currency", "currency"),
        ({**GOOD, "currency": ""}, "invalid_request", "currency"),
        ({"amount": 1000}, "invalid_request", "currency"),
        ({**GOOD, "colour": "red"}, "invalid_request", "colour"),
        ({**GOOD, "description": "a\0b"}, "invalid_request", "description"),
        ({**GOOD, "description": ""}, "invalid_request", "description"),
        ({**GOOD, "description": "x" * 1001}, "invalid_request", "description"),
        ({**GOOD, "customer": "cus_\0"}, "invalid_request", "customer"),
        ({**GOOD, "customer": "c" * 256}, "invalid_request", "customer"),
        ({**GOOD, "metadata": {"a": "\0"}}, "invalid_request", "metadata.a"),
        ({**GOOD, "metadata": {"a": "x" * 501}}, "invalid_request", "metadata.a"),
        ({**GOOD, "metadata": {"a[b]": "x"}}, "invalid_request", None),
        ({**GOOD, "metadata": {"k" * 41: "x"}}, "invalid_request", None),
        ({**GOOD, "metadata": {f"k{n}": "x" for n in range(49)}}, "invalid_request", "metadata"),
        ({**GOOD, "metadata": {"tallystick_payment": "pay_x"}}, "invalid_request", "metadata"),
        ({**GOOD, "metadata": {"a": 1}}, "invalid_request", "metadata.a"),
        ({**GOOD, "capture_method": "never"}, "invalid_request", "capture_method"),
        ({**GOOD, "confirm": 1}, "invalid_request", "confirm"),
        ({**GOOD, "confirm": True}, "invalid_request", "payment_method"),
        ({**GOOD, "return_url": "https://x.example"}, "invalid_request", "return_url"),
        ({**GOOD, "return_url": "javascript:1"}, "invalid_request", "return_url"),
        ([], "invalid_request", None),
        ("text", "invalid_request", None),
    ],
)
async def test_bad_input_is_refused_and_leaves_no_trace(
    face: Face, body: Any, code: str, param: str | None
) -> None:
    answer = await face.post("/payments", body, key="k1")
    assert_problem(answer, 400, code, param)
    assert set((await face.rows()).values()) == {0}
    assert await face.intents() == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"amount": ' + b"9" * 5000 + b"}", "invalid_json"),
        ('{"amount": 1000, "currency": "usd"}'.encode("utf-16"), "invalid_json"),
        (b'{"amount": 1000, "amount": 9000, "currency": "usd"}', "invalid_json"),
        (b'{"amount": 1000, "currency": "usd", "metadata": {"a": "1", "a": "2"}}', "invalid_json"),
        (b'{"amount": 1000, "currency": "usd", "\\ud800": 1, "\\ud800": 2}', "invalid_json"),
        (b"", "invalid_request"),
        (b'{"amount": NaN, "currency": "usd"}', "invalid_request"),
        (b'{"amount": 1000, "currency": "usd", "description": "\\ud800"}', "invalid_request"),
        (b'{"amount": 1000, "currency": "usd", "metadata": {"\\ud800": "x"}}', "invalid_request"),
    ],
)
async def test_broken_json(face: Face, content: bytes, code: str) -> None:
    answer = await face.http.post("/payments", content=content, headers={"Content-Type": "application/json"})
    assert_problem(answer, 400, code)
    assert set((await face.rows()).values()) == {0}


async def test_a_body_that_is_not_called_json(face: Face) -> None:
    answer = await face.http.post("/payments", data={"amount": "1000", "currency": "usd"})
    assert_problem(answer, 415, "unsupported_media_type", "Content-Type")


async def test_a_compressed_body(face: Face) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await face.http.post("/payments", content=gzip.compress(orjson.dumps(GOOD)), headers=headers)
    assert_problem(answer, 415, "unsupported_media_type", "Content-Encoding")


@pytest.mark.parametrize(
    ("change", "param", "detail"),
    [
        ({"description": "x" * 1001}, "description", "description must have at most 1000 characters."),
        ({"metadata": {"a": 5}}, "metadata.a", "metadata.a must be text."),
        (
            {"metadata": {"k" * 41: ""}},
            "metadata",
            "metadata has a key that must have at most 40 characters.",
        ),
        ({"metadata": []}, "metadata", "metadata must be an object."),
        ({"receipt_email": "nobody"}, "receipt_email", "receipt_email must be an email address."),
        ({"amount": 5}, "amount", "amount is not a field of this request."),
    ],
)
async def test_what_cannot_be_changed_is_named_as_it_was_sent(
    face: Face, change: Any, param: str, detail: str
) -> None:
    """A field that takes a value or an empty text is one field, not one for each that it takes."""
    document = assert_problem(await face.post("/payments/pay_x", change), 400, "invalid_request", param)
    assert document["detail"] == detail
    assert [each["param"] for each in document["errors"]] == [param]


@pytest.mark.parametrize("text", ["12345", "A*B", "A\nB", "日本", "A\u202e"])
@pytest.mark.parametrize("field", ["statement_descriptor", "statement_descriptor_suffix"])
async def test_what_no_bank_statement_can_show(face: Face, field: str, text: str) -> None:
    assert_problem(await face.post("/payments", {**GOOD, field: text}), 400, "invalid_request", field)


async def test_stripe_refusing_the_input_leaves_no_payment(face: Face) -> None:
    answer = await face.post("/payments", {**GOOD, "customer": "cus_none"})
    document = assert_problem(answer, 400, "stripe_refused", "customer")
    assert document["stripe_code"] == "resource_missing"
    assert set((await face.rows()).values()) == {0}


async def test_a_stripe_key_that_is_refused_is_our_problem_and_is_not_shown(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face.app.keyring, "_current", Credentials(("nonsense",)))
    answer = await face.post("/payments", GOOD)
    assert_problem(answer, 502, "stripe_access")
    assert "nonsense" not in answer.text
    assert set((await face.rows()).values()) == {0}


async def test_a_missing_key(face: Face) -> None:
    for authorization in (None, "", "Basic abc", "Bearer", "Bearer "):
        headers = {} if authorization is None else {"Authorization": authorization}
        async with httpx.AsyncClient(transport=face.http._transport, base_url="http://test") as anyone:
            answer = await anyone.post("/payments", json=GOOD, headers=headers)
        assert_problem(answer, 401, "authentication_required")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert set((await face.rows()).values()) == {0}


async def test_a_wrong_key(face: Face) -> None:
    for secret in ("tsk_" + "a" * 40, "nonsense", "tsk_\xff", "tsk_" + "a" * 5000):
        answer = await face.http.post(
            "/payments", json=GOOD, headers={b"Authorization": f"Bearer {secret}".encode("latin-1")}
        )
        assert_problem(answer, 401, "invalid_api_key")


async def test_the_key_is_asked_for_before_the_body_is_read(face: Face) -> None:
    answer = await face.http.post("/payments", content=b"{", headers={"Authorization": "Bearer nonsense"})
    assert_problem(answer, 401, "invalid_api_key")


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now()"])
async def test_an_ended_key(face: Face, change: str) -> None:
    secret = await face.key("payments:read")
    async with face.app.engine.begin() as connection:
        await connection.execute(text(f"UPDATE api_keys SET {change} WHERE scopes = '{{payments:read}}'"))
    answer = await face.http.get("/payments", headers={"Authorization": f"Bearer {secret}"})
    assert_problem(answer, 401, "invalid_api_key")


@pytest.mark.parametrize(
    "path",
    ["/payments/pay_none", "/payments/x", "/payments/pay_%00", "/payments/pay_" + "a" * 3000,
     "/refunds/ref_none", "/refunds/%00", "/nothing", "/payments/", "/payments/pay_%ff"],
)  # fmt: skip
async def test_what_does_not_exist(face: Face, path: str) -> None:
    assert_problem(await face.http.get(path), 404, "not_found")


@pytest.mark.parametrize("action", ["confirm", "capture", "cancel", "refund"])
async def test_a_command_on_a_payment_that_does_not_exist(face: Face, action: str) -> None:
    answer = await face.post(f"/payments/pay_none1234/{action}", {}, key="k")
    assert_problem(answer, 404, "not_found")
    assert set((await face.rows()).values()) == {0}


async def test_a_wrong_method_names_the_right_ones(face: Face) -> None:
    answer = await face.http.delete("/payments")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", ["/healthz", "/payments?limit=1", "/payments/pay_none", "/openapi.json"])
async def test_head_is_answered_as_get_without_the_body(face: Face, path: str) -> None:
    whole, bare = await face.http.get(path), await face.http.head(path)
    assert (bare.status_code, bare.content) == (whole.status_code, b"")
    for header in ("content-type", "content-length", "cache-control"):
        assert bare.headers.get(header) == whole.headers.get(header), header


async def test_head_changes_nothing_and_needs_what_get_needs(face: Face) -> None:
    assert (await face.http.head("/payments/pay_x/cancel")).status_code == 405
    assert (await face.http.head("/payments", headers={"Authorization": ""})).status_code == 401


async def test_a_slash_too_many_is_named(face: Face) -> None:
    for method in ("GET", "POST"):
        answer = await face.http.request(method, "/payments/")
        assert "slash" in assert_problem(answer, 404, "not_found")["detail"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=nonsense", "cursor=%00", "cursor=é", "limit=1&limit=2",
     "status=succeeded&status=canceled"],
)  # fmt: skip
async def test_a_bad_page(face: Face, query: str) -> None:
    answer = await face.http.get(f"/payments?{query}")
    assert_problem(answer, 400, "invalid_request", query.partition("=")[0])


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\there"])
async def test_a_bad_idempotency_key(face: Face, key: str) -> None:
    answer = await face.post("/payments", GOOD, key=key)
    assert_problem(answer, 400, "invalid_idempotency_key", "Idempotency-Key")
    assert set((await face.rows()).values()) == {0}


async def test_a_body_over_the_limit(face: Face) -> None:
    large = b'{"description": "' + b"x" * 1_048_576 + b'"}'
    answer = await face.http.post("/payments", content=large, headers={"Content-Type": "application/json"})
    assert_problem(answer, 413, "body_too_large")

    async def chunks() -> Any:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    answer = await face.http.post("/payments", content=chunks(), headers={"Content-Type": "application/json"})
    assert_problem(answer, 413, "body_too_large")
    assert set((await face.rows()).values()) == {0}


async def test_the_unexpected_is_a_500_that_tells_nothing(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("tallystick.payments.reading.list_payments", broken)
    with structlog.testing.capture_logs() as logged:
        answer = await face.http.get("/payments")
    assert_problem(answer, 500, "internal_error")
    assert "secret detail" not in answer.text
    assert [line["event"] for line in logged] == ["request_failed", "request"]
    assert logged[0]["exc_info"]
