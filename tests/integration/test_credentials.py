"""Stripe keys and webhook secrets that change while the API runs, from files and from the database."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.integration.cli.test_commands import Ended, answered, tallystick

from tallystick.api.keys import create_key
from tallystick.api.server import create_app
from tallystick.app import App, check_start, open_app
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import ConfigurationError
from tallystick.sandbox.server import SandboxConfig, running_sandbox
from tallystick.settings import load_settings
from tallystick.stripe_gateway.signature import sign
from tallystick.vault import new_master_key

OLD_KEY, NEW_KEY = "sk_test_old0000000000", "sk_test_new0000000000"
OLD_SECRET, NEW_SECRET = "whsec_old", "whsec_new"
ORDER = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
EVENT = {"object": "event", "type": "x", "created": 1, "livemode": False}


@pytest.fixture
def settings(database_url: str, valkey: EmbeddedValkey) -> dict[str, Any]:
    return {"database_url": database_url, "redis_url": valkey.url(), "secrets_poll_s": 0.02}


@asynccontextmanager
async def running(
    environ: dict[str, str], settings: dict[str, Any]
) -> AsyncIterator[tuple[App, httpx.AsyncClient]]:
    """The API, its sandbox behind it."""
    async with (
        running_sandbox(SandboxConfig(seed=7)) as sandbox,
        open_app(load_settings(environ, stripe_api_base=sandbox.url, **settings)) as app,
    ):
        async with app.engine.begin() as connection:
            key = (await create_key(connection, "test", ["admin"]))[1]
        transport = httpx.ASGITransport(create_app(app), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
            yield app, http


async def delivered(http: httpx.AsyncClient, secret: str) -> int:
    body = json.dumps({**EVENT, "id": f"evt_{time.monotonic_ns()}"}).encode()
    headers = {"Stripe-Signature": sign(body, secret, int(time.time()))}
    return (await http.post("/webhooks/stripe", content=body, headers=headers)).status_code


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a file wakes nobody
            await asyncio.sleep(0.01)


def store(name: str, value: str, *options: str, **env: str) -> Ended:
    """``tallystick secrets set`` with the value on stdin."""
    before, sys.stdin = sys.stdin, io.StringIO(value + "\n")
    try:
        return tallystick("secrets", "set", name, *options, **env)
    finally:
        sys.stdin = before


async def test_files_are_taken_up_without_a_restart(tmp_path: Path, settings: dict[str, Any]) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text(OLD_KEY)
    secret.write_text(OLD_SECRET)
    files = {"STRIPE_SECRET_KEY_FILE": str(key), "STRIPE_WEBHOOK_SECRET_FILE": str(secret)}
    async with running(files, settings) as (app, http):
        assert [await delivered(http, each) for each in (OLD_SECRET, NEW_SECRET)] == [200, 400]
        secret.write_text(f"{NEW_SECRET},{OLD_SECRET}")
        await until(lambda: len(app.keyring.current.webhook_secrets) == 2)
        assert [await delivered(http, each) for each in (OLD_SECRET, NEW_SECRET)] == [200, 200]
        secret.write_text("")  # as it is for a moment while somebody writes it
        key.write_text(f"{NEW_KEY},{OLD_KEY}")
        await asyncio.sleep(0.1)
        assert app.keyring.current.api_keys == (OLD_KEY,)
        secret.write_text(NEW_SECRET)
        await until(lambda: app.keyring.current.api_keys == (NEW_KEY, OLD_KEY))
        assert [await delivered(http, each) for each in (OLD_SECRET, NEW_SECRET)] == [400, 200]
        assert (await http.post("/payments", json=ORDER)).status_code == 201


async def test_a_live_key_does_not_replace_a_test_key(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    key.write_text(OLD_KEY)
    environ = {"STRIPE_SECRET_KEY_FILE": str(key), "STRIPE_WEBHOOK_SECRET": OLD_SECRET}
    async with running(environ, settings) as (app, _):
        printed = ""
        key.write_text("sk_live_000000000")
        async with asyncio.timeout(10):
            while "other mode" not in printed:
                printed += capsys.readouterr().out
                await asyncio.sleep(0.01)
        assert app.keyring.current.api_keys == (OLD_KEY,)
        assert "sk_live_000000000" not in printed


async def test_secrets_in_the_database_are_taken_up_without_a_restart(settings: dict[str, Any]) -> None:
    env = {"DATABASE_URL": settings["database_url"], "TALLYSTICK_MASTER_KEY": new_master_key()}
    environ = {"TALLYSTICK_MASTER_KEY": env["TALLYSTICK_MASTER_KEY"]}
    run = asyncio.to_thread
    async with running(environ, settings) as (app, http):
        with pytest.raises(ConfigurationError, match="no Stripe key"):
            await check_start(app)
        assert (await http.post("/payments", json=ORDER)).json()["code"] == "stripe_access"
        assert (await run(store, "stripe_secret_key", OLD_KEY, **env)).returncode == 0
        assert (await run(store, "stripe_webhook_secret", OLD_SECRET, **env)).returncode == 0
        await until(lambda: app.keyring.current.webhook_secrets == (OLD_SECRET,))
        await check_start(app)
        assert (await http.post("/payments", json=ORDER)).status_code == 201
        assert (await run(store, "stripe_webhook_secret", NEW_SECRET, **env)).returncode == 0
        await until(lambda: app.keyring.current.webhook_secrets == (NEW_SECRET, OLD_SECRET))
        assert [await delivered(http, each) for each in (OLD_SECRET, NEW_SECRET)] == [200, 200]
        assert (
            await run(tallystick, "secrets", "remove", "stripe_webhook_secret", "1", **env)
        ).returncode == 0
        await until(lambda: app.keyring.current.webhook_secrets == (NEW_SECRET,))
        assert [await delivered(http, each) for each in (OLD_SECRET, NEW_SECRET)] == [400, 200]


async def test_the_environment_stands_above_the_database(settings: dict[str, Any]) -> None:
    master = new_master_key()
    env = {"DATABASE_URL": settings["database_url"], "TALLYSTICK_MASTER_KEY": master}
    for name, value in (("stripe_secret_key", NEW_KEY), ("stripe_webhook_secret", NEW_SECRET)):
        assert (await asyncio.to_thread(store, name, value, **env)).returncode == 0
    async with running({"TALLYSTICK_MASTER_KEY": master, "STRIPE_SECRET_KEY": OLD_KEY}, settings) as (app, _):
        assert app.keyring.current.api_keys == (OLD_KEY,)
        assert app.keyring.current.webhook_secrets == (NEW_SECRET,)


async def test_the_old_key_works_on_where_stripe_does_not_take_the_new_one(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"STRIPE_SECRET_KEY": f"nonsense,{OLD_KEY}", "STRIPE_WEBHOOK_SECRET": OLD_SECRET}
    async with running(environ, settings) as (app, http):
        for _ in range(2):
            assert (await http.post("/payments", json=ORDER)).status_code == 201
        assert list(app.keyring.keys_to_try()) == [OLD_KEY, "nonsense"]
    assert capsys.readouterr().out.count("stripe_key_refused") == 1  # it is not tried first again


@pytest.mark.parametrize("table", ["webhook_events", "payments"])
async def test_a_live_key_does_not_start_on_test_payments(
    settings: dict[str, Any], engine: AsyncEngine, table: str
) -> None:
    rows = {
        "webhook_events": "INSERT INTO webhook_events (id, type, livemode, body, created_at, ring_at)"
        " VALUES ('evt_1', 'x', false, '', now(), now())",
        "payments": "INSERT INTO payments (id, origin, status, amount, currency, livemode, created_at)"
        " VALUES ('pay_1', 'api', 'unknown', 1, 'usd', false, now())",
    }
    async with engine.begin() as connection:
        await connection.execute(text(rows[table]))
    for key, starts in ((OLD_KEY, True), ("rk_live_00000000", False)):
        environ = {"STRIPE_SECRET_KEY": key, "STRIPE_WEBHOOK_SECRET": OLD_SECRET}
        async with open_app(load_settings(environ, **settings)) as app:
            if starts:
                await check_start(app)
                continue
            with pytest.raises(ConfigurationError, match="live key, and the database holds test"):
                await check_start(app)


async def test_a_live_and_a_test_key_do_not_go_together(settings: dict[str, Any]) -> None:
    environ = {"STRIPE_SECRET_KEY": f"{OLD_KEY},sk_live_0", "STRIPE_WEBHOOK_SECRET": OLD_SECRET}
    with pytest.raises(ConfigurationError, match="beside each other"):
        async with open_app(load_settings(environ, **settings)):
            pass


def test_secrets_are_listed_without_values_and_a_number_is_not_given_twice(database_url: str) -> None:
    env = {"DATABASE_URL": database_url, "TALLYSTICK_MASTER_KEY": new_master_key()}
    for value in ("whsec_one", "whsec_two"):
        assert store("stripe_webhook_secret", value, **env).returncode == 0
    listed = answered("secrets", "list", **env)["data"]
    assert [(row["name"], row["version"]) for row in listed] == [
        ("stripe_webhook_secret", 2), ("stripe_webhook_secret", 1),
    ]  # fmt: skip
    assert "whsec_one" not in tallystick("secrets", "list", **env).stdout
    assert tallystick("secrets", "remove", "stripe_webhook_secret", "2", **env).returncode == 0
    assert tallystick("secrets", "remove", "stripe_webhook_secret", "2", **env).returncode == 1
    assert store("stripe_webhook_secret", "whsec_three", "--replace", **env).returncode == 0
    (row,) = answered("secrets", "list", **env)["data"]
    assert row["version"] == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stripe_secret_key", "pk_test_1"),
        ("stripe_secret_key", "sk_live_other_mode"),
        ("stripe_secret_key", OLD_KEY),
        ("stripe_webhook_secret", "sk_test_1"),
        ("stripe_webhook_secret", ""),
        ("stripe_webhook_secret", "whsec_a,whsec_b"),
    ],
)
def test_what_cannot_be_the_secret_is_refused_and_not_shown(database_url: str, name: str, value: str) -> None:
    env = {"DATABASE_URL": database_url, "TALLYSTICK_MASTER_KEY": new_master_key()}
    assert store("stripe_secret_key", OLD_KEY, **env).returncode == 0
    ended = store(name, value, **env)
    assert ended.returncode == 1
    assert not value or value not in ended.stderr
    assert len(answered("secrets", "list", **env)["data"]) == 1


async def test_the_master_key_is_rotated(settings: dict[str, Any], engine: AsyncEngine) -> None:
    old, new = new_master_key(), new_master_key()
    url = {"DATABASE_URL": settings["database_url"]}
    run = asyncio.to_thread
    assert (await run(store, "stripe_secret_key", OLD_KEY, **url, TALLYSTICK_MASTER_KEY=old)).returncode == 0
    alone = await run(tallystick, "secrets", "rotate-master", **url, TALLYSTICK_MASTER_KEY=new)
    assert (alone.returncode, "does not have" in alone.stderr) == (1, True)
    both = await run(tallystick, "secrets", "rotate-master", **url, TALLYSTICK_MASTER_KEY=f"{new},{old}")
    assert (both.returncode, both.stdout.strip()[-2:]) == (0, "1.")
    environ = {"TALLYSTICK_MASTER_KEY": new, "STRIPE_WEBHOOK_SECRET": OLD_SECRET}
    async with running(environ, settings) as (app, _):
        assert app.keyring.current.api_keys == (OLD_KEY,)
    async with engine.connect() as connection:
        dump = str((await connection.execute(text("SELECT * FROM secrets"))).all())
    assert OLD_KEY not in dump
