"""Schemathesis over the whole OpenAPI document, with a key, against the API on the sandbox.

No answer is a server error, and none is outside the description; nobody gets in without a key.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.load.conftest import Install

_CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
)


@pytest.mark.parametrize(
    ("examples", "seconds"),
    [
        pytest.param(8, 28, id="short"),
        pytest.param(300, 600, id="full", marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
)
async def test_nothing_that_it_sends_breaks_the_api(
    install: Install, tmp_path: Path, examples: int, seconds: int
) -> None:
    async with install() as urls:
        run = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "schemathesis.cli", "run", f"{urls.api}/openapi.json"),
            *("--header", f"Authorization: Bearer {urls.api_key}"),
            *("--checks", ",".join(_CHECKS)),
            *("--max-examples", str(examples), "--max-time", str(seconds), "--seed", "4242"),
            *("--continue-on-failure", "--warnings", "off", "--no-color", "--generation-database", "none"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await run.communicate()
    report = output.decode(errors="replace").replace(urls.api_key, "tsk_…")
    sys.stdout.write(report)
    assert run.returncode == 0, report[-6000:]
