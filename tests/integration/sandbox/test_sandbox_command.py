"""``tallystick sandbox``: its options."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from tallystick.cli import build


async def test_settings_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_text(
        json.dumps({"fee_fixed": 25, "settlement_delay": 3, "exchange_rates": {"eur:usd": "1.1"}})
    )
    command = (
        "-m",
        "tallystick",
        "sandbox",
        "--port",
        "0",
        "--settings",
        str(path),
        "--log-level",
        "warning",
    )
    running = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    assert running.stdout is not None
    try:
        said = (await asyncio.wait_for(running.stdout.readline(), 20)).decode()
        url = next(word for word in said.split() if word.startswith("http://"))
        async with aiohttp.ClientSession() as session, session.get(f"{url}/_control/settings") as answer:
            settings = await answer.json()
    finally:
        running.terminate()
        await running.wait()
    assert (settings["fee_fixed"], settings["settlement_delay"]) == (25, 3.0)
    assert (settings["refund_delay"], settings["exchange_rates"]) == (1.0, {"eur:usd": "1.1"})


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "No such file"), ("{", "Expecting"), ("[]", "JSON object"), ('{"nonsense": 1}', "nonsense")],
)
def test_settings_that_cannot_be(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(
        build(["sandbox"]), ["sandbox", "--settings", str(path)], env={"COLUMNS": "400"}
    )
    assert result.exit_code == 2
    assert says in result.output


def test_log_levels() -> None:
    result = CliRunner().invoke(
        build(["sandbox"]), ["sandbox", "--log-level", "loud"], env={"COLUMNS": "400"}
    )
    assert result.exit_code == 2
