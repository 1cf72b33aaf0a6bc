"""``tallystick control`` against a running sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from tallystick.sandbox.server import running_sandbox


async def control(*arguments: str, url: str) -> tuple[int, Any, str]:
    """Exit code, the JSON it printed, and what it said on stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tallystick", "control", *arguments, "--url", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, json.loads(out) if out else None, err.decode()


async def test_the_control_api_answers_on_the_command_line() -> None:
    async with running_sandbox() as box:
        before = box.sandbox.clock.now()
        code, _, said = await control("clock", "advance_seconds=86400", url=box.url)
        assert (code, said) == (0, "")
        assert box.sandbox.clock.now() - before >= 86400
        code, changed, _ = await control(
            "settings", "latency_ms=[1, 2]", "api_version=2026-10-28.endive", url=box.url
        )
        assert (code, changed["latency_ms"], changed["api_version"]) == (0, [1, 2], "2026-10-28.endive")
        code, state, _ = await control("-X", "GET", "state", url=box.url)
        assert code == 0
        assert isinstance(state, dict)
        code, refusal, _ = await control("no_such_call", url=box.url)
        assert code == 1
        assert "error" in refusal


async def test_what_is_wrong_is_said_in_words() -> None:
    code, out, said = await control("reset", url="http://127.0.0.1:9")
    assert (code, out, "No sandbox answers" in said, "Traceback" in said) == (1, None, True, False)
    code, out, said = await control("reset", "nonsense", url="http://127.0.0.1:9")
    assert (code, out, "NAME=VALUE" in said, "Traceback" in said) == (1, None, True, False)
