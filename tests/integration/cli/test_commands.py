"""The short commands on a real database: tables for people, JSON for machines, errors in words."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import StripeStory
from tests.road import Road

from tallystick.api.ledger_bodies import TrialBalance
from tallystick.cli import run
from tallystick.embedded import EmbeddedPostgres
from tallystick.embedded.cluster import SERVICE, SUPERUSER
from tallystick.ledger.seals import horizon, seal
from tallystick.monitoring import logging
from tallystick.sandbox.server import running_sandbox


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def tallystick(*arguments: str, **env: str) -> Ended:
    """Run a command in this process, with nothing of ours in the environment but ``env``."""
    ours = ("TALLYSTICK_", "STRIPE_", "DATABASE_", "REDIS_URL")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.dict(os.environ, {**clean, "COLUMNS": "160", **env}, clear=True),
        mock.patch.object(sys, "argv", ["tallystick", *arguments]),
        mock.patch.object(logging, "configure"),  # for the whole process, hence for the tests that follow
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            run()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def answered(*arguments: str, **env: str) -> Any:
    ended = tallystick(*arguments, "--json", **env)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
async def paid(engine: AsyncEngine) -> None:
    """One payment with its fee in the books, and an event of a type that nobody acts on."""
    story = StripeStory()
    story.succeed(story.intent(2500, "eur", ours="pay_" + "0" * 26))
    story.event("product.created", {"id": "prod_1", "object": "product"})
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()


def test_keys_are_created_listed_without_secret_and_revoked(database_url: str) -> None:
    made = answered("keys", "create", "shop", "--scope", "payments:read", DATABASE_URL=database_url)
    assert made["api_key"].startswith("tsk_")
    listed = tallystick("keys", "list", "--json", DATABASE_URL=database_url)
    assert made["api_key"] not in listed.stdout
    [row] = json.loads(listed.stdout)["data"]
    assert (row["id"], row["name"], row["scopes"]) == (made["id"], "shop", ["payments:read"])
    assert tallystick("keys", "revoke", made["id"], DATABASE_URL=database_url).returncode == 0
    again = tallystick("keys", "revoke", made["id"], DATABASE_URL=database_url)
    assert (again.returncode, made["id"] in again.stderr) == (1, True)
    assert answered("keys", "list", DATABASE_URL=database_url)["data"][0]["revoked_at"] is not None


def test_a_key_is_rotated_with_its_scopes_and_limit(database_url: str) -> None:
    options = ("--scope", "payments:read", "--rate-limit", "50/second")
    old = answered("keys", "create", "shop", *options, DATABASE_URL=database_url)
    new = answered("keys", "rotate", old["id"], "--grace-hours", "0.5", DATABASE_URL=database_url)
    first, second = answered("keys", "list", DATABASE_URL=database_url)["data"]
    assert [row["id"] for row in (first, second)] == [old["id"], new["id"]]
    assert (second["name"], second["scopes"], second["rate_limit"]) == (
        "shop",
        ["payments:read"],
        "50/second",
    )
    assert first["expires_at"] is not None
    assert second["expires_at"] is None
    refused = tallystick("keys", "create", "x", "--rate-limit", "many", DATABASE_URL=database_url)
    assert (refused.returncode, "100/second" in refused.stderr) == (1, True)


def test_an_unknown_scope_is_refused(database_url: str) -> None:
    ended = tallystick("keys", "create", "shop", "--scope", "everything", DATABASE_URL=database_url)
    assert ended.returncode == 2
    assert "everything" in ended.stderr


def test_the_trial_balance_balances(database_url: str, paid: None) -> None:
    books = answered("ledger", "trial-balance", DATABASE_URL=database_url)
    assert books["totals"] == [{"currency": "eur", "debit": 2500, "credit": 2500, "balanced": True}]
    assert TrialBalance.model_validate(books).model_dump(mode="json") == books, "as the API answers"
    balances = {row["account"]: row["balance"] for row in books["data"]}
    assert balances["assets:stripe:clearing"] == 0
    assert balances["revenue:payments"] == 2500
    shown = tallystick("ledger", "trial-balance", DATABASE_URL=database_url).stdout
    assert "25.00" in shown
    assert "assets:stripe:balance" in shown


def test_an_export_is_a_file_that_appears_when_it_is_whole(
    database_url: str, paid: None, tmp_path: Path
) -> None:
    file = tmp_path / "books.csv"
    arguments = ("ledger", "export", "--format", "csv", "--output", str(file))
    assert tallystick(*arguments, DATABASE_URL=database_url).returncode == 0
    assert ",revenue:payments,revenue,,25.00,eur,-2500" in file.read_text()
    refused = tallystick(*arguments, "--from", "2026-02-01", "--to", "2026-01-01", DATABASE_URL=database_url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "ends before it begins" in refused.stderr
    file.unlink()
    refused = tallystick(
        "ledger", "export", "--format", "xero", "--output", str(file), DATABASE_URL=database_url
    )
    assert refused.returncode == 1
    assert "Xero knows accounts by codes" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    assert tallystick(*arguments, "--from", "yesterday", DATABASE_URL=database_url).returncode == 2


def test_events_are_listed_latest_first_and_by_state(database_url: str, paid: None) -> None:
    rows = answered("events", "list", DATABASE_URL=database_url)["data"]
    assert {row["status"] for row in rows} == {"processed", "ignored"}
    [ignored] = answered("events", "list", "--status", "ignored", DATABASE_URL=database_url)["data"]
    assert ignored["type"] == "product.created"
    [one] = answered("events", "list", "--limit", "1", DATABASE_URL=database_url)["data"]
    assert one["received_at"] == max(row["received_at"] for row in rows)
    assert "charge.succeeded" in tallystick("events", "list", DATABASE_URL=database_url).stdout


def test_migrate_makes_the_schema_and_can_be_repeated(postgres: EmbeddedPostgres) -> None:
    url = postgres.url("migrate_command")
    before = tallystick("keys", "list", DATABASE_URL=url)
    assert (before.returncode, "tallystick migrate" in before.stderr) == (1, True)
    for _ in range(2):
        assert tallystick("migrate", DATABASE_URL=url).returncode == 0
    assert answered("keys", "list", DATABASE_URL=url) == {"data": []}
    assert tallystick("events", "list", "--status", "dead", DATABASE_URL=url).stdout == "Events: none.\n"


def test_the_owner_migrates_and_the_service_is_given_its_rights(postgres: EmbeddedPostgres) -> None:
    service, owner = (postgres.url("migrate_as_owner", role=role) for role in (SERVICE, SUPERUSER))
    alone = tallystick("migrate", DATABASE_URL=service)
    assert (alone.returncode, "DATABASE_OWNER_URL" in alone.stderr) == (1, True)
    assert tallystick("migrate", DATABASE_URL=service, DATABASE_OWNER_URL=owner).returncode == 0
    assert answered("keys", "list", DATABASE_URL=service) == {"data": []}
    nobody = service.replace(SERVICE, "nobody_here")
    unknown = tallystick("migrate", DATABASE_URL=nobody, DATABASE_OWNER_URL=owner)
    assert (unknown.returncode, "CREATE ROLE" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "DATABASE_URL"),
        ("nonsense", "not a database URL"),
        ("mysql://localhost/books", "not the URL of a PostgreSQL database"),
        ("postgresql://nobody:hunter2@127.0.0.1:1/none", "database cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_words(url: str, words: str) -> None:
    ended = tallystick("ledger", "trial-balance", DATABASE_URL=url)
    assert ended.returncode == 1
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_nothing_is_served_from_a_database_that_lacks_migrations(
    postgres: EmbeddedPostgres, command: str
) -> None:
    environment = {
        "DATABASE_URL": postgres.url("not_migrated"),
        "REDIS_URL": "redis://127.0.0.1:1",
        "STRIPE_SECRET_KEY": "sk_test_x",
        "STRIPE_WEBHOOK_SECRET": "whsec_x",
    }
    ended = tallystick(command, *(["--port", "0"] if command == "serve" else []), **environment)
    assert (ended.returncode, "tallystick migrate" in ended.stderr) == (1, True)


def test_serve_names_every_setting_that_is_missing() -> None:
    ended = tallystick("serve")
    assert ended.returncode == 1
    for name in ("DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"):
        assert name in ended.stderr


def test_help_names_every_command_and_the_version_is_told() -> None:
    shown = tallystick("--help").stdout
    for command in ("up", "demo", "serve", "worker", "sandbox", "migrate", "keys", "events", "ledger"):
        assert command in shown
    assert tallystick("--version").stdout.strip().count(".") == 2
    assert tallystick("no-such-command").returncode == 2


async def test_the_ledger_is_verified_and_its_head_compared(
    engine: AsyncEngine, database_url: str, paid: None
) -> None:
    await seal(engine, await horizon(engine))
    env = {"DATABASE_URL": database_url}
    listed = await asyncio.to_thread(answered, "ledger", "seals", **env)
    verdict = await asyncio.to_thread(answered, "ledger", "verify", "--head", listed[0]["hash"], **env)
    assert verdict["sound"]
    assert verdict["head"] == listed[0]["hash"]
    stranger = await asyncio.to_thread(tallystick, "ledger", "verify", "--head", "00" * 32, **env)
    assert stranger.returncode == 1
    assert "rewritten" in stranger.stdout
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("UPDATE ledger_transactions SET description = 'other'"))
    broken = await asyncio.to_thread(tallystick, "ledger", "verify", **env)
    assert broken.returncode == 1
    assert "changed" in broken.stdout
    now = await asyncio.to_thread(answered, "ledger", "balance", "revenue:payments", "EUR", **env)
    assert now["balance"] == 2500


def test_an_entry_is_written_approved_by_another_and_taken_back(database_url: str) -> None:
    env = {"DATABASE_URL": database_url, "TALLYSTICK_APPROVAL_ABOVE": "usd=500,*=0"}
    written = ("--debit", "expenses:stripe_fees 501 usd", "--credit", "suspense:stripe 501 USD")
    create = ("journal", "create", "--description", "A fee", *written, "--reason", "ticket 7", "--by", "Ada")
    made = answered(*create, **env)
    assert (made["status"], made["author"]) == ("pending_approval", {"name": "Ada", "api_key": None})
    alone = tallystick("journal", "approve", made["id"], "--by", "ada", **env)
    assert (alone.returncode, "another person" in alone.stderr) == (1, True)
    [waiting] = answered("journal", "list", "--status", "pending_approval", **env)["data"]
    assert waiting["id"] == made["id"]
    assert answered("journal", "approve", made["id"], "--by", "Grace", **env)["status"] == "posted"
    shown = tallystick("journal", "show", made["id"], **env).stdout
    assert "approved by Grace" in shown
    assert "5.01" in shown
    small = ("journal", "reverse", made["id"], "--reason", "it was none", "--by", "Ada")
    back = answered(*small, **{**env, "TALLYSTICK_APPROVAL_ABOVE": "*=none"})
    assert (back["status"], back["reverses"]) == ("posted", made["id"])
    balances = answered("ledger", "trial-balance", **env)["data"]
    assert [each["balance"] for each in balances] == [0, 0]
    other = answered(*create, **env)["id"]
    assert (
        answered("journal", "reject", other, "--reason", "no", "--by", "Ada", **env)["status"] == "rejected"
    )


def test_a_line_or_a_limit_that_cannot_be_read_is_told_in_words(database_url: str) -> None:
    create = ("journal", "create", "--description", "A fee", "--reason", "x")
    ended = tallystick(*create, "--debit", "suspense:stripe 5.00 usd", DATABASE_URL=database_url)
    assert (ended.returncode, "no line such as" in ended.stderr) == (2, True)
    wrong = {"DATABASE_URL": database_url, "TALLYSTICK_APPROVAL_ABOVE": "xyz=5"}
    ended = tallystick(*create, "--debit", "suspense:stripe 5 usd", **wrong)
    assert (ended.returncode, "TALLYSTICK_APPROVAL_ABOVE" in ended.stderr) == (1, True)


async def test_books_are_opened_from_the_command_line_once_and_shown_before(database_url: str) -> None:
    async with (
        running_sandbox() as box,
        httpx.AsyncClient(base_url=box.url, auth=("sk_test_x", "")) as stripe,
    ):
        paid = {"amount": 5000, "currency": "usd", "source": "tok_bypassPending"}
        assert (await stripe.post("/v1/charges", data=paid)).status_code == 200
        env = {
            "DATABASE_URL": database_url,
            "STRIPE_SECRET_KEY": "sk_test_x",
            "STRIPE_API_BASE": box.url,
        }
        since = ("adopt", "--from", "0s", "--by", "Ada")
        await asyncio.sleep(1)  # the charge is of the second before
        shown = await asyncio.to_thread(tallystick, *since, "--dry-run", **env)
        assert shown.returncode == 0, shown.stderr
        assert "equity:opening" in shown.stdout
        assert (await asyncio.to_thread(answered, "ledger", "trial-balance", **env))["data"] == []
        opened = await asyncio.to_thread(answered, *since, **env)
        (held,) = opened["balances"]
        assert (opened["posted"], held["account"]) == (True, "assets:stripe:balance")
        lines = (await asyncio.to_thread(answered, "ledger", "trial-balance", **env))["data"]
        assert {line["account"]: line["balance"] for line in lines} == {
            "assets:stripe:balance": held["amount"],
            "equity:opening": held["amount"],
        }
        again = await asyncio.to_thread(tallystick, *since, **env)
        assert (again.returncode, "opened already" in again.stderr) == (1, True)
