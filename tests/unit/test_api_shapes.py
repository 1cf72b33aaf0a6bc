"""The parts of the API that are pure: events read, cursors, problem documents, idempotency keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import errors
from tallystick.api.problems import Problem, problem, problem_headers
from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.errors import InvalidEventError, InvalidIdempotencyKeyError, InvalidJsonError
from tallystick.idempotency import Claim, keyed_request
from tallystick.pipeline.incoming import read_event

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "object", "type", "created", "api_version", "livemode", "data")
EVENT = {"id": "evt_1", "object": "event", "type": "a.b", "created": 1, "api_version": "v", "livemode": True}


@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_an_event_is_read_or_refused(changes: dict[str, Any]) -> None:
    body = orjson.dumps({**EVENT, **changes})
    try:
        event = read_event(body)
    except InvalidEventError:
        return
    assert event.body == body
    for text in (event.id, event.type, event.api_version or ""):
        assert text.isascii()
        assert "\0" not in text
        assert len(text) <= 255
    assert event.created_at.tzinfo is UTC


@given(body=st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises((InvalidJsonError, InvalidEventError)):
        read_event(body)


@given(
    at=st.datetimes(timezones=st.just(UTC)),
    tail=st.from_regex("[0-9a-z_]{1,40}", fullmatch=True),
)
def test_a_cursor_comes_back_as_it_went(at: datetime, tail: str) -> None:
    made = cursor_at(at, f"pay_{tail}")
    assert read_cursor(made) == (at, f"pay_{tail}")


@given(text=st.text(max_size=60))
def test_any_text_as_a_cursor_is_read_or_refused(text: str) -> None:
    try:
        at, payment_id = read_cursor(text)
    except errors.InvalidRequestError:
        return
    assert at.tzinfo is UTC
    assert payment_id.isprintable()


def every_error() -> list[type[errors.TallystickError]]:
    found, left = [], [errors.TallystickError]
    while left:
        kind = left.pop()
        if kind.__module__ == "tallystick.errors":
            found.append(kind)
        left += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_makes_a_problem_document(kind: type[errors.TallystickError]) -> None:
    error = kind("Something.", param="amount", extra={"status": 1, "available": 7}, retry_after=3)
    document = Problem.model_validate_json(problem(error, "req_1"))
    assert (document.status, document.code, document.param) == (kind.status, kind.code, "amount")
    assert document.model_extra == {"available": 7}
    assert problem_headers(error)["Retry-After"] == "3"
    if kind.status == 503:
        assert problem_headers(kind("Something."))["Retry-After"]
    about_the_key = (
        errors.AuthenticationRequiredError, errors.InvalidApiKeyError, errors.InsufficientScopeError,
    )  # fmt: skip
    assert ("WWW-Authenticate" in problem_headers(error)) is issubclass(kind, about_the_key)


def test_each_code_belongs_to_one_error() -> None:
    codes = [kind.code for kind in every_error() if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


@given(key=st.text(max_size=300))
def test_an_idempotency_key_is_taken_or_refused(key: str) -> None:
    fine = 1 <= len(key) <= 255 and key.isascii() and key.isprintable()
    try:
        request = keyed_request("key_1", key, "POST", "/payments", b"{}")
    except InvalidIdempotencyKeyError:
        assert not fine
    else:
        assert fine
        assert len(Claim(request).stripe_key("pay_1", "capture")) <= 255


def test_a_digest_tells_method_path_and_body_apart() -> None:
    parts = [("POST", "/a", b"b"), ("POST", "/ab", b""), ("POST", "/a", b"c"), ("PUT", "/a", b"b")]
    assert len({keyed_request("key_1", "k", *each).digest for each in parts}) == 4


def test_keys_at_stripe_are_the_same_for_a_retry_only() -> None:
    one = Claim(keyed_request("key_1", "k", "POST", "/x", b""))
    again = Claim(keyed_request("key_1", "k", "POST", "/x", b""))
    other = Claim(keyed_request("key_2", "k", "POST", "/x", b""))
    keys = [claim.stripe_key("pay_1", "capture") for claim in (one, again, other, Claim(), Claim())]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
