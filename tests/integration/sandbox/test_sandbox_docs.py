"""docs/sandbox.md: every curl example runs as it stands, and its tables are the code's."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Final

import pytest
from tests.integration.sandbox.support import Sdk

from tallystick.sandbox.server import RunningSandbox

PAGE: Final = Path(__file__).parents[3] / "docs" / "sandbox.md"
BLOCKS: Final = [
    block for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "curl" in block
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_examples_run_in_order(box: RunningSandbox, sdk: Sdk) -> None:
    for block in BLOCKS:
        script = "set -e\n" + block.replace("http://127.0.0.1:12111", box.url)
        script = script.replace("curl -s", "curl -sS --fail-with-body")
        running = await asyncio.create_subprocess_exec(
            "sh", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await running.communicate()
        assert running.returncode == 0, f"{block}\n{said.decode()}"
    assert len(BLOCKS) >= 9
    assert (await sdk("payment_intents.list")).data[0].status == "succeeded"
