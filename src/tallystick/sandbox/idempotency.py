"""Idempotency keys, as v1 of the API has them: replay, mismatch, in flight, 24 hours."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.records import Records
from tallystick.sandbox.spaces import Space
from tallystick.sandbox.store import Store

SPACE: Final = "idempotency"
_KEPT_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer: what was asked (``path`` and the digest of the parameters) and what was said."""

    path: str
    digest: str
    status: int
    body: bytes
    request_id: str
    at: int


def _answer(record: bytes) -> Answer:
    head, _, body = record.partition(b"\n")
    path, params_digest, status, request_id, at = orjson.loads(head)
    return Answer(path, params_digest, status, body, request_id, at)


def digest(params: Any) -> str:
    """A digest of decoded parameters that does not depend on their order."""
    return hashlib.sha256(orjson.dumps(params, option=orjson.OPT_SORT_KEYS)).hexdigest()


class IdempotencyKeys:
    """The answers by key, and the keys whose request is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: Records[Answer] = Records(lambda key: _answer(store.body(SPACE, key)))
        self._under_way: set[str] = set()
        # All that must be known of an answer that is not in memory is that there is one.
        space = Space(
            self._dump,
            self._load,
            lambda: self._answers,
            self._answers,
            lambda key: b"" if key in self._answers else None,
            lambda key, _marks: self._answers.know(key),
        )
        store.add_space(SPACE, space)

    def begin(self, key: str, path: str, params_digest: str, now: int) -> Answer | None:
        """The stored answer, or None and the key is taken until ``finish``; raises StripeError."""
        if len(key) > 255:
            raise StripeError(
                400, "Idempotency keys can have up to 255 characters.", kind="idempotency_error"
            )
        if key in self._under_way:
            raise StripeError(
                409,
                "There is currently another in-progress request using this Idempotency Key (that probably"
                f" means you submitted twice, and the other request is still going through): {key}. Please"
                " try again later.",
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        answer = self._answers.get(key)
        if answer is not None and answer.at > now - _KEPT_SECONDS:
            self._same(key, answer, path, params_digest)
            return answer
        self._under_way.add(key)
        return None

    def finish(self, key: str, answer: Answer | None) -> None:
        """Let go of the key; ``answer`` is kept unless None."""
        self._under_way.discard(key)
        if answer is not None:
            self._prune(answer.at)
            self._answers.pop(key, None)
            self._answers[key] = answer
            self._store.touch(SPACE, key)

    def clear(self) -> None:
        """Forget all."""
        self._answers.clear()
        self._under_way.clear()

    def count(self) -> int:
        """How many answers are kept."""
        return len(self._answers)

    @staticmethod
    def _same(key: str, answer: Answer, path: str, params_digest: str) -> None:
        if answer.path != path:
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used for the same endpoint they were first used for"
                f" ('{answer.path}' vs '{path}'). Try using a key other than '{key}' if you meant to execute"
                " a different request.",
                kind="idempotency_error",
            )
        if answer.digest != params_digest:
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used"
                f" with. Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )

    def _prune(self, now: int) -> None:
        # The oldest come first. Two a request are enough to catch up, and never a long stop.
        for key in list(itertools.islice(self._answers, 2)):
            if self._answers[key].at <= now - _KEPT_SECONDS:
                del self._answers[key]
                self._store.touch(SPACE, key)

    def _dump(self, key: str) -> bytes | None:
        answer = self._answers.resident(key)
        if answer is None:
            return self._store.body(SPACE, key) if key in self._answers else None
        head = [answer.path, answer.digest, answer.status, answer.request_id, answer.at]
        return orjson.dumps(head) + b"\n" + answer.body

    def _load(self, key: str, body: bytes) -> None:
        self._answers[key] = _answer(body)
