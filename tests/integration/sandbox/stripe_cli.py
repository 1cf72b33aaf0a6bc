"""The official Stripe CLI, unmodified: got from npm, run against a sandbox, its events taken and checked.

``python -m tests.integration.sandbox.stripe_cli [EVENT …]`` prints what fails, by family.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import stripe
from tests.integration.sandbox.support import Receiver, listening

from tallystick.sandbox.server import RunningSandbox, SandboxConfig, running_sandbox

VERSION: Final = "1.52.0"
PACKAGE: Final = "@stripe/cli-linux-x64"
REQUIRED: Final = "TALLYSTICK_REQUIRE_STRIPE_CLI"
"""Set to 1, it turns a CLI that cannot be had into a failure."""

FAMILIES: Final = (
    "balance charge checkout coupon credit_note customer invoice invoiceitem payment_intent payment_method"
    " payout plan price product promotion_code setup_intent subscription tax_rate test_helpers"
).split()

NAMED: Final = {
    "subscription.payment_failed": "invoice.payment_failed",
    "subscription.payment_succeeded": "invoice.payment_succeeded",
}
"""Two triggers are called after what they do; Stripe has no events of these names."""

_SECONDS: Final = 20.0
_AT_ONCE: Final = 3


class Unavailable(Exception):  # noqa: N818 - no error: the reason to skip
    """The CLI cannot be had; says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trigger: ``reason`` is empty where it succeeded."""

    trigger: str
    reason: str
    types: tuple[str, ...] = ()


def binary() -> Path:
    """The CLI's path, downloaded once into the user's cache; raises Unavailable."""
    if (given := os.environ.get("TALLYSTICK_STRIPE_CLI")) is not None:
        return Path(given)
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable(f"{PACKAGE} is for Linux on x86_64, not {sys.platform} on {platform.machine()}.")
    base = os.environ.get("XDG_CACHE_HOME") or Path(tempfile.gettempdir()) / f"tallystick-cache-{os.getuid()}"
    home = Path(base) / "stripe-cli" / VERSION
    path = home / "stripe"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        _download(home, path)
    return path


def _download(home: Path, path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed.")
    with tempfile.TemporaryDirectory(dir=home) as here:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", here, "--loglevel=error"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=90)
            (archive,) = Path(here).glob("*.tgz")
            with tarfile.open(archive) as tar:
                tar.extract("package/bin/stripe", here, filter="data")
            Path(here, "package/bin/stripe").replace(path)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()
            raise Unavailable(f"npm pack {PACKAGE}@{VERSION} failed: {said[-300:]}") from error
        except (subprocess.TimeoutExpired, OSError, ValueError, KeyError, tarfile.TarError) as error:
            raise Unavailable(f"{PACKAGE}@{VERSION} could not be got: {error!r}") from error


def _environment(home: str) -> dict[str, str]:
    """No configuration of the user's, and no way out: what is not loopback ends at a closed port."""
    nowhere = "http://127.0.0.1:9"
    return {
        "HOME": home,
        "XDG_CONFIG_HOME": f"{home}/.config",
        "PATH": "/usr/bin:/bin",
        "STRIPE_API_KEY": "sk_test_tallystick",
        "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
        "STRIPE_CLI_NO_PLUGIN_AUTO_INSTALL": "1",
        "STRIPE_NO_AUTO_UPDATE": "1",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def triggers(cli: Path) -> list[str]:
    """The events of our families that the CLI can trigger, as its help lists them."""
    with tempfile.TemporaryDirectory() as home:
        command = [str(cli), "trigger", "--help"]
        shown = subprocess.run(command, env=_environment(home), capture_output=True, text=True, check=True)
    listed = shown.stdout.partition("Supported events:")[2].partition("Usage:")[0].split()
    return [name for name in listed if any(name.startswith((f"{it}.", f"{it}_")) for it in FAMILIES)]


async def run(cli: Path, names: Iterable[str]) -> list[Outcome]:
    """Trigger each event in an emptied sandbox of its own, several at once."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    for name in names:
        queue.put_nowait(name)
    outcomes: list[Outcome] = []

    async def work(home: str) -> None:
        receiver = Receiver()
        async with running_sandbox(SandboxConfig(refund_delay=0.1)) as box, listening(receiver):
            while not queue.empty():
                outcomes.append(await _trigger(cli, home, box, receiver, queue.get_nowait()))

    with tempfile.TemporaryDirectory() as home:
        await asyncio.gather(*(work(home) for _ in range(_AT_ONCE)))
    return sorted(outcomes, key=lambda outcome: outcome.trigger)


async def _trigger(cli: Path, home: str, box: RunningSandbox, receiver: Receiver, name: str) -> Outcome:
    box.sandbox.reset()
    receiver.received.clear()
    receiver.about = name
    secret = await _listen(box.url, f"{receiver.url}?about={name}")
    process = await asyncio.create_subprocess_exec(
        cli, "trigger", name, "--api-base", box.url,
        env=_environment(home), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Outcome(name, f"The CLI did not end within {_SECONDS:.0f} s.")
    if process.returncode != 0:
        return Outcome(name, _message(said.decode(errors="replace")), tuple(receiver.types))
    return await _heard(receiver, name, secret)


async def _listen(url: str, hook: str) -> str:
    """Register the receiver for everything; its secret."""
    form = [("url", hook), ("enabled_events[]", "*")]
    headers = {"Authorization": "Bearer sk_test_tallystick"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/v1/webhook_endpoints", data=form) as answer,
    ):
        return str((await answer.json())["secret"])


async def _heard(receiver: Receiver, name: str, secret: str) -> Outcome:
    """Wait for the event, verify its signature, and hold all that came against Stripe's spec."""
    wanted = NAMED.get(name, name)
    try:
        await receiver.until(wanted, seconds=6.0)
    except AssertionError:
        return Outcome(name, f"{wanted} was not delivered.", tuple(receiver.types))
    for item in list(receiver.received):
        try:
            stripe.Webhook.construct_event(item.body, item.signature, secret)
            receiver.check()
        except (stripe.SignatureVerificationError, AssertionError, KeyError) as error:
            return Outcome(name, f"{type(error).__name__}: {error}", tuple(receiver.types))
    return Outcome(name, "", tuple(receiver.types))


def _message(said: str) -> str:
    """The gist of what the CLI printed: Stripe's error, where there is one."""
    start = said.find("{")
    if start >= 0:
        try:
            error = json.JSONDecoder().raw_decode(said[start:])[0]["error"]
        except (ValueError, KeyError):
            pass
        else:
            return f"{error.get('param', '')}: {error['message']}".removeprefix(": ")
    return " ".join(said.split())[:300]


def table(outcomes: Iterable[Outcome]) -> str:
    """The failures as lines of text."""
    return "\n".join(f"{it.trigger:50} {it.reason}" for it in outcomes if it.reason)


def main() -> None:
    """Run the named triggers, or all."""
    cli = binary()
    outcomes = asyncio.run(run(cli, sys.argv[1:] or triggers(cli)))
    failed = Counter(it.trigger.partition(".")[0] for it in outcomes if it.reason)
    print(f"{len(outcomes) - failed.total()} of {len(outcomes)} succeed.", dict(failed))  # noqa: T201
    print(table(outcomes))  # noqa: T201


if __name__ == "__main__":
    main()
