"""Kills, crashes, stale files: what a next start must cope with, and what it must never touch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey, places, postgres
from tallystick.embedded.processes import Stray, command_line, find_strays
from tallystick.errors import ConfigurationError

Ask = Callable[[EmbeddedPostgres, str], str]

PARENT = Path(__file__).with_name("parent.py")
Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def parent() -> Iterator[Spawn]:
    """Starts parent.py; at the end neither one of them is left nor, should a test fail, its servers."""
    started: list[subprocess.Popen[str]] = []
    data_dirs: set[Path] = set()

    def spawn(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(PARENT), str(data_dir), *arguments]
        data_dirs.add(data_dir)
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield spawn
    for process in started:
        process.kill()
        process.communicate()
    for stray in (stray for data_dir in data_dirs for stray in running(data_dir)):
        os.kill(stray.pid, signal.SIGKILL)


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def running(data_dir: Path) -> list[Stray]:
    """The processes of both servers that run on the data directory."""
    cluster, home = data_dir / "postgres/cluster", data_dir / "valkey"
    owner = cluster.stat().st_uid if cluster.exists() else os.geteuid()
    return [
        *find_strays("postgres", places.mark(cluster), owner),
        *find_strays("valkey-server", places.mark(home), os.geteuid()),
    ]


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_again(data_dir: Path, told: list[str] | None = None) -> EmbeddedPostgres:
    """Start both; Valkey is stopped again at once."""
    lines = told if told is not None else []
    with EmbeddedValkey(data_dir, on_progress=lines.append) as valkey:
        client = redis.Redis.from_url(valkey.url())
        assert client.ping()
        client.close()
    server = EmbeddedPostgres(data_dir, on_progress=lines.append)
    server.start()
    return server


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_kills_the_parent_nothing_runs_on(
    base: Path, ask: Ask, parent: Spawn, number: signal.Signals
) -> None:
    with EmbeddedPostgres(base / "data") as server:
        ask(server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    process = parent(base / "data")
    wait_ready(process)
    assert len(running(base / "data")) > 2
    with pytest.raises(ConfigurationError, match=f"in use by another start .process {process.pid}."):
        EmbeddedPostgres(base / "data").start()
    process.send_signal(number)
    process.wait()
    until(lambda: not running(base / "data"))
    with start_again(base / "data") as server:
        assert ask(server, "SELECT n FROM kept") == "7"


def test_orphans_are_taken_over_where_no_death_signal_exists(base: Path, ask: Ask, parent: Spawn) -> None:
    process = parent(base / "data", "orphans")
    wait_ready(process)
    before = find_strays("valkey-server", places.mark(base / "data/valkey"), os.geteuid())
    process.kill()
    process.wait()
    time.sleep(0.3)
    assert len(running(base / "data")) > 2
    told: list[str] = []
    with start_again(base / "data", told) as server:
        assert ask(server, "SELECT 1") == "1"
    assert not command_line(before[0].pid)
    assert [line for line in told if "Taking over: postgres" in line]
    assert [line for line in told if "Taking over: valkey-server" in line]
    assert not running(base / "data")


def test_a_crash_of_the_server_is_seen_and_recovered(
    base: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PROGRESS_SECONDS", 0.0)
    told: list[str] = []
    with EmbeddedPostgres(base / "data", on_progress=told.append) as server:
        url = server.url()
        ask(server, "CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 1000)")
        # A busy worker does not notice that its server is gone; it must not block the start nor run on.
        busy = subprocess.Popen(
            [
                server.programs / "psql",
                "-X",
                "-d",
                url,
                "-c",
                "SELECT count(*) FROM generate_series(1, 1e12)",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: ask(server, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1e12%'") == "2")
        assert server.poll() is None
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: server.poll() == -signal.SIGKILL)
        server.start()
        assert server.url() == url
        assert ask(server, "SELECT count(*) FROM kept") == "1000"
        assert "automatic recovery in progress" in server.log_path.read_text()
        assert busy.wait(5) != 0
    assert any("PostgreSQL is starting or recovering (0 s): 2" in line for line in told)


def test_a_reused_pid_in_a_stale_file_is_left_alone(base: Path, ask: Ask) -> None:
    with EmbeddedPostgres(base / "data") as server:
        server.kill()
    cluster = base / "data/postgres/cluster"
    owner = cluster.stat()
    as_owner = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    # The marker on its command line is a trap as well: an unrelated program may name our folder.
    innocent = subprocess.Popen(["/bin/sh", "-c", "sleep 60; :", places.mark(cluster)], cwd="/", **as_owner)  # type: ignore[call-overload]
    try:
        pid_file = cluster / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        assert lines[0] != str(innocent.pid)
        pid_file.write_text("\n".join([str(innocent.pid), *lines[1:]]) + "\n")
        with EmbeddedPostgres(base / "data") as server:
            assert ask(server, "SELECT 1") == "1"
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_postgres_started_by_hand_is_not_ours_to_stop(base: Path, ask: Ask) -> None:
    with EmbeddedPostgres(base / "data") as server:
        programs = server.programs
    cluster = base / "data/postgres/cluster"
    owner = cluster.stat()
    as_owner = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={cluster.parent}/run"]
    by_hand = subprocess.Popen(  # type: ignore[call-overload]
        [programs / "postgres", "-D", cluster, *options], cwd="/", stderr=subprocess.DEVNULL, **as_owner
    )
    try:
        pid_file = cluster / "postmaster.pid"
        until(lambda: pid_file.exists() and "ready" in pid_file.read_text())
        with pytest.raises(ConfigurationError, match=f"another PostgreSQL .process {by_hand.pid}. runs on"):
            EmbeddedPostgres(base / "data").start()
        assert by_hand.poll() is None
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait()


def test_half_a_cluster_is_never_taken_for_a_whole_one(base: Path, ask: Ask, parent: Spawn) -> None:
    home = base / "data/postgres"
    process = parent(base / "data")
    until(lambda: bool(list(home.glob("cluster.new-*/base/1"))))
    process.kill()
    process.wait()
    assert not (home / "cluster").exists()
    with start_again(base / "data") as server:
        assert ask(server, "SELECT 1") == "1"
    assert not list(home.glob("cluster.new-*"))


def test_a_leftover_socket_does_not_stop_valkey(base: Path) -> None:
    server = EmbeddedValkey(base / "data")
    with server:
        server.kill()
    assert (base / "data/valkey/valkey.sock").exists()
    with server:
        assert server.poll() is None
    assert not running(base / "data")
