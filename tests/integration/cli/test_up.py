"""``tallystick up`` as a person or a script uses it: one line when ready, and it ends as it is asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey

Json = dict[str, Any]
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("TALLYSTICK_", "STRIPE_")) and name not in ("DATABASE_URL", "REDIS_URL")
}


@dataclass
class Up:
    """A running ``tallystick up`` and what it said when it was ready."""

    process: subprocess.Popen[str]
    urls: Json

    def pay(self, amount: int = 2500) -> httpx.Response:
        body = {"amount": amount, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True}
        return self.call("POST", "/payments", json=body)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.urls['api_key']}"}
        return httpx.request(method, self.urls["api"] + path, headers=headers, timeout=20.0, **options)

    def settled(self, payment: str) -> Json:
        """The payment once its fee is in the ledger."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            seen: Json = self.call("GET", f"/payments/{payment}").json()
            if any(item["effect_key"].startswith("balance_transaction:") for item in seen["ledger"]):
                return seen
            time.sleep(0.05)
        raise AssertionError(f"no fee for {payment}: {seen}")


@contextmanager
def up(data_dir: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Up]:
    command = [sys.executable, "-m", "tallystick", "up", "--data-dir", str(data_dir), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        text=True,
        env=CLEAN | (env or {}),
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"ended with {process.wait()} before it was ready"
        yield Up(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.fixture
def data_dir(servers_dir: Path) -> Iterator[Path]:
    folder = servers_dir / f"up-{time.monotonic_ns()}"
    folder.mkdir(mode=0o711)
    yield folder
    EmbeddedPostgres(folder).erase()
    EmbeddedValkey(folder).erase()


def test_up_survives_kills_of_its_parts_and_of_itself_and_ends_as_asked(data_dir: Path) -> None:
    """One story, since each start costs seconds: part killed, all killed, found again, Ctrl-C."""
    with up(data_dir) as first:
        assert set(first.urls) >= {"ready", "api", "sandbox", "database_url", "redis_url", "webhook_secret"}
        assert first.urls["ready"] is True
        children = _python_children(first.process.pid)
        assert set(children) == {"api", "worker", "sandbox"}
        os.kill(children["worker"], signal.SIGKILL)
        settled = first.settled(first.pay().json()["id"])
        assert settled["status"] == "succeeded"
        assert _python_children(first.process.pid)["worker"] != children["worker"]
        under_way = [first.pay(1000 + number).json()["id"] for number in range(10)]
        first.process.kill()
        first.process.wait()
    with up(data_dir) as second:
        assert second.urls["api_key"] == first.urls["api_key"]
        for payment in under_way:
            assert second.settled(payment)["status"] == "succeeded"
        assert second.call("GET", f"/payments/{settled['id']}").json() == settled
        refund = second.call("POST", f"/payments/{settled['id']}/refund", json={"amount": 1000})
        assert refund.status_code == 201, refund.text
        assert _processes_with(str(data_dir))
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(timeout=60) == 0
    assert _processes_with(str(data_dir)) == []


def test_a_real_stripe_key_without_a_signing_secret_is_refused_in_words(data_dir: Path) -> None:
    command = [sys.executable, "-m", "tallystick", "up", "--data-dir", str(data_dir), "--port", "0"]
    env = CLEAN | {"STRIPE_SECRET_KEY": "sk_test_someone"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "STRIPE_WEBHOOK_SECRET" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "sk_test_someone" not in ended.stderr


def _python_children(parent: int) -> dict[str, int]:
    """The stack's own processes by name, told by their command lines."""
    found = {}
    for pid in _pids():
        arguments = _command_line(pid)
        if "tallystick" in arguments and f"\nPPid:\t{parent}\n" in _status(pid):
            name = arguments[arguments.index("tallystick") + 1]
            found["api" if name == "serve" else name] = pid
    return found


def _processes_with(marker: str) -> list[str]:
    lines = [" ".join(_command_line(pid)) for pid in _pids() if pid != os.getpid()]
    return [line for line in lines if marker in line]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []  # it ended meanwhile


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
