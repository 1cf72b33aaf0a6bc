"""Whatever any test makes a sandbox in its process say is held against Stripe's OpenAPI spec.

A plugin that ``tests/conftest.py`` loads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest

from tallystick.sandbox.events import Events
from tallystick.sandbox.http import Api
from tallystick.sandbox.versions import since
from tests.integration.sandbox.spec import problems

_SPEC_OF: Final = "2026-05-27"
"""Answers in older versions have other shapes, which tests of their own look at."""

_NOT_OF_THE_SPEC: Final = tuple(
    f"balance_transaction.type is '{kind}'"
    for kind in ("a_type_of_tomorrow", "balance_transfer_inbound", "balance_transfer_outbound", "tax_fund")
)
"""Tests have the sandbox move money for reasons that Stripe does not know, only documents, or added later."""


@pytest.fixture(autouse=True, scope="session")
def what_the_sandbox_says_is_stripes() -> Iterator[None]:
    """Check every answer and every event's object of all sandboxes in this process; fail at the end."""
    found: Counter[str] = Counter()
    answer, emit = Api._answer, Events.emit

    def hold(where: str, said: Any) -> None:
        found.update(f"{where}: {text}" for text in problems(said) if not text.startswith(_NOT_OF_THE_SPEC))

    async def answered(self: Api, request: Any, fault: Any) -> tuple[int, bytes, bool | None]:
        status, body, retry = await answer(self, request, fault)
        if status < 500 and body[:1] == b"{" and since(request.version, _SPEC_OF):
            hold(f"{request.method} {request.path}", orjson.loads(body))
        return status, body, retry

    def emitted(self: Events, kind: str, obj: Any, *rest: Any, **more: Any) -> Any:
        event = emit(self, kind, obj, *rest, **more)
        if event is not None:
            hold(kind, obj)
        return event

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Api, "_answer", answered)
        patch.setattr(Events, "emit", emitted)
        yield
    shown = "\n".join(f"{count} times: {text}" for text, count in found.most_common(40))
    assert not found, f"Stripe's spec objects to what the sandbox said:\n{shown}"
