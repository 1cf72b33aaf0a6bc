"""A hundred webhooks a second in bursts beside API traffic: no error, and the lag goes back to zero."""

from __future__ import annotations

import asyncio
import csv
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.faults.installation import note, until
from tests.load.conftest import Install
from tests.load.test_many_at_once import scalar

from tallystick.embedded.installation import SANDBOX_KEY

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
ROOT = LOCUSTFILE.parents[2]


@pytest.mark.parametrize(
    "seconds", [pytest.param(10, id="short"), pytest.param(600, id="long", marks=pytest.mark.long)]
)
@pytest.mark.timeout(900)
async def test_webhooks_in_bursts_beside_api_traffic(
    install: Install, engine: AsyncEngine, tmp_path: Path, seconds: int
) -> None:
    async with install() as urls:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "WEBHOOK_SECRET": urls.webhook_secret,
            "API_KEY": urls.api_key,
            "SANDBOX": str(urls.sandbox),
            "SANDBOX_KEY": SANDBOX_KEY,
        }
        command = [
            sys.executable, "-m", "locust", "--headless", "--locustfile", str(LOCUSTFILE), "--host", urls.api,
            "--users", "6", "--spawn-rate", "6", "--run-time", f"{seconds}s", "--stop-timeout", "20",
            "--csv", str(tmp_path / "locust"), "--only-summary",
        ]  # fmt: skip
        locust = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await locust.communicate()
        note(output.decode()[-3000:])
        assert locust.returncode == 0, "locust ends with 1 when a request failed"
        lines = (tmp_path / "locust_stats.csv").read_text().splitlines()
        rows = {(row["Type"], row["Name"]): row for row in csv.DictReader(lines)}
        sent = int(rows["POST", "/webhooks/stripe"]["Request Count"])
        assert sent >= 60 * seconds, "about a hundred a second were sent"
        assert int(rows["POST", "/payments"]["Request Count"]) > seconds
        stored = "SELECT count(*) FROM webhook_events WHERE livemode IS NOT NULL"
        assert await scalar(engine, stored) >= sent

        async def no_lag() -> bool:
            return bool(
                await scalar(engine, "SELECT count(*) = 0 FROM webhook_events WHERE status = 'pending'")
            )

        await until(no_lag)
        adopted = "SELECT count(*) FROM payments WHERE origin = 'adopted' AND amount = 2500"
        assert await scalar(engine, adopted) > seconds, (
            "two a second were taken at Stripe itself, for 25 dollars"
        )
        assert await scalar(engine, "SELECT count(*) FROM webhook_events WHERE status = 'dead'") == 0
