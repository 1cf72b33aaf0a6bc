"""The disk under PostgreSQL is full: senders are told to come again, and nothing is corrupt afterwards."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conftest import Databases
from tests.faults.burst import deliveries, tell_burst
from tests.faults.comparison import assert_as_if_nothing_happened, undisturbed
from tests.faults.fake_stripe import FakeStripe, running_fake_stripe
from tests.faults.installation import Installation, Servers, until
from tests.faults.sender import Sender

from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey

SEED = 99
SIZE_MB = 160
EVENTS = 300
SPARE = 64 * 1024
"""What is left beside the filler: PostgreSQL meets the end after some events, not at the first."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system to fill")
    command = [mount, "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0711", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    tmp_path.chmod(0o711)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
async def servers(small_disk: Path, tmp_path: Path) -> AsyncIterator[Servers]:
    for folder in small_disk.parents:
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp"):  # noqa: S108
            folder.chmod(folder.stat().st_mode | 0o011)
        if folder.name.startswith("pytest-of-"):
            break
    valkey_folder = tmp_path / "valkey"
    valkey_folder.mkdir()
    made = Servers(EmbeddedPostgres(small_disk), EmbeddedValkey(valkey_folder))
    try:
        made.postgres.start()
        made.valkey.start()
        yield made
    finally:
        made.valkey.stop()
        made.postgres.stop()


@pytest.mark.timeout(300)
async def test_a_full_disk_is_a_503_and_no_corruption(
    servers: Servers, small_disk: Path, tmp_path: Path, databases: Databases
) -> None:
    story = tell_burst(EVENTS, SEED)
    expected = await undisturbed(databases, story)
    async with running_fake_stripe(story) as stripe:
        installation = Installation(servers, tmp_path / "home", stripe.url)
        await installation.open()
        try:
            await _fill_and_free(installation, stripe, small_disk, deliveries(story, SEED))
            await assert_as_if_nothing_happened(installation, story, expected)
            checked = await installation.scalar("SELECT count(*) FROM webhook_events WHERE length(body) > 0")
            assert checked == len(story.events)
        finally:
            await installation.close()


async def _fill_and_free(
    installation: Installation, stripe: FakeStripe, disk: Path, sending: list[dict[str, object]]
) -> None:
    await installation.start_api()
    installation.start_worker()
    third = len(sending) // 3
    async with Sender(installation.api_url, stripe) as sender, asyncio.TaskGroup() as group:
        await sender.deliver(sending[:third])
        filler = disk / "filler"
        _fill(filler, shutil.disk_usage(disk).free - SPARE)
        acknowledged = set(sender.acknowledged)
        group.create_task(sender.deliver(sending[third:]))

        async def refused() -> bool:
            return sender.answers[503] >= 20

        await until(refused)
        filler.unlink()
        postgres = installation.servers.postgres
        if postgres.pid is None:  # it gave up when it could not write its log: then as its keeper would
            await asyncio.to_thread(postgres.restart)
        stored = await _stored(installation)
        assert acknowledged <= stored
    assert set(sender.answers) == {200, 503}


def _fill(filler: Path, size: int) -> None:
    try:
        filler.write_bytes(b"\0" * size)
    except OSError as error:  # PostgreSQL and the worker write meanwhile, and took the last of it
        if error.errno != errno.ENOSPC:
            raise


async def _stored(installation: Installation) -> set[str]:
    found: list[set[str]] = []

    async def answers() -> bool:
        try:
            found.append(set(await installation.scalar("SELECT array_agg(id) FROM webhook_events")))
        except Exception:  # recovering
            return False
        return True

    await until(answers)
    return found[-1]
